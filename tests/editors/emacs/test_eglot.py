"""Emacs' eglot, set up as our page says: suggestions in the usual completion, without a plugin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.service import launcher
from tests.editors import debian
from tests.editors.tools import ROOT

pytestmark = [pytest.mark.emacs, pytest.mark.slow]

SUITE = "trixie"
"""The Debian release that has Emacs 30, which brings eglot."""
DRIVER = Path(__file__).with_name("complete.el")
README = ROOT / "editors" / "nvim" / "README.md"


def emacs() -> tuple[list[str], dict[str, str]]:
    """Command and environment of an Emacs."""
    root = debian.unpacked("Emacs", "emacs-30", package="emacs-nox", suite=SUITE)
    [version] = [folder for folder in (root / "usr/share/emacs").iterdir() if (folder / "lisp").is_dir()]
    [programs] = (root / "usr/libexec/emacs").glob("*/*")
    [dumped] = programs.glob("*.pdmp")
    lisp = [root / "usr/share/emacs/site-lisp", version / "lisp"]
    lisp += [folder for folder in (version / "lisp").iterdir() if folder.is_dir()]
    environment = {
        "EMACSLOADPATH": ":".join(map(str, lisp)),
        "EMACSDATA": str(version / "etc"),
        "EMACSDOC": str(version / "etc"),
        "EMACSPATH": str(programs),
    }
    return [*debian.command(root, "usr/bin/emacs-nox"), f"--dump-file={dumped}"], environment


def set_up(model: str) -> str:
    """What the page says, with this Python's server and a scripted model."""
    [snippet] = re.findall(r"```elisp\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for ours, stand_in in {
        '"tersely" "lsp"': f'"{sys.executable}" "-m" "tersely" "lsp"',
        "(:menu t)": f"(:menu t) :model {json.dumps(model)}",
    }.items():
        assert snippet.count(ours) == 1
        snippet = snippet.replace(ours, stand_in)
    return str(snippet)


@pytest.mark.parametrize("line", ["    return ", "    return le"])
def test_a_suggestion_in_the_usual_completion(tmp_path: Path, line: str):
    command, environment = emacs()
    (tmp_path / "set-up.el").write_text(set_up("fake:left - right\n"), encoding="utf-8")
    source = "def subtract(left, right):\n"
    file = tmp_path / "sample.py"
    file.write_text(source + line, encoding="utf-8")
    try:
        done = subprocess.run(
            [*command, "--batch", "-Q", "-l", tmp_path / "set-up.el", "-l", DRIVER, file],
            env={**os.environ, **environment, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        launcher.stop()
    candidates, _, text = done.stdout.partition("\n")
    expected = "left - right" if line.endswith(" ") else "leleft - right"
    assert candidates == f'("{expected}")', done.stderr
    assert text == f"{source}    return {expected}"

"""Prove the wheel: installed into a fresh environment, it completes a line from a workspace that tries to shadow it.

Run with any Python ≥ 3.11 and nothing installed: `python tests/wheel/smoke.py DIST [--constraints FILE]`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TRAP = 'raise SystemExit("a file of the workspace was imported in place of a room of tersely")\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path, help="folder that holds the wheel")
    parser.add_argument("--constraints", type=Path)
    options = parser.parse_args()
    (wheel,) = options.dist.resolve().glob("tersely-*.whl")
    constraints = ["-c", str(options.constraints.resolve())] if options.constraints else []
    with tempfile.TemporaryDirectory(prefix="tersely-wheel-") as folder:
        home = Path(folder)
        python = make_environment(home / "env", [*constraints, str(wheel)])
        check_names(python)
        check_hostile_workspace(python, home)
    print("wheel smoke test: passed")


def make_environment(folder: Path, install: list[str]) -> Path:
    """A fresh environment with the wheel in it; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *install], check=True)
    return python


def check_names(python: Path) -> None:
    """The wheel brings one importable top-level name to site-packages."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps(sorted({f.parts[0] for f in m.files('tersely') if f.parts[0] != '..'})))"
    )
    names = json.loads(subprocess.check_output([python, "-I", "-c", code], text=True))
    importable = [name for name in names if not name.endswith(".dist-info")]
    print("the wheel adds to site-packages:", names)
    assert importable == ["tersely"], f"the wheel must add `tersely` alone, not {importable}"


def check_hostile_workspace(python: Path, home: Path) -> None:
    """A completion and a server start from a folder full of traps, with PYTHONPATH=. ."""
    workspace = home / "workspace"
    workspace.mkdir()
    for name in ("model", "lsp", "completion", "editors"):
        (workspace / f"{name}.py").write_text(TRAP)
    (workspace / "code.py").write_text("import os\n\nfor name in os.listdir(\n")
    tersely = python.parent / ("tersely.exe" if os.name == "nt" else "tersely")
    state = {name: str(home / name.lower()) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")}  # not the user's engine
    (home / "xdg_runtime_dir").mkdir(mode=0o700)
    environment = {**os.environ, **state, "PYTHONPATH": "."}
    run = {"cwd": workspace, "env": environment, "text": True}
    try:
        answer = json.loads(subprocess.check_output([tersely, "complete", "code.py:3", "--json"], **run))
        print("completed:", json.dumps({key: answer[key] for key in ("text", "stop_reason", "tokens")}))
        assert answer["tokens"]["prompt"] > 0
        assert answer["tokens"]["generated"] > 0
    finally:
        subprocess.run([tersely, "stop"], check=True, **run)


if __name__ == "__main__":
    sys.exit(main())

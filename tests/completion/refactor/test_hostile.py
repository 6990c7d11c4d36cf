"""Workspaces made to harm: nothing of theirs is run, and nothing outside of them is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.refactor.calls import OrganizeImports
from completion.refactor.overlay import Overlay
from completion.refactor.tools.organize import organize_imports
from tests.completion.refactor.casefile import write_files

_TRAP = "from pathlib import Path\nPath({trap!r}).touch()\n"


@pytest.mark.parametrize("name", ["ruff.py", "sysconfig.py"])
def test_modules_of_the_workspace_are_not_run_in_place_of_ruff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root, trap = tmp_path / "root", tmp_path / "trap"
    write_files(root, {"a.py": "import sys\nimport os\n\nprint(os, sys)\n", name: _TRAP.format(trap=str(trap))})
    monkeypatch.setenv("PYTHONPATH", ".")
    overlay = Overlay(root)
    organize_imports(OrganizeImports(path="a.py"), overlay)
    assert overlay.read("a.py").startswith("import os\nimport sys\n")
    assert not trap.exists()

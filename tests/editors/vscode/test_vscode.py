"""The extension in a real VS Code, over the real server and engine with the embedded model."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from model.service import launcher
from tests.editors.vscode import code_server

pytestmark = [pytest.mark.vscode, pytest.mark.model, pytest.mark.slow]

SAMPLE = '''class Account:
    """Somebody's money."""

    def __init__(self, owner, balance):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self'''
KEY = "."


@pytest.mark.usefixtures("embedded_model")
def test_ghost_text_is_seen_and_taken(tmp_path: Path):
    entry = code_server.install()
    code_server.chromium()
    code_server.prepare_driver()
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "account.py").write_text(SAMPLE)
    code_server.build_extension(tmp_path / "extensions")
    settings = {
        "tersely.server.path": str(Path(sys.executable).with_name("tersely")),
        "tersely.level": "eager",
        "tersely.engine.threads": 1,
        "editor.wordBasedSuggestions": "off",
        "editor.minimap.enabled": False,
        "workbench.startupEditor": "none",
        "workbench.secondarySideBar.defaultVisibility": "hidden",
        "workbench.tips.enabled": False,
    }
    screenshot = tmp_path / "vscode.png"
    try:
        with code_server.serving(entry, tmp_path, workspace, settings) as url:
            saw = code_server.drive(url, "account.py", KEY, screenshot)
    finally:
        launcher.stop()
        keep = os.environ.get("TERSELY_SCREENSHOTS")
        if keep and screenshot.exists():
            shutil.copy(screenshot, Path(keep) / "vscode.png")
    first = str(saw["first"])
    assert saw["advanced"] == first[1:]
    after_word = str(saw["afterWord"])
    assert len(after_word) < len(first) - 1
    assert first.endswith(after_word)
    # Lines behind the first are shown elsewhere on the screen, and taken with it.
    assert (workspace / "account.py").read_text().startswith(f"{SAMPLE}{KEY}{first}")
    assert saw["explained"]
    assert saw["errors"] == []

"""The packaged extension in a real VS Code: a first hour over a scripted server, and typing over the real engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from model.service import launcher
from tests.editors import chromium
from tests.editors.tools import ROOT
from tests.editors.vscode import code_server
from tests.editors.vscode.stand_in import MODEL, make_wheels

pytestmark = [pytest.mark.vscode, pytest.mark.slow]

FOLDER = Path(__file__).parent
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
CALM = {
    "editor.wordBasedSuggestions": "off",
    "editor.minimap.enabled": False,
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.tips.enabled": False,
}


@pytest.fixture(scope="module")
def vsix(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What starts code-server, and the packaged extension."""
    entry = code_server.install()
    chromium.prepare()
    return entry, code_server.package(tmp_path_factory.mktemp("vsix"))


@contextmanager
def opened(vsix: tuple[Path, Path], home: Path, settings: dict[str, object], source: str) -> Iterator[tuple[str, Path]]:
    """VS Code with the extension installed and a workspace with one file; its address, and the file."""
    entry, package = vsix
    code_server.install_extension(entry, home, package)
    file = home / "workspace" / "account.py"
    file.parent.mkdir()
    file.write_text(source)
    try:
        with code_server.serving(entry, home, file.parent, {**CALM, **settings}) as url:
            yield url, file
    finally:
        launcher.stop()


def keep(screenshot: Path) -> None:
    """Where the documents' pictures are made anew."""
    folder = os.environ.get("TERSELY_SCREENSHOTS")
    if folder and screenshot.exists():
        shutil.copy(screenshot, folder)


def test_a_first_hour(vsix: tuple[Path, Path], tmp_path: Path):
    pid_file = tmp_path / "pid"
    wheels = make_wheels(tmp_path / "wheels", pid_file)
    settings = {"tersely.server.wheels": str(wheels), "tersely.server.python": sys.executable}
    with opened(vsix, tmp_path, settings, "# Notes\n") as (url, file):
        saw = chromium.drive(FOLDER / "drive_scripted.js", url, file.name, tmp_path / "data", pid_file, tmp_path)
    keep(tmp_path / "vscode-start.png")
    assert saw["statusBefore"] == "circle-outline"
    assert saw["pid"]
    assert saw["word"] == "lines = first"
    assert saw["line"] == ["lines = first()", ""]
    assert saw["nextLine"] == ["lines = first()", "second()"]
    assert saw["alternative"] == "many = two()"
    assert saw["restarted"]
    assert saw["languageOff"] == [True, ["python"]]
    assert saw["snoozed"] == [True, "tersely 5 min"]
    assert "http://" in str(saw["complaint"])
    assert saw["model"] == MODEL
    assert saw["errors"] == []
    # The server goes with its editor, and needs a moment for it.
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid_file.read_text())).wait(30)


def test_a_wish_is_looked_at_granted_and_taken_back(vsix: tuple[Path, Path], tmp_path: Path):
    server = tmp_path / "tersely"
    server.write_text(f"#!/bin/sh\ncd '{ROOT}' && exec '{sys.executable}' -m tests.lsp.fake_server\n")
    server.chmod(0o755)
    source = "def area(w, h):\n    return w * h\n\n\nprint(area(2, 3))\n# an area"
    screenshot = tmp_path / "vscode-wish.png"
    with opened(vsix, tmp_path, {"tersely.server.path": str(server)}, source) as (url, file):
        saw = chromium.drive(FOLDER / "drive_wish.js", url, file.name, screenshot)
    keep(screenshot)
    assert saw["refusal"] == "tersely: make it fast? Nothing is known of it for the file."
    assert saw["previewed"]
    # What needs a look is not ticked in the preview.
    assert saw["changed"] == source.replace("def area", "def surface").replace("print(area", "print(surface")
    assert saw["undone"] == source


@pytest.mark.model
@pytest.mark.usefixtures("embedded_model")
def test_ghost_text_is_seen_and_taken(vsix: tuple[Path, Path], tmp_path: Path):
    settings = {
        "tersely.server.path": str(Path(sys.executable).with_name("tersely")),
        "tersely.level": "eager",
        "tersely.engine.threads": 1,
    }
    screenshot = tmp_path / "vscode.png"
    with opened(vsix, tmp_path, settings, SAMPLE) as (url, file):
        saw = chromium.drive(FOLDER / "drive_model.js", url, file.name, KEY, screenshot)
    keep(screenshot)
    first = str(saw["first"])
    assert saw["advanced"] == first[1:]
    after_word = str(saw["afterWord"])
    assert len(after_word) < len(first) - 1
    assert first.endswith(after_word)
    # Lines behind the first are shown elsewhere on the screen, and taken with it.
    assert file.read_text().startswith(f"{SAMPLE}{KEY}{first}")
    assert saw["explained"]
    assert saw["errors"] == []

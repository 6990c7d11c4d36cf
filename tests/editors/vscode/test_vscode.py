"""The packaged extension in a real VS Code: a first hour over a scripted server, and typing over the real engine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from model.service import launcher
from tests.editors import chromium
from tests.editors.keeping import keep
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
CART = '''"""A shop's cart."""


def load_cart(path):
    with open(path) as file:
        return [line.split(",") for line in file]


def cart_total(items):
    """What all items cost."""
    return sum(price for name, price in items)


print(cart_total([("tea", 3)]))  # cart_total is in cents'''
WISH = "rename cart_total to total_price"
CALM = {
    "editor.wordBasedSuggestions": "off",
    "editor.minimap.enabled": False,
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.tips.enabled": False,
    "editor.cursorBlinking": "solid",
    "editor.overviewRulerBorder": False,
    "editor.scrollbar.vertical": "hidden",
    "workbench.activityBar.location": "hidden",
    "workbench.layoutControl.enabled": False,
    "window.commandCenter": False,
    "breadcrumbs.enabled": False,
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


def check_wish(saw: dict[str, object], source: str, old: str, new: str) -> None:
    """What a renaming showed: the last place, behind another in its line, needs a look, and is not ticked."""
    assert saw["before"] == saw["undone"] == source
    places = saw["places"]
    assert isinstance(places, list)
    assert [ticked for _, ticked in places].count(True) == 2
    assert len(places) == 3
    assert saw["changed"] == source.replace(f"def {old}", f"def {new}").replace(f"print({old}", f"print({new}")


def test_a_wish_is_looked_at_granted_and_taken_back(vsix: tuple[Path, Path], tmp_path: Path):
    server = tmp_path / "tersely"
    server.write_text(f"#!/bin/sh\ncd '{ROOT}' && exec '{sys.executable}' -m tests.lsp.fake_server\n")
    server.chmod(0o755)
    source = "def area(w, h):\n    return w * h\n\n\nprint(area(2, 3))  # an area"
    with opened(vsix, tmp_path, {"tersely.server.path": str(server)}, source) as (url, file):
        saw = chromium.drive(FOLDER / "drive_wish.js", url, file.name, tmp_path / "wish.png")
    assert saw["refusal"] == "tersely: make it fast? Nothing is known of it for the file."
    check_wish(saw, source, "area", "surface")


@pytest.mark.model
@pytest.mark.usefixtures("embedded_model")
def test_ghost_text_is_taken_and_a_wish_granted(vsix: tuple[Path, Path], tmp_path: Path):
    settings = {
        "tersely.server.path": str(Path(sys.executable).with_name("tersely")),
        "tersely.level": "eager",
        "tersely.engine.threads": 1,
    }
    with opened(vsix, tmp_path, settings, SAMPLE) as (url, file):
        (file.parent / "cart.py").write_text(CART)
        name = WISH.split()[-1]
        saw: Any = chromium.drive(FOLDER / "drive_model.js", url, file.name, KEY, "cart.py", WISH, name, tmp_path)
    keep(tmp_path / "vscode.png", tmp_path / "vscode-wish.png")
    first = str(saw["first"])
    assert saw["advanced"] == first[1:]
    after_word = str(saw["afterWord"])
    assert len(after_word) < len(first) - 1
    assert first.endswith(after_word)
    # Lines behind the first are shown elsewhere on the screen, and taken with it.
    assert file.read_text().startswith(f"{SAMPLE}{KEY}{first}")
    assert saw["page"] == "smollm2-135m – tersely engine"
    assert saw["explained"]
    check_wish(saw["wish"], CART, "cart_total", "total_price")
    assert saw["errors"] == []

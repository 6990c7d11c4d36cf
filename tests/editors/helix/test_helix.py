"""Helix, set up as our page says: suggestions in its completion menu, typed and taken in a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.service import launcher
from tests.editors import debian
from tests.editors.tools import ROOT

pytestmark = [pytest.mark.helix, pytest.mark.slow]

SUITE = "trixie"
"""The Debian release that has Helix."""
README = ROOT / "editors" / "nvim" / "README.md"
WAIT_S = 150.0
_CONTROL = re.compile(rb"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")


def helix() -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Helix."""
    root = debian.unpacked("Helix", "helix", package="hx", suite=SUITE)
    return debian.command(root, "usr/lib/hx/hx"), {"HELIX_RUNTIME": str(root / "usr/lib/hx/runtime")}


def set_up(model: str) -> str:
    """What the page says, with this Python's server and a scripted model."""
    [snippet] = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for ours, stand_in in {
        'command = "tersely"': f"command = {json.dumps(sys.executable)}",
        'args = ["lsp"]': 'args = ["-m", "tersely", "lsp"]',
        "{ tersely = { ": f"{{ tersely = {{ model = {json.dumps(model)}, ",
    }.items():
        assert snippet.count(ours) == 1
        snippet = snippet.replace(ours, stand_in)
    return str(snippet)


class Terminal:
    """A program at a terminal: keys go in, and what it wrote since comes out, without its control sequences."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Its end of the terminal is closed when the program ends.
        with contextlib.suppress(OSError):
            while some := os.read(self._master, 65536):
                self._written += some

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        self._written = b""

    def text(self) -> str:
        return _CONTROL.sub(b"", self._written).decode(errors="replace")

    def until(self, condition: Callable[[], object], *, within_s: float = WAIT_S) -> None:
        end_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end_s or self.process.poll() is not None:
                pytest.fail(f"waited in vain; on the terminal: {self.text()[-2000:]!r}")
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        os.close(self._master)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    command, environment = helix()
    folder = tmp_path / "config" / "helix"
    folder.mkdir(parents=True)
    (folder / "languages.toml").write_text(set_up("fake:left - right\n"), encoding="utf-8")
    (tmp_path / "sample.py").write_text("def subtract(left, right):\n    return \n", encoding="utf-8")
    homes = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "CACHE", "STATE", "DATA")}
    ours = {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    made = Terminal([*command, str(tmp_path / "sample.py")], {**os.environ, **environment, **homes, **ours})
    yield made
    made.close()
    launcher.stop()


def leave(terminal: Terminal) -> None:
    """Out of insert mode. What follows Escape at once would be taken for a key with Alt."""
    terminal.forget()
    terminal.type("\x1b")
    terminal.until(lambda: "NOR" in terminal.text())


def test_a_suggestion_in_the_completion_menu(terminal: Terminal, tmp_path: Path):
    terminal.until(lambda: "sample.py" in terminal.text())
    terminal.type("jA")  # at the end of the second line
    terminal.until(lambda: "INS" in terminal.text())

    def offered() -> bool:
        # Nothing is offered while the engine starts, and what was asked before is not asked again.
        terminal.forget()
        terminal.type("\x18")
        with contextlib.suppress(pytest.fail.Exception):
            terminal.until(lambda: "left - right" in terminal.text(), within_s=2)
            return True
        leave(terminal)
        terminal.type("A")
        return False

    terminal.until(offered)
    terminal.type("\x0e\r")  # the first of the menu, and take it
    leave(terminal)
    terminal.type(":write-quit\r")
    terminal.process.wait(30)
    assert (tmp_path / "sample.py").read_text() == "def subtract(left, right):\n    return left - right\n"

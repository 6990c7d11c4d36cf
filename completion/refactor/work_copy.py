"""A copy of a tree to run commands in, made once and kept true to the tree: only what differs is copied again.

Environments and installed packages are linked, caches are left out, and git's objects are borrowed, as by
`git clone --shared`. A file counts as untouched while inode, size, mode and times are those that were seen last, on
both sides; what a command made, changed or removed in the copy is undone by the next `refresh`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

LINKED = frozenset({".venv", "venv", "node_modules", "target", ".tox", ".nox"})
"""At the top of the tree."""
LEFT_OUT = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"})
_SPARE_BYTES = 64 << 20
_OBJECTS = ".git/objects"
_BORROWED = (_OBJECTS, f"{_OBJECTS}/info", f"{_OBJECTS}/info/alternates")

_Mark = tuple[int, int, int, int, int]


class WorkCopy:
    """The copy lies in a temporary folder, which goes with this object. Not for two threads at once."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        held = Path(tempfile.mkdtemp(prefix="tersely-check-")).resolve()
        weakref.finalize(self, shutil.rmtree, held, ignore_errors=True)
        self.folder = held / (self._root.name or "root")
        self._seen: dict[str, tuple[_Mark, _Mark | None]] = {}

    def refresh(self, changes: Mapping[str, bytes | None]) -> int:
        """Have the copy as the tree is, with changes: paths and their new bytes, None for a file that goes.

        Returns how many files were copied. Raises `OSError` where the tree cannot be read, or the copy not be written;
        before anything is copied, where it has no room.
        """
        self.folder.mkdir(exist_ok=True)
        wanted = dict(_entries(self._root, leave_out=LEFT_OUT))
        self._require_room(wanted)
        for path, held in list(_entries(self.folder)):
            if path not in _BORROWED and (path not in wanted or _kind(path, wanted[path]) != _kind("", held)):
                _remove(self.folder / path)
        copied = sum(self._bring(path, held) for path, held in wanted.items())
        if (self._root / _OBJECTS).is_dir():
            alternates = self.folder / _BORROWED[-1]
            alternates.parent.mkdir(parents=True, exist_ok=True)
            alternates.write_text(f"{self._root / _OBJECTS}\n", encoding="utf-8")
        for path, content in changes.items():
            file = self.folder / path
            _remove(file)
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return copied

    def _require_room(self, wanted: Mapping[str, os.stat_result]) -> None:
        """A disk that is full hurts others than us."""
        new = (held for path, held in wanted.items() if self._seen.get(path, (None, None))[0] != _mark(held))
        needed_bytes = sum(held.st_size for held in new if stat.S_ISREG(held.st_mode)) + _SPARE_BYTES
        if shutil.disk_usage(self.folder).free < needed_bytes:
            reason = f"a copy of {self._root} needs {needed_bytes / 1e9:.1f} GB (TMPDIR says where it lies)"
            raise OSError(errno.ENOSPC, reason)

    def _bring(self, path: str, held: os.stat_result) -> bool:
        """Have one entry of the tree in the copy; whether it was copied."""
        source, target = self._root / path, self.folder / path
        if path not in LINKED and stat.S_ISDIR(held.st_mode):
            target.mkdir(exist_ok=True)
            return False
        if self._seen.get(path) == (_mark(held), _mark_of(target)):
            return False
        _remove(target)
        if path in LINKED:
            target.symlink_to(source, target_is_directory=True)
        elif stat.S_ISLNK(held.st_mode):
            target.symlink_to(os.readlink(source))
        else:
            shutil.copy2(source, target)
        self._seen[path] = (_mark(held), _mark_of(target))
        return True


def _entries(root: Path, *, leave_out: Collection[str] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """Folders, files and links below a root, a folder before what is in it; sockets and the like are passed over."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as found:
            for entry in found:
                path = f"{folder}/{entry.name}" if folder else entry.name
                held = entry.stat(follow_symlinks=False)
                kind = stat.S_IFMT(held.st_mode)
                if entry.name in leave_out or (path == _OBJECTS and leave_out):
                    continue
                if kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
                    yield path, held
                if kind == stat.S_IFDIR and path not in LINKED:
                    waiting.append(path)


def _kind(path: str, held: os.stat_result) -> int:
    return stat.S_IFLNK if path in LINKED else stat.S_IFMT(held.st_mode)


def _mark(held: os.stat_result) -> _Mark:
    """Writing to a file always changes this: its `ctime` cannot be set."""
    return held.st_ino, held.st_size, held.st_mode, held.st_mtime_ns, held.st_ctime_ns


def _mark_of(file: Path) -> _Mark | None:
    try:
        return _mark(file.lstat())
    except FileNotFoundError:
        return None


def _remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)

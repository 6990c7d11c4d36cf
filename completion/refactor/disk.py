"""Writes files so that they outlive a crash, and says in words what a disk refuses. Knows no journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.errors import RefusedError


@contextmanager
def disk_errors(state: str) -> Iterator[None]:
    """Raises `RefusedError` in place of what the disk raises. `state`: how things are then, and what to do."""
    try:
        yield
    except OSError as error:
        raise RefusedError(
            f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}.", hint=state
        ) from error


def write(file: Path, content: bytes, *, before_sync: Callable[[], None] | None = None, mode: int = 0o666) -> None:
    """Have a file with this content on the disk. `mode`: of a new one, less the user's mask. Never follows a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(file, flags, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        if before_sync is not None:
            before_sync()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Have a rename outlive a power cut, where folders can be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Reads files of workspaces that nobody vouches for: what is no file, or too large, is neither waited for nor read."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_plain(file: Path, *, most_bytes: int) -> bytes | None:
    """The content; None for a pipe, a device or a folder, and for more than `most_bytes`. Links are followed.

    What grows meanwhile is not read beyond that either. Raises `OSError` as opening does.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        return None
    # Should a pipe have taken its place since: opening it waits for who writes to it, but for this flag.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(file, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return None
        content = stream.read(most_bytes + 1)
    return content if len(content) <= most_bytes else None

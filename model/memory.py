"""Memory of this process: how much it is, and back to the system. Knows no models."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

import psutil


def resident_bytes() -> int:
    """What this process holds of the machine's memory now."""
    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Collect what nobody holds, and return freed pages to the system: glibc keeps them otherwise."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another libc, which has its own ways
            ctypes.CDLL("libc.so.6").malloc_trim(0)

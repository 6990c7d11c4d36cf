"""How many threads to compute with."""

from __future__ import annotations

import os

import psutil


def free_cores() -> int:
    """Physical cores that this process may use and nobody keeps busy, at least 1.

    Kernels that wait for a thread whose core is taken run several times slower than with one thread less.
    `OMP_NUM_THREADS` is the user's own word and wins.
    """
    wish = os.environ.get("OMP_NUM_THREADS", "")
    if wish.isdecimal() and int(wish) > 0:
        return int(wish)
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux: containers and taskset
        cores = min(cores, len(os.sched_getaffinity(0)))
    busy: float = psutil.getloadavg()[0]
    return max(1, cores - round(busy))

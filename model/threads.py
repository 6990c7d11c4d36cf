"""How many threads to compute with: the free cores, at the start and as they come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil

_SLOW = 3.0
_SLOW_STEPS = 8
"""So many steps in a row, each so much longer than usual, and the free cores are counted again: kernels that wait for a
thread whose core is taken run five times slower, or worse."""
_DRIFT = 1.01
"""What is usual may become longer by so much a step, as attention does with what it looks back on."""
_LOOK_S = 5.0
"""While cores are left to others, it is looked so often whether those are gone."""


def free_cores() -> int:
    """Physical cores that this process may use and nobody keeps busy, at least 1.

    Kernels that wait for a thread whose core is taken run several times slower than with one thread less.
    `OMP_NUM_THREADS` is the user's own word and wins.
    """
    wish = asked_threads()
    if wish is not None:
        return wish
    busy: float = psutil.getloadavg()[0]
    return max(1, own_cores() - round(busy))


def asked_threads() -> int | None:
    """What `OMP_NUM_THREADS` says, if it says anything."""
    wish = os.environ.get("OMP_NUM_THREADS", "")
    return int(wish) if wish.isdecimal() and int(wish) > 0 else None


def own_cores() -> int:
    """Physical cores that this process may use, free or not."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux: containers and taskset
        cores = min(cores, len(os.sched_getaffinity(0)))
    return cores


class CoresTaken:
    """Cores that other processes kept busy since the last call, on average."""

    def __init__(self) -> None:
        self._seen = self._look()

    def __call__(self) -> float:
        before, self._seen = self._seen, self._look()
        spent_s, others_s = (after - earlier for after, earlier in zip(self._seen, before, strict=True))
        return max(0.0, others_s / spent_s) if spent_s > 0 else 0.0

    def _look(self) -> tuple[float, float]:
        """Seconds of the clock, and of the processors that were others'."""
        whole, own = psutil.cpu_times(), psutil.Process().cpu_times()
        kinds = ("user", "nice", "system", "irq", "softirq", "steal", "interrupt", "dpc")
        return time.monotonic(), sum(getattr(whole, kind, 0.0) for kind in kinds) - own.user - own.system


class ThreadPace:
    """The number of threads for the next step, given how long the last ones took.

    One less for each core that others take, found out when steps slow down; and back again when those are gone.
    """

    def __init__(
        self,
        threads: int,
        *,
        cores: int,
        taken: Callable[[], float] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cores` is the most; `taken` is `CoresTaken` but in tests."""
        self.threads = threads
        self._cores = cores
        self._taken = taken or CoresTaken()
        self._now_s = now_s
        self._looked_s = now_s()
        self._usual_ms: float | None = None
        self._slow = 0

    def record(self, spent_ms: float) -> bool:
        """A step of a token or a few took so long. Is `threads` another now?"""
        usual_ms = spent_ms if self._usual_ms is None else min(spent_ms, self._usual_ms * _DRIFT)
        self._usual_ms = usual_ms
        self._slow = self._slow + 1 if spent_ms > _SLOW * usual_ms else 0
        if self._slow == 1:
            self._taken()  # what was before does not count
            self._looked_s = self._now_s()
        elif self._slow >= _SLOW_STEPS or (self.threads < self._cores and self._now_s() - self._looked_s > _LOOK_S):
            return self._look()
        return False

    def _look(self) -> bool:
        free = max(1, self._cores - round(self._taken()))
        self._looked_s, self._slow = self._now_s(), 0
        if free == self.threads:
            return False
        self.threads, self._usual_ms = free, None
        return True

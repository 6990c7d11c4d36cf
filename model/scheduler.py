"""Whose turn it is: interactive before batch at every step, round-robin within a class. Computes nothing."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice

from model.api import Priority
from model.errors import EngineBusyError
from model.sequence import Sequence


class Scheduler:
    """Sequences that are not finished, by class. `add` may be called from any thread; the rest is the engine's.

    Up to `running` sequences of a class are in turn at a time; those behind them wait, so that their caches do not
    crowd out each other. Up to `queue` sequences are taken in all.
    """

    def __init__(self, *, running: int, queue: int) -> None:
        self._running = running
        self._queue = queue
        self._lock = threading.Lock()
        self._classes: dict[Priority, deque[Sequence]] = {priority: deque() for priority in Priority}

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._classes.values())

    def add(self, sequence: Sequence) -> None:
        """Raises `EngineBusyError` when the queue is full."""
        with self._lock:
            if len(self) >= self._queue:
                raise EngineBusyError(
                    f"The engine has {self._queue} requests waiting already.", hint="Try again in a moment."
                )
            self._classes[sequence.request.priority].append(sequence)

    def schedule(self) -> Sequence | None:
        """The sequence that is stepped next; None when there is nothing to do."""
        with self._lock:
            for _, waiting in sorted(self._classes.items()):
                if waiting:
                    return waiting[0]
        return None

    def turns(self) -> list[Sequence]:
        """The sequences whose turn it is, the next one first: the more urgent class alone, as far as it is running."""
        with self._lock:
            for _, waiting in sorted(self._classes.items()):
                if waiting:
                    return list(islice(waiting, self._running))
        return []

    def rotate(self, sequence: Sequence) -> None:
        """After a step: the next one in turn comes first."""
        with self._lock:
            waiting = self._classes[sequence.request.priority]
            waiting.remove(sequence)
            waiting.insert(min(self._running - 1, len(waiting)), sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that ended."""
        with self._lock:
            self._classes[sequence.request.priority].remove(sequence)

    def take_cancelled(self) -> list[Sequence]:
        """Remove and return those whose clients are gone."""
        with self._lock:
            gone = [sequence for waiting in self._classes.values() for sequence in waiting if sequence.cancelled]
            for sequence in gone:
                self._classes[sequence.request.priority].remove(sequence)
        return gone

    def drain(self) -> list[Sequence]:
        """Remove and return all."""
        with self._lock:
            left = [sequence for waiting in self._classes.values() for sequence in waiting]
            for waiting in self._classes.values():
                waiting.clear()
        return left

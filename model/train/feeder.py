"""Examples in order, made here or ahead of time by worker processes. What comes out is the same either way.

On a CPU making examples costs a few per cent of a step. A GPU eats them faster than one process makes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Protocol, Self

from model.train.examples import Example

_BLOCK = 64
_BLOCKS_AHEAD = 4


class Source(Protocol):
    """Where examples come from, by number."""

    def make(self, index: int) -> Example:
        """Example number `index`."""
        ...


MakerFactory = Callable[[], Source]


class Feeder:
    """A `Source` with `workers` processes that work ahead of whoever asks for numbers in order.

    `factory` builds each worker's maker; it must be picklable, since workers are spawned.
    """

    def __init__(self, factory: MakerFactory, *, workers: int) -> None:
        self._pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_build, initargs=(factory,)
        )
        self._ahead = workers * _BLOCKS_AHEAD
        self._pending: deque[tuple[int, Future[list[Example]]]] = deque()
        self._first = 0
        self._ready: list[Example] = []

    def make(self, index: int) -> Example:
        """Example number `index`: at once where it is the one after the last asked for, or near it."""
        if not self._first <= index < self._first + len(self._ready):
            self._advance(index)
        return self._ready[index - self._first]

    def _advance(self, index: int) -> None:
        block = index - index % _BLOCK
        while self._pending and self._pending[0][0] != block:
            self._pending.popleft()[1].cancel()
        following = self._pending[-1][0] + _BLOCK if self._pending else block
        while len(self._pending) <= self._ahead:
            self._pending.append((following, self._pool.submit(_make, following)))
            following += _BLOCK
        self._first, future = self._pending.popleft()
        self._ready = future.result()

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_maker: Source | None = None


def _build(factory: MakerFactory) -> None:
    global _maker  # one per worker process
    _maker = factory()


def _make(first: int) -> list[Example]:
    assert _maker is not None
    return [_maker.make(index) for index in range(first, first + _BLOCK)]

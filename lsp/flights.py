"""Work under way, at most one piece a document: newer work supersedes older. Knows nothing of what the work is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """The newest piece of work of each document, by key."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, key: str, work: Coroutine[object, object, T]) -> T | None:
        """Do `work` after ending what is under way for `key`; None if it is ended itself before it is done.

        Cancelling the caller cancels the work. Raises what the work raises.
        """
        self.end(key)
        task = asyncio.ensure_future(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._land(key, done))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        return None if task.cancelled() else task.result()

    def end(self, key: str) -> None:
        """Cancel what is under way for `key`, if anything is."""
        if task := self._tasks.pop(key, None):
            task.cancel()

    def end_all(self) -> None:
        for key in list(self._tasks):
            self.end(key)

    def _land(self, key: str, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            # Looked at, so that an error after the caller has gone is not reported as never retrieved.
            task.exception()

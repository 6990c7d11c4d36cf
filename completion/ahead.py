"""Looks ahead: completes, in the background, the state that a document is in once its suggestion is accepted.

It begins after a pause, runs in the engine's lower class, and ends as soon as anybody really asks; unless what is
asked for is the very state that it is at, which is then waited for. Knows no engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from completion.api import CompletionRequest, Suggestion
from model.errors import TerselyError

logger = logging.getLogger(__name__)

_PAUSE_S = 0.15
"""A user who types on asks again before this is over."""


class LookAhead:
    """One state at a time."""

    def __init__(
        self, complete: Callable[[CompletionRequest], Awaitable[object]], *, pause_s: float = _PAUSE_S
    ) -> None:
        """`complete` computes a state's suggestion and remembers it."""
        self._complete = complete
        self._pause_s = pause_s
        self._at: CompletionRequest | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, request: CompletionRequest, suggestion: Suggestion) -> None:
        """Turn to the state after `suggestion` is accepted."""
        self.stop()
        text = request.text[: suggestion.start] + suggestion.text + request.text[suggestion.end :]
        accepted = replace(request, text=text, offset=suggestion.start + len(suggestion.text))
        self._task = asyncio.get_running_loop().create_task(self._run(accepted))

    async def give_way(self, request: CompletionRequest) -> None:
        """Somebody asks: end, or, if that is what is being computed, get done with it."""
        task, at = self._task, self._at
        if task is not None and at is not None and _same_place(at, request):
            await asyncio.wait({task})
        else:
            self.stop()

    def stop(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._at = None, None

    async def _run(self, request: CompletionRequest) -> None:
        await asyncio.sleep(self._pause_s)
        self._at = request
        try:
            await self._complete(request)
        except TerselyError as error:
            logger.info("Not completed ahead: %s", error)
        except Exception:
            logger.exception("Not completed ahead, because of a defect")
        finally:
            if self._at is request:
                self._at = None


def _same_place(one: CompletionRequest, other: CompletionRequest) -> bool:
    return (one.path, one.offset, one.trigger) == (other.path, other.offset, other.trigger) and one.text == other.text

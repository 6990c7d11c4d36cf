"""A progress display for the engine's way from nothing to ready: fetch, start, load. One display at a time."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable
from typing import Protocol

from completion.api import EngineState, EngineStatus
from lsp.status import LOADING

logger = logging.getLogger(__name__)

_TITLES = {EngineState.PULLING: "Fetching the model"}
_TITLE = "Loading the model"


class Display(Protocol):
    """What an editor can do with progress: `create` asks it for a display, and fails if it has none."""

    def create(self, token: str) -> Awaitable[object]: ...

    def begin(self, token: str, title: str, message: str, percentage: int | None) -> None: ...

    def report(self, token: str, message: str, percentage: int | None) -> None: ...

    def end(self, token: str, message: str) -> None: ...


class LoadProgress:
    """Follows the engine's states; what happens while the editor has not answered yet is shown as it then stands."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._latest = EngineStatus(state=EngineState.IDLE)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def update(self, status: EngineStatus) -> None:
        self._latest = status
        self._changed.set()
        if status.state in LOADING and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._show())

    async def _show(self) -> None:
        token = f"tersely-{uuid.uuid4().hex}"
        try:
            await self._display.create(token)
        except Exception as error:  # noqa: BLE001 - whatever an editor answers, it only means no display.
            logger.info("The editor shows no progress: %s", error)
            return
        begun: tuple[str, int | None] | None = None
        while self._latest.state in LOADING:
            latest = self._latest
            shown = (latest.message, None if latest.fraction is None else int(100 * latest.fraction))
            if begun is None:
                self._display.begin(token, _TITLES.get(latest.state, _TITLE), *shown)
            elif shown != begun:
                self._display.report(token, *shown)
            begun = shown
            self._changed.clear()
            await self._changed.wait()
        if begun is not None:
            self._display.end(token, self._latest.message)

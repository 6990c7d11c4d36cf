"""A scripted completer for tests of clients: real waiting, cancellation and counting, no engine behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from completion.api import (
    CompletionRequest,
    CompletionTimings,
    EngineState,
    EngineStatus,
    Level,
    StatusListener,
    Suggestion,
    Trigger,
    Usage,
)
from model.errors import TerselyError

Script = Callable[[CompletionRequest], Sequence[str]]


class FakeCompleter:
    """Offers what `script` says, `delay_s` after it was asked; while `gate` is not set, it waits.

    `requests` lists what was asked, `cancelled` counts the requests that were cancelled before their answer.
    Set `error` to have every request raise it.
    """

    def __init__(self, script: str | Script, *, delay_s: float = 0.0, state: EngineState = EngineState.READY) -> None:
        self._script = script
        self._delay_s = delay_s
        self._status = EngineStatus(state=state)
        self._listeners: list[StatusListener] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: TerselyError | None = None
        self.level = Level.BALANCED
        self.requests: list[CompletionRequest] = []
        self.cancelled = 0
        self.closed_documents: list[str] = []
        self.warm_ups = 0
        self.closed = False
        self._last: dict[str, Suggestion] = {}

    async def complete(self, request: CompletionRequest) -> list[Suggestion]:
        self.requests.append(request)
        try:
            await self.gate.wait()
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        texts = [self._script] if isinstance(self._script, str) else list(self._script(request))
        if request.trigger is Trigger.AUTOMATIC:
            texts = texts[:1]
        suggestions = [self._suggestion(request, text, rank) for rank, text in enumerate(texts) if text]
        if suggestions:
            self._last[request.path] = suggestions[0]
        return suggestions

    def last_attempt(self, path: str) -> Suggestion | None:
        return self._last.get(path)

    def _suggestion(self, request: CompletionRequest, text: str, rank: int) -> Suggestion:
        selected = request.selected
        return Suggestion(
            text=selected.text + text if selected else text,
            start=selected.start if selected else request.offset,
            end=selected.end if selected else request.offset,
            stop_reason="stop",
            confidence=0.9,
            model="fake",
            usage=Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=1),
            timings=CompletionTimings(total_ms=self._delay_s * 1000),
            suggestion_id=f"fake-{len(self.requests)}-{rank}",
        )

    def document_closed(self, path: str) -> None:
        self.closed_documents.append(path)

    def set_level(self, level: Level) -> None:
        self.level = level

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        self._listeners.append(listener)
        listener(self._status)
        return lambda: self._listeners.remove(listener)

    def set_status(self, status: EngineStatus) -> None:
        """Change the status, and tell the listeners."""
        self._status = status
        for listener in list(self._listeners):
            listener(status)

    def warm_up(self) -> None:
        self.warm_ups += 1

    async def aclose(self) -> None:
        self.closed = True

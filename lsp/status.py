"""How things stand, in words for a status bar: one kind, one message, one way out. Knows nothing of how it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from completion.api import EngineState, EngineStatus
from model.errors import EngineBusyError, TerselyError

LOADING = frozenset({EngineState.STARTING, EngineState.PULLING, EngineState.LOADING})
_QUIET_S = 600.0
"""A second outage within this time of the last warning gives no second warning."""


class Kind(StrEnum):
    """`BUSY`: the model is on its way. `INACTIVE`: switched off by the user."""

    NORMAL = "Normal"
    BUSY = "Busy"
    WARNING = "Warning"
    ERROR = "Error"
    INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True)
class Status:
    """What a status bar shows. `hint` says what the user can do, and may be empty."""

    kind: Kind
    message: str
    hint: str = ""

    @property
    def busy(self) -> bool:
        return self.kind is Kind.BUSY


class Editor(Protocol):
    """What the server may say to the user without being asked."""

    def warn(self, message: str) -> None:
        """Show a warning that the user has to notice."""
        ...

    def show_status(self, status: Status) -> None:
        """Put this into the status bar."""
        ...

    def show_loading(self, status: EngineStatus) -> None:
        """The engine's state changed: begin, go on with or end a progress display."""
        ...


_WORDS = {
    EngineState.IDLE: "Ready; the model is loaded when it is needed.",
    EngineState.STARTING: "Starting the engine.",
    EngineState.PULLING: "Fetching the model.",
    EngineState.LOADING: "Loading the model.",
    EngineState.READY: "Ready.",
    EngineState.FAILED: "The engine is not available.",
}


class StatusBoard:
    """Sums up settings, engine and last answer; tells the editor of each change, and warns once an outage."""

    def __init__(self, editor: Editor, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._editor = editor
        self._clock = clock
        self._enabled = True
        self._engine = EngineStatus(state=EngineState.IDLE)
        self._trouble: TerselyError | None = None
        self._warned_s: float | None = None
        self._answered = True
        self._sent: Status | None = None

    @property
    def engine(self) -> EngineStatus:
        return self._engine

    def enable(self, enabled: bool) -> None:
        self._enabled = enabled
        self._send()

    def engine_changed(self, status: EngineStatus) -> None:
        """What the engine says of itself."""
        self._engine = status
        if status.state is EngineState.READY:
            self._trouble = None
        if status.state is EngineState.FAILED:
            self._warn(f"{status.message or _WORDS[status.state]} {status.hint}".strip())
        self._editor.show_loading(status)
        self._send()

    def reset(self) -> None:
        """Another engine from here on: what the last one did is forgotten."""
        self._trouble = None
        self._warned_s = None
        self.engine_changed(EngineStatus(state=EngineState.IDLE))

    def answered(self) -> None:
        """A request went well."""
        self._answered = True
        if self._trouble is not None:
            self._trouble = None
            self._send()

    def failed(self, error: TerselyError) -> None:
        """A request did not go well. A full queue is no outage: it only shows in the status."""
        self._trouble = error
        if not isinstance(error, EngineBusyError):
            self._warn(str(error))
        self._send()

    def current(self) -> Status:
        if not self._enabled:
            return Status(Kind.INACTIVE, "Switched off.", 'Set "tersely.enabled" to true.')
        engine = self._engine
        words = engine.message or _WORDS[engine.state]
        if engine.state in LOADING:
            return Status(Kind.BUSY, words, engine.hint)
        if engine.state is EngineState.FAILED:
            return Status(Kind.ERROR, words, engine.hint)
        if self._trouble is not None:
            kind = Kind.WARNING if isinstance(self._trouble, EngineBusyError) else Kind.ERROR
            return Status(kind, self._trouble.message, self._trouble.hint)
        return Status(Kind.NORMAL, words, engine.hint)

    def _warn(self, message: str) -> None:
        now = self._clock()
        due = self._warned_s is None or (self._answered and now - self._warned_s >= _QUIET_S)
        self._answered = False
        if due and self._enabled:
            self._warned_s = now
            self._editor.warn(message)

    def _send(self) -> None:
        status = self.current()
        if status != self._sent:
            self._sent = status
            self._editor.show_status(status)

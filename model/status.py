"""What an engine is doing while nobody asks it anything: plain data for status bars and progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EngineState(StrEnum):
    """`IDLE`: not started yet, or unloaded; the next request starts it. `FAILED`: will be tried again on request."""

    IDLE = "idle"
    STARTING = "starting"
    PULLING = "pulling"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A state with words for people. `fraction` (0 … 1) is set where progress is known; `hint` says what to do."""

    state: EngineState
    message: str = ""
    hint: str = ""
    fraction: float | None = None


StatusListener = Callable[[EngineStatus], None]

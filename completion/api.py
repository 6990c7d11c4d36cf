"""The completion room's own types: a cursor in a text goes in, suggestions come out. Offsets count code points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol, runtime_checkable

from model.api import EngineTimings, Usage
from model.status import EngineState, EngineStatus, StatusListener

__all__ = [
    "Candidate",
    "Completer",
    "CompletionRequest",
    "CompletionTimings",
    "ContextUse",
    "EngineState",
    "EngineStatus",
    "EngineTimings",
    "Explanation",
    "FollowsWorkspace",
    "Level",
    "SelectedItem",
    "StatusListener",
    "Suggestion",
    "Trigger",
    "Usage",
]


class Level(StrEnum):
    """The dial from `quiet` (short, only when sure) to `eager` (blocks, whenever there is something to say)."""

    QUIET = "quiet"
    BALANCED = "balanced"
    EAGER = "eager"


class Trigger(Enum):
    """`AUTOMATIC`: the user typed, at most one suggestion. `INVOKED`: the user asked, alternatives are welcome."""

    AUTOMATIC = "automatic"
    INVOKED = "invoked"


@dataclass(frozen=True, slots=True)
class SelectedItem:
    """What the editor's completion menu has selected: `text` would replace `start:end`. A suggestion extends it."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A cursor in a text. `path` is what the prompt shows (relative to its root when that is known)."""

    text: str
    offset: int
    path: str = "untitled"
    root: str | None = None
    """Absolute path of the workspace root that holds the file, if any."""
    language_id: str | None = None
    """The editor's language id; None: found from path and text."""
    trigger: Trigger = Trigger.AUTOMATIC
    selected: SelectedItem | None = None
    max_tokens: int | None = None
    """Cap below the completer's own; None: the completer's own."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTimings:
    """Wall-clock milliseconds from request to suggestion; `queue`, `prefill`, `decode` are the engine's.

    `guard`: stopping and vetoes, which run while the engine decodes. `polish`: what is done to the text afterwards.
    """

    context_ms: float = 0.0
    prompt_ms: float = 0.0
    guard_ms: float = 0.0
    polish_ms: float = 0.0
    engine: EngineTimings = field(default_factory=EngineTimings)
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextUse:
    """One piece of text that went into the prompt: where from, how large, and why it was chosen."""

    source: str
    path: str
    first_line: int
    last_line: int
    characters: int
    reason: str
    tokens: int = 0
    """About how many of the prompt's tokens it is."""
    cached: bool = False
    """Did the engine know all of it already?"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that was considered, and the probability that it is right."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a suggestion, or its absence, came about."""

    context: tuple[ContextUse, ...] = ()
    prompt: str = ""
    raw: str = ""
    """What the model generated, before stopping and polishing."""
    filters: tuple[str, ...] = ()
    """What was done to it, in order, in words."""
    vetoes: tuple[str, ...] = ()
    """What the model would have said, and could not be."""
    candidates: tuple[Candidate, ...] = ()
    """All texts that were made for this cursor, shown or not."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """What the confidence was computed from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Text to put in the place of `start:end` (offsets into the request's text). An empty `text` offers nothing."""

    text: str
    start: int
    end: int
    stop_reason: str
    confidence: float
    """Calibrated probability that the text is what the user wants, 0 … 1; 0 when nothing is offered."""
    model: str
    usage: Usage
    timings: CompletionTimings
    explanation: Explanation = field(default_factory=Explanation)
    suggestion_id: str = ""
    later: tuple[tuple[int, float], ...] = ()
    """Pairs of how many characters were typed along the text, and how likely what is left of it then is, in order."""


class Completer(Protocol):
    """The seam that clients hold. `completion.connect.connect` makes the real one.

    `complete` never raises for user code of any kind. It raises `model.errors.EngineError` when there is no engine to
    ask, and can be cancelled at any time: the engine is told within one decode step.
    """

    async def complete(self, request: CompletionRequest) -> list[Suggestion]:
        """Suggestions, best first; empty where nothing is worth showing."""
        ...

    def last_attempt(self, path: str) -> Suggestion | None:
        """The last suggestion made for a document, shown or not, with its explanation."""
        ...

    def document_closed(self, path: str) -> None:
        """Forget what is held for a document."""
        ...

    def set_level(self, level: Level) -> None:
        """Turn the dial; holds from the next request on."""
        ...

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        """Call `listener` (on the event loop) with the status now and at each change; returns how to stop that."""
        ...

    def warm_up(self) -> None:
        """Start the engine in the background if it is not running; progress goes to the status listeners."""
        ...

    async def aclose(self) -> None:
        """Release connections and tasks; the shared engine process goes on for others."""
        ...


@runtime_checkable
class FollowsWorkspace(Protocol):
    """What a completer may also be: one that looks at the other files of the workspace. Paths are as in a request."""

    def set_roots(self, roots: Sequence[str]) -> None:
        """The workspace's roots, as absolute paths, from now on."""
        ...

    def file_changed(self, path: str, root: str | None, text: str, language_id: str | None) -> None:
        """A buffer was opened or changed: it stands for its file until it is closed."""
        ...

    def file_saved(self, path: str, root: str | None) -> None:
        """A buffer was written to disk."""
        ...

    def file_closed(self, path: str, root: str | None) -> None:
        """A buffer was closed: the file on disk stands for itself again."""
        ...

    def files_changed(self, paths: Sequence[str], root: str) -> None:
        """Files or folders of a root were made, changed, renamed or removed on disk."""
        ...

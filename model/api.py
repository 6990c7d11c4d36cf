"""The `Engine` seam: what the rooms above may ask of a model, as plain data. No torch, no HTTP, no prompts here.

Two real implementations: `model.local.LocalEngine` (in this process) and `model.remote.HttpEngine` (any server that
speaks OpenAI's completions, tersely's own first of all). One shipped fake for tests: `model.fake.FakeEngine`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt that is tokenized by itself.

    With `special` the text is the name of one control token, such as `<file_sep>`. Without it, the text is
    the user's, and is never read as control tokens, whatever it spells.
    """

    text: str
    special: bool = False


Prompt = str | tuple[Segment, ...] | tuple[int, ...]
"""Plain text, segments, or token ids. A plain string is the user's text: one segment that is not special."""


class Priority(IntEnum):
    """Scheduling class: an interactive request overtakes batch ones between two decode steps."""

    INTERACTIVE = 0
    BATCH = 1


class GrammarKind(StrEnum):
    """How a grammar is written: as a JSON schema, a regular expression (Rust's, without look-around), or in
    llguidance's Lark."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    LARK = "lark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What the generated text must be, whatever the model would like to say. See `model.constraint`."""

    kind: GrammarKind
    text: str
    control: tuple[tuple[str, str], ...] = ()
    """Lark only: rules that stand for control tokens, as pairs of the rule's name and the token's."""
    lenient: bool = False
    """JSON schemas only: keywords that cannot be enforced are ignored, else refused."""


class FinishReason(StrEnum):
    """Why a generation ended. `ABORT`: the client cancelled, or went away."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to choose tokens, and when to end. Temperature 0 is greedy and ignores `top_p`, `top_k` and `seed`."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these strings; no part of it is emitted."""
    ignore_eos: bool = False
    """Go on past end-of-sequence tokens (for benches; vLLM's `ignore_eos`)."""
    logprobs: int | None = None
    """None: none. k ≥ 0: each chosen token's log-probability and those of the k most likely."""
    grammar: Grammar | None = None
    """Only tokens that lead to such a text are chosen; end-of-sequence tokens exactly where it may end."""
    control_text: bool = False
    """Control tokens that the model writes are part of the text, by name (vLLM's `skip_special_tokens: false`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One generation. `request_id` is for logs and may be empty."""

    prompt: Prompt
    sampling: SamplingParams = field(default_factory=SamplingParams)
    priority: Priority = Priority.INTERACTIVE
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token with its natural-log probability under the model (temperature 1), and its rivals."""

    token_id: int
    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one request. `cached_tokens` of the prompt's were not computed again."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTimings:
    """Wall-clock milliseconds that the engine spent on one request."""

    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One step of a stream. Text that may yet become a stop string is held back, so `text` may be empty.

    The last chunk, and only it, has `finish_reason`. It always has `usage` and `timings`; earlier chunks have the
    counts so far (vLLM's `continuous_usage_stats`) where the engine gives them: who stops reading knows them too.
    """

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is served. `fim_family` names the prompt format (see `completion.fim`), "none" where none was trained."""

    name: str
    architecture: str
    fim_family: str = "none"
    context_tokens: int = 2048
    parameters: int = 0
    device: str = "cpu"
    quantization: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What an engine holds now, and how its drafts fared since it was loaded."""

    cache_bytes: int = 0
    """Memory of the prefix cache."""
    drafted_tokens: int = 0
    draft_hits: int = 0
    """Drafted tokens that were right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What became of suggestions since the last time, as an editor tells it: counts, and no word of what they said."""

    shown: int = 0
    accepted: int = 0
    """Suggestions that were taken whole."""
    accepted_tokens: float = 0.0
    """Generated tokens of which text was taken, whole or in part, by length."""


@runtime_checkable
class Engine(Protocol):
    """A model that can be asked.

    `generate` returns an asynchronous generator; closing it (`aclose`), or cancelling the task that reads it, cancels
    the request within one decode step. What was computed stays in the prefix cache.

    Raises (from any method): `EngineUnavailableError`, `EngineAuthError`, `EngineBusyError`, `RequestError`.
    """

    async def info(self) -> ModelInfo:
        """Describe the model; waits until it is loaded."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the continuation of `request.prompt`; the last chunk has the finish reason and the counts."""
        ...

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """Token count of each text, without special tokens."""
        ...

    async def aclose(self) -> None:
        """Release what is held; the engine cannot be used afterwards."""
        ...


@runtime_checkable
class Tokenizing(Protocol):
    """What an engine that knows its own token ids adds to `Engine`."""

    async def tokenize(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """Token ids of each text, without special tokens."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """What an engine that can say what it holds adds to `Engine`."""

    def measures(self) -> Measures:
        """The figures now; quick, and from any thread."""
        ...


@runtime_checkable
class Listening(Protocol):
    """What an engine that wants to know what became of its words adds to `Engine`."""

    async def hear(self, feedback: Feedback) -> None:
        """Pass feedback on, where that stays on this machine."""
        ...

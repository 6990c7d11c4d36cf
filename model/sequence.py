"""One generation in progress: its tokens, its text, and why it ended. Computes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from model.api import Chunk, EngineTimings, FinishReason, GenerateRequest, TokenLogprob, Usage
from model.constraint import Constraint
from model.detokenizer import Detokenizer
from model.drafts import Drafter
from model.errors import EngineError
from model.kv_cache import KvCache
from model.sampler import Choice, Sampler
from model.stop import StopGuard
from model.tokenizer import Tokenizer

Sink = Callable[[Chunk | EngineError], None]


@dataclass(slots=True)
class Clock:
    """Milliseconds spent, and the moment that waiting began."""

    queued_at: float = field(default_factory=time.perf_counter)
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


class Sequence:
    """A request with its state. `cancelled` may be set from any thread; the rest belongs to the engine's."""

    def __init__(
        self,
        request: GenerateRequest,
        prompt: list[int],
        *,
        tokenizer: Tokenizer,
        end_ids: frozenset[int],
        max_tokens: int,
        sink: Sink,
        constraint: Constraint | None = None,
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.generated: list[int] = []
        self.cache: KvCache | None = None
        self.cached_tokens = 0
        self.sampler = Sampler(request.sampling)
        self.drafter: Drafter | None = None
        self.constraint = constraint
        self.cancelled = False
        self.finish_reason: FinishReason | None = None
        self.clock = Clock()
        self._tokenizer = tokenizer
        # A grammar says itself where the text may end.
        self._end_ids = frozenset() if request.sampling.ignore_eos and constraint is None else end_ids
        self._max_tokens = max_tokens
        self._sink = sink
        self._detokenizer = Detokenizer(tokenizer, with_control=request.sampling.control_text)
        self._guard = StopGuard(request.sampling.stop)

    def pending(self) -> list[int]:
        """Tokens that are not in the cache yet: of the prompt, or the one generated last."""
        held = 0 if self.cache is None else len(self.cache.tokens)
        if held < len(self.prompt):
            return self.prompt[held:]
        return self.generated[held - len(self.prompt) :]

    @property
    def tokens_left(self) -> int:
        """How many more may be generated."""
        return self._max_tokens - len(self.generated)

    def accept(self, choices: list[Choice]) -> None:
        """Take what a step chose, send the text on as one chunk, and end where the request says so.

        Tokens behind the end are dropped.
        """
        text = ""
        logprobs: list[TokenLogprob] = []
        for choice in choices:
            if choice.token_id in self._end_ids:
                self._end(FinishReason.STOP, text + self._rest(), tuple(logprobs))
                return
            self.generated.append(choice.token_id)
            text += self._guard.add(self._detokenizer.add(choice.token_id))
            logprobs += self._logprobs(choice)
            if self._guard.stopped:
                self._end(FinishReason.STOP, text, tuple(logprobs))
                return
            if self.tokens_left <= 0:
                self._end(FinishReason.LENGTH, text + self._rest(), tuple(logprobs))
                return
        if self.constraint is not None and self.constraint.ended:
            self._end(FinishReason.STOP, text + self._rest(), tuple(logprobs))
            return
        self._sink(Chunk(text=text, logprobs=tuple(logprobs), usage=self._usage(), timings=self._timings()))

    def _rest(self) -> str:
        """Text that was held back, now that no more comes."""
        return self._guard.finish()

    def abort(self) -> None:
        """End because the client cancelled."""
        self._end(FinishReason.ABORT, "")

    def fail(self, error: EngineError) -> None:
        """End because the engine cannot go on."""
        self.finish_reason = FinishReason.ABORT
        self._sink(error)

    def _end(self, reason: FinishReason, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        self.finish_reason = reason
        self._sink(
            Chunk(text=text, logprobs=logprobs, finish_reason=reason, usage=self._usage(), timings=self._timings())
        )

    def _logprobs(self, choice: Choice) -> tuple[TokenLogprob, ...]:
        if self.request.sampling.logprobs is None:
            return ()
        text = self._tokenizer.text
        top = tuple((text(token_id), logprob) for token_id, logprob in choice.top)
        return (TokenLogprob(choice.token_id, text(choice.token_id), choice.logprob, top),)

    def _usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached_tokens,
            completion_tokens=len(self.generated),
        )

    def _timings(self) -> EngineTimings:
        clock = self.clock
        return EngineTimings(queue_ms=clock.queue_ms, prefill_ms=clock.prefill_ms, decode_ms=clock.decode_ms)

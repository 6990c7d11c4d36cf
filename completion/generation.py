"""From a prompt to a draft: reads the engine's stream, and ends it as soon as the guards have seen enough.

Closing the stream stops the engine. What cannot be (`completion.guard`) is taken back, and the model is asked again
from there for its next best, under a grammar that the engine applies token by token; the prompt is in its cache.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from completion.prompt import continued
from completion.stopping import Cut, StoppingGuard
from model.api import (
    Chunk,
    Engine,
    EngineTimings,
    GenerateRequest,
    Grammar,
    GrammarKind,
    SamplingParams,
    Segment,
    Usage,
)
from model.errors import RequestError

NO_USAGE = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)
_MOST_VETOES = 3


@dataclass(frozen=True, slots=True)
class Veto:
    """What was generated from character `at` on cannot be. `openings`: texts, one of which may stand there instead."""

    at: int
    reason: str
    openings: tuple[str, ...] = ()


Judge = Callable[[str, bool], Awaitable[Veto | None]]
"""Looks at all that was generated so far, and whether that is all there will be."""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token: where it ends in the text, its log-probability, and its rivals."""

    end: int
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(slots=True)
class Draft:
    """What came out of the engine for one attempt, as it grows."""

    raw: str = ""
    cut: Cut = field(default_factory=lambda: Cut(0, "eos"))
    tokens: list[Token] = field(default_factory=list)
    usage: Usage = NO_USAGE
    timings: EngineTimings = field(default_factory=EngineTimings)
    vetoes: list[str] = field(default_factory=list)
    guard_ms: float = 0.0
    """Time that was spent on guards."""
    given: int = 0
    """So many characters at its beginning the model did not choose."""
    asked: str = ""
    """Why only one kind of text would do, in words."""

    @property
    def kept(self) -> str:
        """The text up to the cut."""
        return self.raw[: self.cut.length]

    @property
    def chosen(self) -> list[Token]:
        """The tokens that the model chose."""
        return [token for token in self.tokens if token.end > self.given]

    def logprobs(self, length: int) -> list[float]:
        """Log-probabilities of the chosen tokens that make up the first `length` characters."""
        chosen = self.chosen
        starts = [0, *(token.end for token in chosen)]
        return [token.logprob for token, start in zip(chosen, starts, strict=False) if start < length]

    def take_back(self, length: int) -> None:
        """Forget what was generated behind the first `length` characters."""
        self.raw = self.raw[:length]
        self.tokens = [replace(token, end=min(token.end, length)) for token in self.tokens if token.end <= length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask, and how to judge it."""

    prompt: tuple[Segment, ...]
    request: GenerateRequest
    """Its prompt is replaced by `prompt` and what was said of it already."""
    guard: Callable[[], StoppingGuard]
    judge: Judge | None = None
    grammar: Grammar | None = None
    """What the text must be, if anything; for engines that know no grammars, it may be anything."""
    forced: str = ""
    """What every text of the grammar begins with."""
    reason: str = ""
    """Why there is a grammar, in words."""
    deadline_s: float | None = None
    """By `time.perf_counter`: what is there then is taken."""
    lead: str = ""
    """Blanks before the cursor that are not in the prompt: the model is to say them first. Where it says another thing,
    it is asked again with them in the prompt."""
    opening: str = ""
    """The draft begins with this text, and the model goes on from it."""
    opening_tokens: tuple[Token, ...] = ()


async def write(engine: Engine, order: Order) -> Draft:
    """A draft: what was generated, and where to cut it."""
    draft = Draft(raw=order.opening, tokens=list(order.opening_tokens), asked=order.reason)
    openings: tuple[str, ...] = ()
    for _ in range(_MOST_VETOES):
        try:
            veto = await _read(engine, order, draft, openings)
        except RequestError:  # of an engine that knows no grammars, or cannot go on with one
            if openings:
                break
            if order.grammar is None:
                raise
            return await write(engine, replace(order, grammar=None, forced="", reason=""))
        if veto is None:
            draft.given = len(order.forced) if draft.raw.startswith(order.forced) else 0
            return draft
        draft.vetoes.append(veto.reason)
        draft.take_back(veto.at)
        openings = veto.openings
        if not openings:
            break
    draft.cut = _before_doubt(draft.raw)
    return draft


def _before_doubt(text: str) -> Cut:
    """What is sound of a text whose end can only go on wrong: its whole lines."""
    return Cut(max(0, text.rfind("\n")), "veto")


async def _read(engine: Engine, order: Order, draft: Draft, openings: tuple[str, ...]) -> Veto | None:
    """Let the draft grow until it ends (None) or a guard objects."""
    guard: StoppingGuard | None = None
    heals = bool(order.lead) and not (draft.raw or openings or order.grammar)
    awaited: str | None = order.lead if heals else ""
    prompt = continued(order.prompt, "" if heals else order.lead + draft.raw)
    request = replace(order.request, prompt=prompt, sampling=_sampling(order, draft, openings))
    before = (draft.usage, draft.timings)
    try:
        async with (
            asyncio.timeout_at(_loop_time(order.deadline_s)),
            aclosing(engine.generate(request)) as stream,  # type: ignore[type-var]
        ):
            async for chunk in stream:
                if awaited:
                    text, left = _led(chunk.text, awaited)
                    chunk = _shortened(chunk, text, lead=awaited)
                    awaited = left
                    if awaited is None:
                        break
                _take(draft, chunk, *before)
                began_s = time.perf_counter()
                guard = guard or order.guard()  # made while the engine is at work
                final = chunk.finish_reason is not None
                cut = guard.finish(draft.raw, chunk.finish_reason.value) if chunk.finish_reason else None
                cut = cut or guard.check(draft.raw)
                veto = None
                if order.judge is not None:
                    seen = draft.raw if cut is None else draft.raw[: cut.length]
                    veto = await order.judge(seen, final or cut is not None)
                draft.guard_ms += (time.perf_counter() - began_s) * 1000
                if veto is not None:
                    return veto
                if cut is not None:
                    draft.cut = cut
                    return None
        if awaited is None:
            return await _read(engine, replace(order, prompt=continued(order.prompt, order.lead), lead=""), draft, ())
    except TimeoutError:
        draft.cut = (guard or order.guard()).finish(draft.raw, "time")
    return None


def _led(text: str, awaited: str) -> tuple[str, str | None]:
    """What is left of a text behind the blanks that are awaited, and what is awaited still; None: it is another text.

    Where a line or all ends instead, nothing is to follow the blanks.
    """
    if awaited.startswith(text):
        return "", awaited[len(text) :]
    if text.startswith((awaited, "\n")):
        return text.removeprefix(awaited), ""
    return "", None


def _shortened(chunk: Chunk, text: str, *, lead: str) -> Chunk:
    """A chunk of which `text` is left behind `lead`, with what else might have stood there."""
    if not chunk.logprobs:
        return replace(chunk, text=text)
    first, *others = chunk.logprobs
    top = tuple((rival.removeprefix(lead), logprob) for rival, logprob in first.top if rival.startswith(lead))
    return replace(chunk, text=text, logprobs=(replace(first, top=top), *others))


def _sampling(order: Order, draft: Draft, openings: tuple[str, ...]) -> SamplingParams:
    sampling = order.request.sampling
    left = max(1, sampling.max_tokens - draft.usage.completion_tokens)
    grammar = None if draft.raw else order.grammar
    if openings:
        grammar = Grammar(kind=GrammarKind.REGEX, text=beginning_with(openings))
    return replace(sampling, max_tokens=left, grammar=grammar)


def beginning_with(openings: tuple[str, ...]) -> str:
    """A regular expression for texts that begin with one of these; a word among them ends there."""
    words = "|".join(re.escape(one) for one in openings if one[-1:].isalnum() or one.endswith("_"))
    others = "|".join(re.escape(one) for one in openings if not (one[-1:].isalnum() or one.endswith("_")))
    parts = [f"(?:{words})([^A-Za-z0-9_](?s:.)*)?"] if words else []
    parts += [f"(?:{others})(?s:.)*"] if others else []
    return "|".join(f"(?:{part})" for part in parts)


def _loop_time(deadline_s: float | None) -> float | None:
    """A moment of `time.perf_counter` by the event loop's clock."""
    if deadline_s is None:
        return None
    return asyncio.get_running_loop().time() + deadline_s - time.perf_counter()


def _take(draft: Draft, chunk: Chunk, usage: Usage, timings: EngineTimings) -> None:
    """Add a chunk; `usage` and `timings` are what earlier questions for the same draft cost."""
    start = len(draft.raw)
    draft.raw += chunk.text
    draft.tokens += _tokens(chunk, start)
    if chunk.usage is not None:
        said = usage.completion_tokens + chunk.usage.completion_tokens
        draft.usage = replace(usage if usage.prompt_tokens else chunk.usage, completion_tokens=said)
    if chunk.timings is not None:
        draft.timings = EngineTimings(
            queue_ms=timings.queue_ms + chunk.timings.queue_ms,
            prefill_ms=timings.prefill_ms + chunk.timings.prefill_ms,
            decode_ms=timings.decode_ms + chunk.timings.decode_ms,
        )


def _tokens(chunk: Chunk, start: int) -> list[Token]:
    """A chunk's tokens, given where the chunk starts.

    Counted from the chunk's end: text that was held back before belongs to tokens of earlier chunks.
    """
    end = start + len(chunk.text)
    tokens = []
    for token in reversed(chunk.logprobs):
        tokens.append(Token(end, token.logprob, token.top))
        end = max(start, end - len(token.text))
    return tokens[::-1]

"""The completer: a keystroke's way from a cursor to suggestions, over any engine.

`prompt → engine → stopping → polish`, with suggestions that still hold answered before any of it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from math import exp
from typing import TYPE_CHECKING

from completion.api import (
    CompletionRequest,
    CompletionTimings,
    Explanation,
    Level,
    StatusListener,
    Suggestion,
    Trigger,
)
from completion.context.redact import prints_secret
from completion.language import Language, detect
from completion.pending import PendingSuggestions
from completion.polish import polish
from completion.prompt import BuiltPrompt, build_prompt, takes_snippets
from completion.settings import CompletionSettings
from completion.stopping import Cut, Site, StoppingGuard, choose_shape, survey
from model.api import Chunk, Engine, EngineTimings, GenerateRequest, ModelInfo, SamplingParams, Usage
from model.errors import UsageError
from model.status import EngineState, EngineStatus

if TYPE_CHECKING:
    from completion.context.retriever import Snippet
    from completion.context.workspace import Workspace

logger = logging.getLogger(__name__)

_LEAST_CONFIDENCE = {Level.QUIET: 0.5, Level.BALANCED: 0.2, Level.EAGER: 0.0}
_UNTOLD_CONFIDENCE = 0.5
"""Of an engine that tells no probabilities: what it says is shown at every level."""
_ALTERNATIVES = 3
_REMEMBERED_ATTEMPTS = 64
_ALTERNATIVE_TEMPERATURE = 0.7
_NO_USAGE = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)


@dataclass(slots=True)
class _Draft:
    """What came out of the engine for one attempt, as it grows."""

    raw: str = ""
    cut: Cut = field(default_factory=lambda: Cut(0, "eos"))
    token_ends: list[tuple[int, float]] = field(default_factory=list)
    """For each generated token: length of the text up to its end, and its log-probability."""
    usage: Usage = _NO_USAGE
    timings: EngineTimings = field(default_factory=EngineTimings)

    @property
    def kept(self) -> str:
        return self.raw[: self.cut.length]

    def confidence(self, length: int) -> float:
        """Geometric mean of the probabilities of the tokens that make up the first `length` characters."""
        if not self.token_ends:
            return _UNTOLD_CONFIDENCE if length else 0.0
        start = 0
        logprobs = []
        for end, logprob in self.token_ends:
            if start < length:
                logprobs.append(logprob)
            start = end
        return exp(sum(logprobs) / len(logprobs)) if logprobs else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    """Everything about a request that is settled before the engine is asked."""

    request: CompletionRequest
    text: str
    offset: int
    site: Site
    language: Language
    level: Level
    prompt: BuiltPrompt
    model: ModelInfo
    started_s: float
    context_ms: float
    prompt_ms: float


class EngineCompleter:
    """`completion.api.Completer` over any `model.api.Engine`."""

    def __init__(
        self, engine: Engine, settings: CompletionSettings | None = None, context: Workspace | None = None
    ) -> None:
        """`context`: what knows the other files of the workspace; None: prompts show the file at the cursor alone."""
        self._engine = engine
        self._context = context
        self._settings = settings or CompletionSettings()
        self._level = self._settings.level
        self._pending = PendingSuggestions()
        self._attempts: OrderedDict[str, Suggestion] = OrderedDict()

    async def complete(self, request: CompletionRequest) -> list[Suggestion]:
        """Suggestions at `request.offset`, best first; empty where nothing is worth showing.

        Raises `UsageError` for an offset outside the text, and the engine's errors.
        """
        suggestions = await self.attempt(request)
        least = 0.0 if request.trigger is Trigger.INVOKED else _LEAST_CONFIDENCE[self._level]
        return [one for one in suggestions if one.text and one.confidence >= least]

    async def attempt(self, request: CompletionRequest) -> list[Suggestion]:
        """As `complete`, with what would not be shown: at least one suggestion, maybe an empty one, explained."""
        suggestions = await self._attempt(request)
        self._attempts[request.path] = suggestions[0]
        self._attempts.move_to_end(request.path)
        while len(self._attempts) > _REMEMBERED_ATTEMPTS:
            self._attempts.popitem(last=False)
        return suggestions

    def last_attempt(self, path: str) -> Suggestion | None:
        """The last suggestion made for a document, shown or not."""
        return self._attempts.get(path)

    async def _attempt(self, request: CompletionRequest) -> list[Suggestion]:
        if not 0 <= request.offset <= len(request.text):
            raise UsageError(
                f"Offset {request.offset} lies outside a text of {len(request.text)} characters.",
                hint="Give a position inside the file.",
            )
        started_s = time.perf_counter()
        held = self._pending.advance(request)
        if held and request.trigger is Trigger.AUTOMATIC and request.selected is None:
            return [_answered_from_memory(held, started_s)]
        situation = await self._prepare(request, started_s)
        if reason := _silent(situation):
            return [_nothing(situation, reason)]
        suggestions: list[Suggestion] = []
        wanted = _ALTERNATIVES if request.trigger is Trigger.INVOKED else 1
        for attempt in range(wanted):
            suggestion = _finish(situation, await self._generate(situation, attempt))
            if all(suggestion.text != other.text for other in suggestions):
                suggestions.append(suggestion)
        if request.selected is None:
            self._pending.remember(request, suggestions[0])
        return suggestions

    async def _prepare(self, request: CompletionRequest, started_s: float) -> _Situation:
        model = await self._engine.info()
        context_s = time.perf_counter()
        text, offset = _with_selected(request)
        snippets = await self._snippets(replace(request, text=text, offset=offset), model)
        prompt_s = time.perf_counter()
        language = detect(language_id=request.language_id, path=request.path, text=text)
        prompt = build_prompt(
            text=text,
            offset=offset,
            path=request.path,
            family=model.fim_family,
            budget=self._settings.budget,
            snippets=snippets,
        )
        return _Situation(
            request=request,
            text=text,
            offset=offset,
            site=survey(text, offset),
            language=language,
            level=self._level,
            prompt=prompt,
            model=model,
            started_s=started_s,
            context_ms=(prompt_s - context_s) * 1000,
            prompt_ms=(time.perf_counter() - prompt_s) * 1000,
        )

    async def _snippets(self, request: CompletionRequest, model: ModelInfo) -> Sequence[Snippet]:
        """What to show of other files: nothing where the model cannot read it. A defect costs the context alone."""
        if self._context is None or not takes_snippets(model.fim_family):
            return ()
        from completion.context.rank import LARGE, Budget

        try:
            return await self._context.snippets(request, Budget() if model.fim_family == "tersely" else LARGE)
        except Exception:
            logger.exception("No context, because of a defect")
            return ()

    async def _generate(self, situation: _Situation, attempt: int) -> _Draft:
        """Read the engine's stream until the guard has seen enough; closing the stream stops the engine."""
        shape = choose_shape(situation.site, situation.language, situation.level)
        guard = StoppingGuard(site=situation.site, shape=shape, language=situation.language, level=situation.level)
        caps = [cap for cap in (self._settings.max_tokens, situation.request.max_tokens) if cap is not None]
        sampling = SamplingParams(
            max_tokens=min(caps),
            temperature=_ALTERNATIVE_TEMPERATURE if attempt else 0.0,
            seed=attempt if attempt else None,
            logprobs=0,
        )
        draft = _Draft()
        request = GenerateRequest(
            prompt=situation.prompt.segments, sampling=sampling, request_id=situation.request.request_id
        )
        async with aclosing(self._engine.generate(request)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                _take(draft, chunk)
                cut = guard.finish(draft.raw, chunk.finish_reason.value) if chunk.finish_reason else None
                cut = cut or guard.check(draft.raw)
                if cut:
                    draft.cut = cut
                    break
        return draft

    def document_closed(self, path: str) -> None:
        """Forget the pending suggestions of a document."""
        self._pending.forget(path)
        self._attempts.pop(path, None)

    def set_roots(self, roots: Sequence[str]) -> None:
        """The workspace's roots, as absolute paths."""
        if self._context is not None:
            self._context.set_roots(roots)

    def file_changed(self, path: str, root: str | None, text: str, language_id: str | None) -> None:
        """A buffer was opened or changed."""
        if self._context is not None:
            self._context.document_changed(root, path, text, language_id)

    def file_saved(self, path: str, root: str | None) -> None:
        """A buffer was written to disk."""
        if self._context is not None:
            self._context.document_saved(root, path)

    def file_closed(self, path: str, root: str | None) -> None:
        """A buffer was closed."""
        if self._context is not None:
            self._context.document_closed(root, path)

    def set_level(self, level: Level) -> None:
        """Turn the dial; holds from the next request on."""
        self._level = level

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        """An engine that manages itself reports; any other is simply ready."""
        subscribe = getattr(self._engine, "on_status", None)
        if subscribe is None:
            listener(EngineStatus(state=EngineState.READY))
            return lambda: None
        unsubscribe: Callable[[], None] = subscribe(listener)
        return unsubscribe

    def warm_up(self) -> None:
        """Start the engine in the background, where that is ours to do."""
        start = getattr(self._engine, "warm_up", None)
        if start is not None:
            start()

    async def aclose(self) -> None:
        """Release the engine's connections, and end what follows the workspace."""
        if self._context is not None:
            await self._context.aclose()
        await self._engine.aclose()


def _with_selected(request: CompletionRequest) -> tuple[str, int]:
    """The text as it will be once the selected menu item is in, and the cursor behind that item."""
    item = request.selected
    if item is None:
        return request.text, request.offset
    return request.text[: item.start] + item.text + request.text[item.end :], item.start + len(item.text)


def _silent(situation: _Situation) -> str:
    """Why nothing should be asked at all; empty: ask."""
    if situation.request.trigger is Trigger.INVOKED:
        return ""
    following = situation.site.rest_of_line[:1]
    if following.isalnum() or following == "_":
        return "the cursor stands inside a word"
    return ""


def _take(draft: _Draft, chunk: Chunk) -> None:
    start = len(draft.raw)
    draft.raw += chunk.text
    draft.token_ends += _token_ends(chunk, start)
    draft.usage = chunk.usage or draft.usage
    draft.timings = chunk.timings or draft.timings


def _token_ends(chunk: Chunk, start: int) -> list[tuple[int, float]]:
    """Where each token of a chunk ends, given where the chunk starts, and its log-probability.

    Counted from the chunk's end: text that was held back before belongs to tokens of earlier chunks.
    """
    end = start + len(chunk.text)
    ends = []
    for token in reversed(chunk.logprobs):
        ends.append((end, token.logprob))
        end = max(start, end - len(token.text))
    return ends[::-1]


def _finish(situation: _Situation, draft: _Draft) -> Suggestion:
    text, notes = polish(draft.kept, situation.site, situation.language)
    if text and prints_secret(text):
        text, notes = "", (*notes, "dropped: it has the shape of a secret")
    confidence = draft.confidence(len(text))
    if len(draft.kept) < len(draft.raw):
        notes = (f"stopped: {draft.cut.reason}", *notes)
    request = situation.request
    start, end = request.offset, request.offset
    if request.selected is not None:
        start, end = request.selected.start, request.selected.end
        text = request.selected.text + text if text else ""
    return Suggestion(
        text=_line_ends_like(text, situation.text),
        start=start,
        end=end,
        stop_reason=draft.cut.reason,
        confidence=round(confidence, 4),
        model=situation.model.name,
        usage=draft.usage,
        timings=_timings(situation, draft.timings),
        explanation=Explanation(
            context=situation.prompt.uses, prompt=situation.prompt.text, raw=draft.raw, filters=notes
        ),
        suggestion_id=uuid.uuid4().hex,
    )


def _nothing(situation: _Situation, reason: str) -> Suggestion:
    request = situation.request
    return Suggestion(
        text="",
        start=request.offset,
        end=request.offset,
        stop_reason="silent",
        confidence=0.0,
        model=situation.model.name,
        usage=_NO_USAGE,
        timings=_timings(situation, EngineTimings()),
        explanation=Explanation(context=situation.prompt.uses, filters=(f"not asked: {reason}",)),
    )


def _timings(situation: _Situation, engine: EngineTimings) -> CompletionTimings:
    total_ms = (time.perf_counter() - situation.started_s) * 1000
    return CompletionTimings(
        context_ms=situation.context_ms, prompt_ms=situation.prompt_ms, engine=engine, total_ms=total_ms
    )


def _answered_from_memory(held: Suggestion, started_s: float) -> Suggestion:
    return replace(
        held,
        usage=_NO_USAGE,
        timings=CompletionTimings(total_ms=(time.perf_counter() - started_s) * 1000),
        explanation=replace(held.explanation, filters=("answered: the user typed along the suggestion",)),
    )


def _line_ends_like(text: str, document: str) -> str:
    """The suggestion with the document's own line ends."""
    return text.replace("\n", "\r\n") if "\r\n" in document else text

"""The completer: a keystroke's way from a cursor to suggestions, over any engine.

`prompt → engine → stopping → polish → confidence`, with suggestions that still hold answered before any of it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from completion import confidence
from completion.ahead import LookAhead
from completion.alternatives import branches
from completion.api import (
    Candidate,
    CompletionRequest,
    CompletionTimings,
    Level,
    StatusListener,
    Suggestion,
    Trigger,
)
from completion.brackets import CLOSERS
from completion.burst import Bursts
from completion.cache import SuggestionCache
from completion.finish import finish, nothing
from completion.fitting import line_wanted
from completion.generation import NO_USAGE, Draft, Order, write
from completion.guard import judge_for
from completion.history import History
from completion.language import detect
from completion.pace import PromptPace
from completion.prompt import BuiltPrompt, render_prompt, takes_snippets
from completion.settings import CompletionSettings
from completion.situation import Situation
from completion.stopping import survey
from completion.syntax import Syntax, SyntaxTrees
from model.api import Engine, Feedback, GenerateRequest, Listening, ModelInfo, Priority, SamplingParams
from model.errors import UsageError
from model.status import EngineState, EngineStatus

if TYPE_CHECKING:
    from completion.context.retriever import Snippet
    from completion.context.workspace import Workspace

logger = logging.getLogger(__name__)

_ALTERNATIVES = 3
_RIVALS = 5
_REMEMBERED_ATTEMPTS = 64
_ALTERNATIVE_TEMPERATURE = 0.7
_LARGEST_SCALE = 8.0
_ROOM_TOKENS = 64
"""Left free of a model's context for control tokens."""


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
        self._cache = SuggestionCache()
        self._bursts = Bursts()
        self._trees = SyntaxTrees()
        self._pace = PromptPace()
        self._history = History()
        self._ahead = LookAhead(self._complete_ahead)
        self._attempts: OrderedDict[str, Suggestion] = OrderedDict()

    async def complete(self, request: CompletionRequest) -> list[Suggestion]:
        """Suggestions at `request.offset`, best first; empty where nothing is worth showing.

        Raises `UsageError` for an offset outside the text, and the engine's errors.
        """
        suggestions = await self.attempt(request)
        shown = [one for one in suggestions if self.shows(one, request.trigger)]
        if shown and request.trigger is Trigger.AUTOMATIC and request.selected is None and self._settings.look_ahead:
            self._ahead.start(request, shown[0])
        return shown

    def shows(self, suggestion: Suggestion, trigger: Trigger = Trigger.AUTOMATIC) -> bool:
        """Is it worth showing? What was asked for by hand needs no confidence."""
        least = 0.0 if trigger is Trigger.INVOKED else confidence.shipped().thresholds[self._level]
        return bool(suggestion.text) and suggestion.confidence >= least

    async def attempt(self, request: CompletionRequest) -> list[Suggestion]:
        """As `complete`, with what would not be shown: at least one suggestion, maybe an empty one, explained."""
        if not 0 <= request.offset <= len(request.text):
            raise UsageError(
                f"Offset {request.offset} lies outside a text of {len(request.text)} characters.",
                hint="Give a position inside the file.",
            )
        started_s = time.perf_counter()
        await self._ahead.give_way(request)
        held = self._cache.advance(request)
        if held and request.trigger is Trigger.AUTOMATIC and request.selected is None:
            suggestions = [_answered_from_memory(held, started_s)]
        else:
            suggestions = await self._ask(request, started_s)
        self._attempts[request.path] = suggestions[0]
        self._attempts.move_to_end(request.path)
        while len(self._attempts) > _REMEMBERED_ATTEMPTS:
            self._attempts.popitem(last=False)
        return suggestions

    def last_attempt(self, path: str) -> Suggestion | None:
        """The last suggestion made for a document, shown or not."""
        return self._attempts.get(path)

    async def _ask(
        self, request: CompletionRequest, started_s: float, priority: Priority = Priority.INTERACTIVE
    ) -> list[Suggestion]:
        situation = await self._prepare(request, started_s, supposed=priority is Priority.BATCH)
        if reason := _silent(situation):
            return [nothing(situation, reason)]
        order = self._order(situation, priority)
        drafts = [await write(self._engine, order)]
        self._pace.observe(drafts[0].usage, drafts[0].timings)
        if request.trigger is Trigger.INVOKED:
            drafts += await self._others(order, drafts[0])
        shift = self._history.shift(situation.model.name)
        suggestions: list[Suggestion] = []
        for draft in drafts:
            suggestion = finish(situation, draft, shift=shift)
            if all(suggestion.text != other.text for other in suggestions):
                suggestions.append(suggestion)
        suggestions = [_with_candidates(one, suggestions) for one in suggestions]
        if request.selected is None and suggestions[0].stop_reason != "time":
            self._cache.remember(request, suggestions[0])
        return suggestions

    def _order(self, situation: Situation, priority: Priority) -> Order:
        invoked = situation.request.trigger is Trigger.INVOKED
        caps = [cap for cap in (self._settings.max_tokens, situation.request.max_tokens) if cap is not None]
        sampling = SamplingParams(max_tokens=min(caps), logprobs=_RIVALS if invoked else 0)
        limit_ms = None if invoked or priority is Priority.BATCH else self._settings.time_limit_ms
        wanted = line_wanted(situation)
        return Order(
            prompt=situation.prompt.segments,
            lead=situation.prompt.lead,
            request=GenerateRequest(
                prompt=situation.prompt.segments,
                sampling=sampling,
                priority=priority,
                request_id=situation.request.request_id,
            ),
            guard=situation.guard,
            judge=judge_for(situation, self._context) if self._settings.veto else None,
            grammar=wanted.grammar if wanted else None,
            reason=wanted.reason if wanted else "",
            forced=wanted.forced if wanted else "",
            deadline_s=None if limit_ms is None else time.perf_counter() + limit_ms / 1000,
        )

    async def _others(self, order: Order, first: Draft) -> list[Draft]:
        """Alternatives to a draft: distinct by construction where the engine tells rivals, else by chance."""
        wanted = _ALTERNATIVES - 1
        if found := branches(first, count=wanted):
            openings = [replace(order, opening=one.text, opening_tokens=one.tokens) for one in found]
            return [await write(self._engine, one) for one in openings]
        drafts = []
        for seed in range(1, wanted + 1):
            sampling = replace(order.request.sampling, temperature=_ALTERNATIVE_TEMPERATURE, seed=seed)
            drafts.append(await write(self._engine, replace(order, request=replace(order.request, sampling=sampling))))
        return drafts

    async def _prepare(self, request: CompletionRequest, started_s: float, *, supposed: bool) -> Situation:
        """`supposed`: the state is one that the document may come to, and leaves no trace."""
        model = await self._engine.info()
        context_s = time.perf_counter()
        text, offset = _with_selected(request)
        snippets = await self._snippets(replace(request, text=text, offset=offset), model)
        prompt_s = time.perf_counter()
        language = detect(language_id=request.language_id, path=request.path, text=text)
        prompt = await self._prompt(replace(request, text=text, offset=offset), snippets, model, remember=not supposed)
        level, trees = self._level, self._trees

        @cache
        def syntax() -> Syntax | None:
            return trees.at(path=request.path, language_id=language.id, text=text, offset=offset)

        return Situation(
            request=request,
            text=text,
            offset=offset,
            site=survey(text, offset),
            language=language,
            level=level,
            prompt=prompt,
            model=model,
            syntax=syntax,
            started_s=started_s,
            context_ms=(prompt_s - context_s) * 1000,
            prompt_ms=(time.perf_counter() - prompt_s) * 1000,
        )

    async def _prompt(
        self, request: CompletionRequest, snippets: Sequence[Snippet], model: ModelInfo, *, remember: bool
    ) -> BuiltPrompt:
        """The prompt, made smaller until the model's context holds it and an answer."""
        # The embedded model was trained on windows of the base size, and gains nothing from larger ones.
        most = 1.0 if model.fim_family == "tersely" else _LARGEST_SCALE
        budget = self._pace.budget(self._settings.budget, target_ms=self._settings.read_ms, most=most)
        room = max(1, model.context_tokens - self._settings.max_tokens - _ROOM_TOKENS)
        anew = False
        while True:
            layout = self._bursts.lay_out(
                path=request.path,
                text=request.text,
                offset=request.offset,
                budget=budget,
                remember=remember,
                anew=anew,
            )
            prompt = render_prompt(
                layout, text=request.text, path=request.path, family=model.fim_family, snippets=snippets
            )
            texts = tuple(segment.text for segment in prompt.segments if not segment.special)
            # No token is less than a byte, so most prompts need not be counted.
            if sum(len(text.encode("utf-8", "replace")) for text in texts) <= room:
                return prompt
            if sum(await self._engine.count_tokens(texts)) <= room or budget.prefix_characters == 1:
                return prompt
            budget, snippets, anew = budget.scaled(0.5), (), True

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

    async def _complete_ahead(self, request: CompletionRequest) -> None:
        """Make and remember the suggestion of a state that the document may come to."""
        if self._cache.advance(request) is None:
            await self._ask(request, time.perf_counter(), Priority.BATCH)

    def document_closed(self, path: str) -> None:
        """Forget what is held for a document."""
        self._cache.forget(path)
        self._bursts.forget(path)
        self._trees.forget(path)
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

    def files_changed(self, paths: Sequence[str], root: str) -> None:
        """Files or folders of a root changed on disk."""
        if self._context is not None:
            self._context.files_changed(root, paths)

    async def hear(self, feedback: Feedback) -> None:
        """What became of suggestions, for engines that keep count."""
        if isinstance(self._engine, Listening):
            await self._engine.hear(feedback)

    def set_level(self, level: Level) -> None:
        """Turn the dial; holds from the next request on."""
        if level is not self._level:
            self._cache.clear()
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
        self._ahead.stop()
        if self._context is not None:
            await self._context.aclose()
        await self._engine.aclose()


def _with_selected(request: CompletionRequest) -> tuple[str, int]:
    """The text as it will be once the selected menu item is in, and the cursor behind that item."""
    item = request.selected
    if item is None:
        return request.text, request.offset
    return request.text[: item.start] + item.text + request.text[item.end :], item.start + len(item.text)


def _silent(situation: Situation) -> str:
    """Why nothing should be asked at all; empty: ask."""
    if situation.request.trigger is Trigger.INVOKED:
        return ""
    site = situation.site
    following = site.rest_of_line[:1]
    if following.isalnum() or following == "_":
        return "the cursor stands inside a word"
    if site.line.strip():
        return ""
    rest = site.rest_of_line.strip()
    if rest[:1] not in CLOSERS and any(map(str.isalnum, rest)):
        return "the cursor stands before the text of its line"
    syntax = situation.syntax() if site.line else None
    closes = situation.language.blocks == "indent" or site.next_line.strip()[:1] in CLOSERS
    if closes and syntax is not None and syntax.follows_jump():
        return "no statement here could be reached"
    return ""


def _answered_from_memory(held: Suggestion, started_s: float) -> Suggestion:
    return replace(
        held,
        usage=NO_USAGE,
        timings=CompletionTimings(total_ms=(time.perf_counter() - started_s) * 1000),
        explanation=replace(held.explanation, filters=("answered: the user typed along the suggestion",)),
    )


def _with_candidates(suggestion: Suggestion, all_of_them: Sequence[Suggestion]) -> Suggestion:
    found = tuple(Candidate(one.text, one.confidence) for one in all_of_them)
    return replace(suggestion, explanation=replace(suggestion.explanation, candidates=found))

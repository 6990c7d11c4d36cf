"""From a draft to a suggestion: polished, checked for secrets, with its confidence and its story."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from completion import confidence
from completion.api import CompletionTimings, ContextUse, Explanation, Suggestion
from completion.brackets import unclosed
from completion.context.redact import prints_secret
from completion.generation import NO_USAGE, Draft
from completion.polish import polish
from completion.situation import Situation
from model import fim
from model.api import EngineTimings, Usage

_UNTOLD_CONFIDENCE = 0.5
"""Of an engine that tells no probabilities: what it says is shown at every level."""


def finish(situation: Situation, draft: Draft, *, shift: float) -> Suggestion:
    """The suggestion that a draft makes; `shift` moves the log-odds of its confidence."""
    began_s = time.perf_counter()
    syntax = situation.syntax() if draft.kept.strip() else None
    ended = draft.cut.reason == "eos"
    text, notes = polish(draft.kept, situation.site, situation.language, syntax, ended=ended)
    if text and prints_secret(text):
        text, notes = "", (*notes, "dropped: it has the shape of a secret")
    if draft.cut.reason == "loop" and unclosed(text, situation.language.line_comment):
        # Each round opened what none closed: no part of it is what was meant.
        text, notes = "", (*notes, "dropped: it went in circles, and ever deeper")
    found = confidence.Circumstances(
        stop_reason=draft.cut.reason,
        polished=text.split() != draft.kept.split(),
        inside_line=bool(situation.site.rest_of_line.strip()),
        blank_before=not situation.site.line.strip(),
        in_words=syntax is not None and syntax.kind_at() != "code",
        broken=syntax is not None and syntax.broken,
        vetoes=len(draft.vetoes),
        asked=bool(draft.asked),
    )
    signals = confidence.signals(text, draft.logprobs(len(text)), found)
    known = confidence.shipped(situation.model.fim_family)
    sure = known.probability(signals, shift=shift) if draft.tokens else _UNTOLD_CONFIDENCE
    if len(draft.kept) < len(draft.raw):
        notes = (f"stopped: {draft.cut.reason}", *notes)
    if draft.asked:
        notes = (f"asked for one kind of line: {draft.asked}", *notes)
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
        confidence=round(sure, 4) if text else 0.0,
        model=situation.model.name,
        usage=draft.usage,
        timings=_timings(situation, draft, polish_ms=(time.perf_counter() - began_s) * 1000),
        explanation=Explanation(
            context=_accounted(
                situation.prompt.uses, draft.usage, suffix_first=_suffix_first(situation.model.fim_family)
            ),
            prompt=situation.prompt.text,
            raw=draft.raw,
            filters=notes,
            vetoes=tuple(draft.vetoes),
            signals=signals if draft.tokens else {},
        ),
        suggestion_id=uuid.uuid4().hex,
        later=_later(text, draft, found, known, shift=shift, document=situation.text)
        if request.selected is None
        else (),
    )


def _later(
    text: str,
    draft: Draft,
    found: confidence.Circumstances,
    known: confidence.Calibration,
    *,
    shift: float,
    document: str,
) -> tuple[tuple[int, float], ...]:
    """How sure the rest of a text is behind each of its tokens, with the document's line ends counted."""
    logprobs = draft.logprobs(len(text))
    same = next((at for at, (one, other) in enumerate(zip(text, draft.raw, strict=False)) if one != other), len(text))
    sure = {}
    for count, token in enumerate(draft.chosen[: len(logprobs)], 1):
        if token.end <= same and text[token.end :].strip():
            signals = confidence.signals(text[token.end :], logprobs[count:], found)
            typed = len(_line_ends_like(text[: token.end], document))
            sure[typed] = round(known.probability(signals, shift=shift), 4)
    return tuple(sure.items())


def nothing(situation: Situation, reason: str) -> Suggestion:
    """The answer where the engine is not asked."""
    request = situation.request
    return Suggestion(
        text="",
        start=request.offset,
        end=request.offset,
        stop_reason="silent",
        confidence=0.0,
        model=situation.model.name,
        usage=NO_USAGE,
        timings=_timings(situation, Draft(), polish_ms=0.0),
        explanation=Explanation(context=situation.prompt.uses, filters=(f"not asked: {reason}",)),
    )


def _accounted(uses: Sequence[ContextUse], usage: Usage, *, suffix_first: bool) -> tuple[ContextUse, ...]:
    """Each piece of the prompt with its share of the tokens, and whether it lay in the reused part.

    Tokens are told apart by characters, which is near enough for people.
    """
    characters = sum(use.characters for use in uses) or 1
    tokens = {use: usage.prompt_tokens * use.characters / characters for use in uses}
    reached = 0.0
    known: set[ContextUse] = set()
    last = {"prefix": 2, "suffix": 1} if suffix_first else {"prefix": 1, "suffix": 2}
    for use in sorted(uses, key=lambda one: last.get(one.source, 0)):
        reached += tokens[use]
        if reached <= usage.cached_tokens + 1:
            known.add(use)
    return tuple(replace(use, tokens=round(tokens[use]), cached=use in known) for use in uses)


def _timings(situation: Situation, draft: Draft, *, polish_ms: float) -> CompletionTimings:
    engine: EngineTimings = draft.timings
    return CompletionTimings(
        context_ms=situation.context_ms,
        prompt_ms=situation.prompt_ms,
        guard_ms=draft.guard_ms,
        polish_ms=polish_ms,
        engine=engine,
        total_ms=(time.perf_counter() - situation.started_s) * 1000,
    )


def _suffix_first(family: str) -> bool:
    return family in fim.FORMATS and fim.FORMATS[family].suffix_first


def _line_ends_like(text: str, document: str) -> str:
    """The suggestion with the document's own line ends."""
    return text.replace("\n", "\r\n") if "\r\n" in document else text

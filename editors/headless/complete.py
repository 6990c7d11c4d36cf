"""`tersely complete`: one completion at one place, for people and for programs."""

from __future__ import annotations

from typing import Any

from completion.api import CompletionRequest, Suggestion, Trigger
from completion.explain import describe
from completion.service import EngineCompleter
from editors.headless.target import Target, place_of


async def complete_at(completer: EngineCompleter, target: Target) -> Suggestion:
    """The best suggestion at a target, shown or not: `text` is empty where nothing would be offered."""
    request = CompletionRequest(
        text=target.text,
        offset=target.offset,
        path=target.path,
        root=target.root,
        trigger=Trigger.AUTOMATIC,
    )
    return (await completer.attempt(request))[0]


def as_json(suggestion: Suggestion, target: Target, *, explain: bool = False) -> dict[str, Any]:
    """`completion.explain.describe` with the range: places are 1-based, columns in characters."""
    place = {"start": _place(target.text, suggestion.start), "end": _place(target.text, suggestion.end)}
    told = describe(suggestion, explain=explain)
    return {"text": told.pop("text"), "range": place} | told


def _place(text: str, offset: int) -> dict[str, int]:
    line, column = place_of(text, offset)
    return {"line": line, "column": column}

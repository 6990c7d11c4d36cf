"""The choices that an answer consists of (its tool, each argument), and how likely the model held each of them.

Where the model was not sure, another choice may lead to a likelier answer: it is barred, and the model asked again.
Asks nobody, and knows no wish.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from completion.refactor.allowed import Barred, Presence
from completion.refactor.calls import AddDocstring, AnyCall, Call, ChangeKind, ChangeSignature, Rewrite, Search
from completion.refactor.schema import arguments_of, name_of
from model.api import TokenLogprob

_WORDED = frozenset({"pattern", "text", "instruction", "old", "new", "reason"})
"""Arguments that are pieces of text: there is always another piece, and hardly ever a better one."""
_OPTIONAL: dict[type[Call], str] = {Rewrite: "path", AddDocstring: "text", Search: "path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice, with the probability of all that stands before it, and of it alone after that."""

    barred: Barred
    before: float
    own: float


def choices(calls: Sequence[AnyCall], tokens: Sequence[TokenLogprob]) -> list[Choice]:
    """The choices of these calls, which the tokens spell; none where they spell them in another way than `layout`."""
    spelled = list(_spelled(calls))
    if "".join(text for text, _ in spelled) != "".join(token.text for token in tokens).strip():
        return []
    at, chances = 0, list[tuple[int, float]]()
    for token in tokens:
        chances.append((at, token.logprob))
        at += len(token.text)
    found, end = list[Choice](), 0
    for text, barred in spelled:
        start, end = end, end + len(text)
        if barred is None or (barred.field in _WORDED and not isinstance(barred.value, Presence)):
            continue
        # Whether an argument follows shows where the one before ends: at its closing quote.
        begin = start - 1 if isinstance(barred.value, Presence) else start
        before = sum(logprob for place, logprob in chances if place < begin)
        own = sum(logprob for place, logprob in chances if begin <= place < end)
        found.append(Choice(barred=barred, before=_share(before), own=_share(own)))
    return found


def _share(logprob: float) -> float:
    return math.exp(min(0.0, logprob))


def _spelled(calls: Sequence[AnyCall]) -> Iterator[tuple[str, Barred | None]]:
    """The text that `layout.write` makes of the calls, in pieces, with what to bar where a piece is a choice."""
    for number, call in enumerate(calls):
        tool, arguments = type(call), arguments_of(call)
        yield ("\n" if number else "") + name_of(call), None if number else Barred(tool)
        yield " ", None
        if isinstance(call, ChangeSignature):
            yield "{", None
            yield from _pair("symbol", arguments["symbol"], tool)
            yield ',"changes":[', None
            for place, change in enumerate(arguments["changes"]):
                yield "," if place else "", None
                yield from _object(change, tool, "position" if change["change"] == ChangeKind.ADD else "")
            yield "]}", None
        else:
            yield from _object(arguments, tool, _OPTIONAL.get(tool, ""))


def _object(values: Mapping[str, Any], tool: type[Call], optional: str) -> Iterator[tuple[str, Barred | None]]:
    for number, (key, value) in enumerate(values.items()):
        yield "," if number else "{", Barred(tool, key, Presence.GIVEN) if key == optional else None
        yield from _pair(key, value, tool)
    yield "}", Barred(tool, optional, Presence.LEFT_OUT) if optional and optional not in values else None


def _pair(key: str, value: str | int, tool: type[Call]) -> Iterator[tuple[str, Barred | None]]:
    yield f'"{key}":', None
    yield json.dumps(value, ensure_ascii=False), Barred(tool, key, value)

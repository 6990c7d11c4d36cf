"""What the text around a cursor says: the word being typed, its receiver, the names in use nearby and in the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from completion.context.facts import Definition, Facts
from completion.context.words import names, parts

NEAR_LINES_BEFORE = 12
NEAR_LINES_AFTER = 6
_READ_LINES = 1000
_BELOW = 100
_TYPED = re.compile(r"[A-Za-z_$][\w$]*$")
_RECEIVER = re.compile(r"((?:[A-Za-z_$][\w$]*(?:\([^()]*\))?\s*(?:\.|->|::)\s*)+)$")
_SEPARATOR = re.compile(r"\s*(?:\.|->|::)\s*")
_IMPORTS = re.compile(
    r"^[ \t]*(?:from\s[^\n]*\bimport\s*\([^)]*\)|import\s*(?:type\s*)?(?:\w+\s*,\s*)?\{[^}]*\}\s*from[^\n]*"
    r"|use\s[^;{]*(?:\{[^;]*)?;|import\s*\([^)]*\)|(?:import|from|using|#include|require\w*)\b[^\n]*"
    r"|__all__\s*=\s*[\[(][^\])]*[\])])",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A cursor's surroundings. Lines count from 1."""

    path: str
    language: str
    line: int
    typed: str
    """The part of an identifier that stands before the cursor."""
    receiver: tuple[str, ...]
    """`a.b.` before the cursor as (a, b)."""
    line_before: str
    uses: Counter[str]
    """How often each name stands in the file, imports left out."""
    near: Counter[str]
    """The same for the lines around the cursor."""
    near_words: Counter[str]
    """Parts of those names, those of closer lines weighing more."""
    beside_words: frozenset[str]
    """Parts of the names on the lines right before and behind."""
    distance: Mapping[str, int]
    """For each name, how many lines above the cursor it was last used (below it: as many, and a hundred)."""
    echoes: Mapping[str, float]
    """Names on lines of this file whose neighbours look like the cursor's neighbours, and how much they do, 0 … 2."""
    in_brackets: bool
    """Does the line before leave a bracket open?"""
    enclosing: tuple[Definition, ...]
    """The definitions around the cursor, the innermost last."""


def receiver_at(text: str, offset: int) -> tuple[str, ...]:
    """The names before the dot that stands before the cursor's word; empty where there is none."""
    line_before = text[text.rfind("\n", 0, offset) + 1 : offset]
    received = _RECEIVER.search(_TYPED.sub("", line_before))
    return tuple(part.partition("(")[0] for part in _SEPARATOR.split(received[1]) if part) if received else ()


def look_around(*, text: str, offset: int, path: str, language: str, facts: Facts) -> Surroundings:
    """Read the surroundings of `offset` in `text`, whose facts may be a little older than the text."""
    lines = text.split("\n")
    row = text.count("\n", 0, offset)
    line_before = text[text.rfind("\n", 0, offset) + 1 : offset]
    typed = _TYPED.search(line_before)
    start, end = max(0, row - NEAR_LINES_BEFORE), row + 1 + NEAR_LINES_AFTER
    near_words: Counter[str] = Counter()
    for number in range(start, min(end, len(lines))):
        weight = max(1, 4 - abs(number - row) // 2)
        for word in parts(lines[number]):
            near_words[word] += weight
    outside = _IMPORTS.sub(lambda match: "\n" * match[0].count("\n"), text)
    plain = outside.split("\n")
    near = "\n".join(plain[start:end])
    before, behind = _neighbour(plain, row, -1), _neighbour(plain, row, 1)
    distance, echoes = _read(plain, row, before, behind)
    holders = [one for one in facts.definitions if one.first_line <= row + 1 <= one.last_line]
    return Surroundings(
        path=path,
        language=language,
        line=row + 1,
        typed=typed[0] if typed else "",
        receiver=receiver_at(text, offset),
        line_before=line_before,
        uses=Counter(names(outside)),
        near=Counter(names(near)),
        near_words=near_words,
        beside_words=frozenset(parts(before + "\n" + behind)),
        distance=distance,
        echoes=echoes,
        in_brackets=before.rstrip().endswith(("(", "[", "{", ",")),
        enclosing=tuple(one for one in holders if one.kind in ("class", "function", "method", "module")),
    )


def _neighbour(lines: list[str], row: int, step: int) -> str:
    """The nearest line that is not blank, before or behind; empty where there is none nearby."""
    for number in range(row + step, row + 5 * step, step):
        if 0 <= number < len(lines) and lines[number].strip():
            return lines[number]
    return ""


def _read(lines: list[str], row: int, before: str, behind: str) -> tuple[dict[str, int], dict[str, float]]:
    """Distances and echoes of all names, in one pass over the lines (of a very long file, those not far away)."""
    start = max(0, row - _READ_LINES)
    sets = dict(enumerate(map(_names_of, lines[start : row + _READ_LINES]), start))
    distance: dict[str, int] = {}
    echoes: dict[str, float] = {}
    wanted_before, wanted_behind = frozenset(names(before)), frozenset(names(behind))
    filled = [number for number in sets if number != row and lines[number].strip()]
    for index, number in enumerate(filled):
        here = sets[number]
        away = row - number if number < row else number - row + _BELOW
        above = sets[filled[index - 1]] if index else frozenset()
        below = sets[filled[index + 1]] if index + 1 < len(filled) else frozenset()
        alike = _jaccard(above, wanted_before) + _jaccard(below, wanted_behind)
        for name in here:
            if away < distance.get(name, away + 1):
                distance[name] = away
            if alike > echoes.get(name, 0.3):
                echoes[name] = alike
    return distance, echoes


@lru_cache(maxsize=8192)
def _names_of(line: str) -> frozenset[str]:
    """Lines stay the same from key to key."""
    return frozenset(names(line))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0

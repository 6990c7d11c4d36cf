"""What the text around a cursor says: the word being typed, its receiver, the names in use nearby and in the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from completion.context.facts import Definition, Facts
from completion.context.slots import Slot, in_header, indentation, opened, slot
from completion.context.words import mentions, names, parts

NEAR_LINES_BEFORE = 12
NEAR_LINES_AFTER = 6
_READ_LINES = 700
_KNOWN_LINES = 12_000
"""About 1 kB each."""
_BELOW = 100
_WANTED_LINES = 8
_LEAST_ECHO = 0.3
_TYPED = re.compile(r"[A-Za-z_$][\w$]*$")
_RECEIVER = re.compile(r"((?:[A-Za-z_$][\w$]*(?:\([^()]*\))?\s*(?:\.|->|::)\s*)+)$")
_SEPARATOR = re.compile(r"\s*(?:\.|->|::)\s*")
_IMPORTS = re.compile(
    r"^[ \t]*(?:from\s[^\n]*\bimport\s*\([^)]*\)|import\s*(?:type\s*)?(?:\w+\s*,\s*)?\{[^}]*\}\s*from[^\n]*"
    r"|use\s[^;{]*(?:\{[^;]*)?;|import\s*\([^)]*\)|(?:import|from|using|#include|require\w*)\b[^\n]*"
    r"|__all__\s*=\s*[\[(][^\])]*[\])])",
    re.MULTILINE,
)
_BOUND = re.compile(
    r"(?:^|[,(\s*&])([A-Za-z_]\w*)\s*(?::[^=,()]+|:)?=(?![=>])|\bfor\s+([^:;]+?)\s+(?:in|of)\b|\bas\s+(\w+)"
    r"|\b(?:const|let|var|val)\s+(?:mut\s+)?(\w+)"
)
_MAY_BIND = re.compile(r"=|\b(?:for|as|def|fn|func|function|lambda|const|let|var|val)\b")
_ANNOTATED = re.compile(r"(?:->|\w\s?:)\s*[\"']?(?:Optional\[|list\[)?([A-Za-z_]\w*)")
_PARAMETERS = re.compile(r"\b(def|fn|func|function|lambda)\b[^(:]*[(\s]([^)]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A cursor's surroundings. Lines count from 1. Names are `completion.context.words.mentions`."""

    path: str
    language: str
    line: int
    typed: str
    """The part of an identifier that stands before the cursor."""
    receiver: tuple[str, ...]
    """`a.b.` before the cursor as (a, b)."""
    line_before: str
    beside: tuple[str, str]
    """The nearest lines before and behind that are not blank."""
    uses: Counter[str]
    """How often each name stands in the file, imports left out."""
    near: Counter[str]
    """The same for the lines around the cursor."""
    near_words: Counter[str]
    """Parts of those names, those of closer lines weighing more."""
    beside_words: frozenset[str]
    """Parts of the names on the lines right before and behind."""
    wanted_words: frozenset[str]
    """Parts of names that the lines behind read, and no line of the definition before gives."""
    distance: Mapping[str, int]
    """For each name, how many lines above the cursor it was last used (below it: as many, and a hundred)."""
    echoes: Mapping[str, float]
    """Names on lines of this file whose neighbours look like the cursor's neighbours, and how much they do, 0 … 2."""
    slot: Slot
    """What kind of place the cursor's line is."""
    slots: Counter[str]
    """How often each name stands on lines in a place of the same kind."""
    annotated: Counter[str]
    """How often each name stands for a type."""
    decorators: frozenset[str]
    """Names that stand behind an `@`."""
    in_header: bool
    """Is the cursor among a function's parameters?"""
    bound: frozenset[str]
    """Names that this file gives a value."""
    enclosing: tuple[Definition, ...]
    """The definitions around the cursor, the innermost last."""


def read_ahead(text: str) -> None:
    """Read a text's lines before anybody asks: a first question then costs as little as later ones."""
    for line in text.split("\n")[: _KNOWN_LINES // 4]:
        _known(line)


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
    # Of a very long file, only what is not far away is read: the rest says little, and takes long.
    top = max(0, row - _READ_LINES)
    read = text if len(lines) <= _READ_LINES else "\n".join(lines[top : row + _READ_LINES])
    plain = [""] * top + _IMPORTS.sub(lambda match: "\n" * match[0].count("\n"), read).split("\n")
    before, behind = _neighbour(plain, row, -1), _neighbour(plain, row, 1)
    column = indentation(lines[row]) if lines[row].strip() else len(line_before.expandtabs(4))
    own = slot(column, before, behind)
    known_lines = [_known(line) for line in plain]
    reading = _read(plain, known_lines, row, before, behind, own)
    holders = [one for one in facts.definitions if one.first_line <= row + 1 <= one.last_line]
    enclosing = [one for one in holders if one.kind in ("class", "function", "method", "module")]
    known = {one.name for one in enclosing}
    enclosing += [one for one in opened(lines, row, column) if one.name not in known]
    return Surroundings(
        path=path,
        language=language,
        line=row + 1,
        typed=typed[0] if typed else "",
        receiver=receiver_at(text, offset),
        line_before=line_before,
        beside=(before, behind),
        uses=Counter(chain.from_iterable(line.mentions for line in known_lines)),
        near=Counter(chain.from_iterable(line.mentions for line in known_lines[start:end])),
        near_words=near_words,
        beside_words=frozenset(parts(before + "\n" + behind)),
        wanted_words=_wanted(plain, row, enclosing),
        distance=reading.distance,
        echoes=reading.echoes,
        slot=own,
        slots=reading.slots,
        annotated=Counter(chain.from_iterable(line.annotated for line in known_lines)),
        decorators=frozenset(line.decorator for line in known_lines if line.decorator is not None),
        in_header=in_header(lines, row),
        bound=frozenset(chain.from_iterable(line.bound for line in known_lines)),
        enclosing=tuple(enclosing),
    )


def _neighbour(lines: Sequence[str], row: int, step: int) -> str:
    """The nearest line that is not blank, before or behind; empty where there is none nearby."""
    for number in range(row + step, row + 5 * step, step):
        if 0 <= number < len(lines) and lines[number].strip():
            return lines[number]
    return ""


@dataclass(frozen=True, slots=True)
class _Reading:
    distance: dict[str, int]
    echoes: dict[str, float]
    slots: Counter[str]


def _read(
    lines: Sequence[str], known_lines: Sequence[_Line], row: int, before: str, behind: str, own: Slot
) -> _Reading:
    """What the other lines say of names, in one pass."""
    filled = [number for number, line in enumerate(known_lines) if number != row and line is not _EMPTY]
    distance: dict[str, int] = {}
    echoes: dict[str, float] = {}
    slots: Counter[str] = Counter()
    wanted_before, wanted_behind = frozenset(names(before)), frozenset(names(behind))
    known = [known_lines[number] for number in filled]
    columns = [line.column for line in known]
    nothing, last = frozenset[str](), len(filled) - 1
    for index, number in enumerate(filled):
        here = known[index].mentions
        if not here:
            continue
        away = row - number if number < row else number - row + _BELOW
        above = known[index - 1].names if index else nothing
        below = known[index + 1].names if index < last else nothing
        alike = _jaccard(above, wanted_before) + _jaccard(below, wanted_behind)
        deeper = columns[index + 1] - columns[index] if index < last else -1
        same = (deeper > 0) - (deeper < 0) == own.behind and min(columns[index] // 4, 3) == own.depth
        if same:
            next_line = lines[filled[index + 1]] if index < last else ""
            same = slot(columns[index], lines[filled[index - 1]] if index else "", next_line) == own
        for name in here:
            if away < distance.get(name, away + 1):
                distance[name] = away
            if alike > echoes.get(name, _LEAST_ECHO):
                echoes[name] = alike
            if same:
                slots[name] += 1
    return _Reading(distance, echoes, slots)


def echoes_of(site: Surroundings, lines: Sequence[str]) -> dict[str, float]:
    """As `Surroundings.echoes`, from the lines of another file; names without what they are reached through."""
    wanted_before, wanted_behind = frozenset(names(site.beside[0])), frozenset(names(site.beside[1]))
    filled = [_known(line) for line in lines if line.strip()]
    nothing, last = frozenset[str](), len(filled) - 1
    echoes: dict[str, float] = {}
    for index, line in enumerate(filled):
        above = filled[index - 1].names if index else nothing
        below = filled[index + 1].names if index < last else nothing
        alike = _jaccard(above, wanted_before) + _jaccard(below, wanted_behind)
        if alike > _LEAST_ECHO:
            for name in line.names:
                echoes[name] = max(alike, echoes.get(name, 0.0))
    return echoes


def _wanted(lines: Sequence[str], row: int, enclosing: Sequence[Definition]) -> frozenset[str]:
    """Parts of names that are read behind the cursor and met nowhere before it in its definition."""
    first = enclosing[-1].first_line - 1 if enclosing else row - NEAR_LINES_BEFORE
    last = min(len(lines), row + 1 + _WANTED_LINES, enclosing[-1].last_line if enclosing else len(lines))
    met = {name for number in range(max(0, first), row) for name in _known(lines[number]).names}
    read: dict[str, None] = {}
    for number in range(row + 1, last):
        line = _known(lines[number])
        read |= dict.fromkeys(name for name in line.bare if name not in met)
        met.update(line.bound)
    return frozenset(word for name in read for word in parts(name))


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line says by itself."""

    mentions: tuple[str, ...]
    names: frozenset[str]
    bare: tuple[str, ...]
    bound: frozenset[str]
    annotated: tuple[str, ...]
    decorator: str | None
    """What stands behind an `@`."""
    column: int
    """Its indentation."""


_EMPTY = _Line((), frozenset(), (), frozenset(), (), None, 0)


@lru_cache(maxsize=_KNOWN_LINES)
def _known(line: str) -> _Line:
    """Lines stay the same from key to key."""
    if not line or line.isspace():
        return _EMPTY
    found = tuple(mentions(line))
    bare = tuple(name for name in found if "." not in name)
    return _Line(
        mentions=found,
        names=frozenset(bare).union(name[1:] for name in found if name[0] == "."),
        bare=bare,
        bound=_bound(line),
        annotated=tuple(_ANNOTATED.findall(line)) if ":" in line or "->" in line else (),
        decorator=line.strip()[1:].partition("(")[0] if line.lstrip().startswith("@") else None,
        column=indentation(line),
    )


def _bound(line: str) -> frozenset[str]:
    if not _MAY_BIND.search(line):
        return frozenset()
    found = {name for match in _BOUND.finditer(line) for group in match.groups() if group for name in names(group)}
    for match in _PARAMETERS.finditer(line):
        for parameter in match[2].split(","):
            said = names(parameter.partition("=")[0].partition(":")[0])
            found.update(said[:1] if match[1] == "func" else said[-1:])
    return frozenset(found)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    if one.isdisjoint(other):
        return 0.0
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)

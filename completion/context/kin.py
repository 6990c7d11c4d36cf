"""What belongs to the code at the cursor elsewhere: callers and siblings of its function, and a test's counterpart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from completion.context.facts import Definition
from completion.context.library import Library
from completion.context.resolve import Place, members, resolve
from completion.context.site import Surroundings
from completion.context.words import parts

_CALLERS = 3
_CHUNKS = 12
_LINES_ABOVE, _LINES_BELOW = 2, 2
_SEARCHED = 8000
"""A name whose parts stand in more chunks than this takes too long to look for."""
_SIBLINGS = 4
_SIBLING_LINES = 12
_COMMON = 20
"""A name that is defined in more places than this makes no family (`run`, `__init__`)."""
_COUNTERPARTS = 2
_DEFINES = r"\b(?:def|fn|func|function|sub)\s+{0}\b"
_TEST_STEM = re.compile(r"^test_|[._-](?:test|spec)s?$|_(?:test|spec)$|(?<=[a-z0-9])(?:Tests?|Spec)$")


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of another file, and why they matter. They count from 1."""

    path: str
    first_line: int
    last_line: int
    name: str
    reason: str


def callers(library: Library, site: Surroundings) -> Iterator[Lines]:
    """Where other files call the function around the cursor: the call with a few lines about it."""
    function = _function(site)
    if function is None or len(function.name) <= 3 or function.name.startswith("__"):
        return
    chunks = library.in_chunks(parts(function.name))
    if sum(chunks.values()) > _SEARCHED:
        return
    called = re.compile(rf"\b{re.escape(function.name)}\s*\(")
    defined = re.compile(_DEFINES.format(re.escape(function.name)))
    found = 0
    for hit in library.users(function.name, limit=_CHUNKS):
        if hit.path == site.path:
            continue
        lines = library.lines(hit.path, hit.first_line, hit.last_line).split("\n")
        for number, line in enumerate(lines, start=hit.first_line):
            if called.search(line) and not defined.search(line):
                yield Lines(
                    hit.path,
                    max(1, number - _LINES_ABOVE),
                    number + _LINES_BELOW,
                    function.name,
                    f"calls {function.name}, which is around the cursor",
                )
                found += 1
                break
        if found == _CALLERS:
            return


def siblings(library: Library, site: Surroundings) -> Iterator[Lines]:
    """Functions of the same name in other files (what others made of the same method), the nearest first."""
    function = _function(site)
    if function is None or len(function.name) <= 3:
        return
    places = [
        place
        for place in library.definitions_named(function.name, most=_COMMON)
        if place[0] != site.path and place[1].kind == function.kind and bool(place[1].owner) == bool(function.owner)
    ]
    places.sort(key=lambda place: (-_shared(site.path, place[0]), place[0], place[1].first_line))
    for path, one in places[:_SIBLINGS]:
        last = min(one.last_line, one.first_line + _SIBLING_LINES - 1)
        whose = f"{one.owner}.{one.name}" if one.owner else one.name
        yield Lines(path, one.first_line, last, one.name, f"{whose} is a sibling of the function around the cursor")


def own_class(library: Library, site: Surroundings) -> Iterator[Place]:
    """What the class around the cursor has in other files (a header, another part, the struct of a method)."""
    function = _function(site)
    owner = function.owner if function else ""
    if not owner or any(one.kind == "class" and one.name == owner for one in site.enclosing):
        return
    places = resolve(library, site.path, owner) or [
        place for place in library.definitions_named(owner) if place[1].kind in ("class", "type")
    ]
    for path, one in sorted(places, key=lambda place: (-_shared(site.path, place[0]), place[0]))[:1]:
        if path != site.path:
            yield path, one
            yield from ((path, member) for member in members(library, path, owner))


def counterparts(library: Library, path: str) -> list[str]:
    """The code of a test file, or the tests of a code file; the nearest first."""
    stem, is_test = tested(path)
    if is_test:
        wanted = [stem]
    else:
        wanted = [stem, f"test_{stem}", f"{stem}_test", f"{stem}_spec", f"{stem}Test", f"{stem}Tests", f"{stem}Spec"]
    found = dict.fromkeys(other for name in wanted for other in library.paths_with_stem(name))
    language = _ending(path)
    others = [one for one in found if one != path and tested(one) == (stem, not is_test) and _ending(one) == language]
    others.sort(key=lambda other: (-_shared(path, other), len(other), other))
    return others[:_COUNTERPARTS]


def tested(path: str) -> tuple[str, bool]:
    """What a file is about by its name, and whether it is a test of it: `test_cart.py` → (cart, True)."""
    pure = PurePosixPath(path)
    stem = pure.name.removesuffix(pure.suffix)
    plain = _TEST_STEM.sub("", stem)
    return plain.partition(".")[0] or stem, plain != stem


def _ending(path: str) -> str:
    """TypeScript and JavaScript test each other."""
    return re.sub(r"^\.[mc]?[jt]sx?$", ".js", PurePosixPath(path).suffix)


def _function(site: Surroundings) -> Definition | None:
    return next((one for one in reversed(site.enclosing) if one.kind in ("function", "method")), None)


def _shared(one: str, other: str) -> int:
    left, right = one.split("/")[:-1], other.split("/")[:-1]
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        count += 1
    return count

"""Which class the thing before a dot is an instance of: from annotations, from calls that made it, field by field.

By the shapes of lines, the same for all languages; what is not said nearby is not known.
"""

from __future__ import annotations

import re

from completion.context.library import Library
from completion.context.resolve import Place, members, resolve
from completion.context.site import Surroundings

OWN = frozenset({"self", "cls", "this", "$this"})
_READ_LINES = 400
_TYPE = r"(?:\w+(?:\.|::))*([A-Za-z_]\w*)"
_SHAPES = (
    # name: Type (Python, TypeScript, Rust, Kotlin); name = Type(…), new Type(…), Type::new(…), &Type{…} (Go)
    r"(?<![\w.]){0}\s*:\s*[\"'&*]*(?:mut\s+|Optional\[|Option<|list\[)?" + _TYPE,
    r"(?<!\w){0}\s*:?=\s*(?:await\s+|new\s+|&)*" + _TYPE + r"\s*(?:[({{<]|::)",
    r"(?<!\w){0}\s*:?=\s*(?:await\s+)?(?:\w+::)*([A-Z]\w*)::\w+",
    # Type name (Java, C#, C, C++); name *Type (Go)
    r"(?<![\w.])([A-Z]\w*)(?:<[^<>]*>)?[&*\s]+{0}\s*[=;,)]",
    r"(?<![\w.]){0}\s+[*&]?" + _TYPE + r"\s*[,)]",
)
_RETURNS = re.compile(r"(?:->|\)\s*:)\s*[\"'&*]*(?:Optional\[|Option<|Promise<|Self\b)?(?:\w+(?:\.|::))*([A-Za-z_]\w*)")
_GO_RETURNS = re.compile(r"^func\b.*\)\s*\(?[*&]?(?:\w+\.)*([A-Z]\w*)[^()]*\)?\s*\{")


def classes_of(library: Library, site: Surroundings, text: str) -> list[Place]:
    """The class of `site.receiver`; empty where it is not known, or is what the cursor is in."""
    chain = list(site.receiver)
    if chain and chain[0] in OWN:
        chain = chain[1:]
    if not chain:
        return []
    lines = [*text.split("\n")[max(0, site.line - _READ_LINES) : site.line - 1], site.line_before]
    places = _instance(library, site.path, chain[0], lines) or _rest_of(library, site, chain[0], text)
    for part in chain[1:]:
        places = [found for place in places for found in _member(library, place, part)][:1]
    return places


def _rest_of(library: Library, site: Surroundings, name: str, text: str) -> list[Place]:
    """Fields are often given their type far above, or below."""
    return _instance(library, site.path, name, text.split("\n")[:2000]) if site.receiver[0] in OWN else []


def _instance(library: Library, path: str, name: str, lines: list[str]) -> list[Place]:
    """A class of that name itself; else what the last line that says so makes of the variable."""
    if found := _class(library, path, name):
        return found
    shapes = [re.compile(shape.format(re.escape(name))) for shape in _SHAPES]
    for line in reversed(lines):
        if name not in line:
            continue
        for shape in shapes:
            for match in shape.finditer(line):
                if match[1] != name and (found := _class(library, path, match[1])):
                    return found
    return []


def _class(library: Library, path: str, name: str, depth: int = 2) -> list[Place]:
    """The class that a name stands for: itself, or what the function of that name returns."""
    places = resolve(library, path, name)
    if not places or depth == 0:
        return []
    home, one = places[0]
    if one.kind in ("class", "type"):
        return places[:1]
    match = _RETURNS.search(one.text) or _GO_RETURNS.search(one.text)
    return _class(library, home, match[1], depth - 1) if match else []


def _member(library: Library, place: Place, name: str) -> list[Place]:
    """The class of a field, or of what a method returns."""
    path, owner = place
    for one in members(library, path, owner.name):
        if one.name == name:
            match = _RETURNS.search(one.text) if one.kind == "method" else None
            return _class(library, path, match[1]) if match else _instance(library, path, name, one.text.split("\n"))
    return []

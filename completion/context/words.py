"""Words of code: how identifiers fall into parts, and how a text falls into chunks. The same for index and query."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

CHUNK_LINES = 24
"""Chunks begin at fixed lines, so that an edit moves few of them."""
_CAMEL = re.compile(r"([A-Z])(?:(?<=[a-z0-9].)|(?<=[A-Z].)(?=[a-z]))")
"""Begins with a capital rather than with a look behind it: three times as fast."""
_SPACED = {letter: f" {letter}" for letter in string.ascii_uppercase}
_PART = re.compile(r"[A-Za-z0-9]{2,40}")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_REACHED = re.compile(r"(\.|->|::)?\s*([A-Za-z_$][\w$]*)")


def spaced(text: str) -> str:
    """The text with camelCase taken apart; a tokenizer that splits at `_` does the rest."""
    pieces = _CAMEL.split(text)  # every other one is a capital; twice as fast as to substitute
    pieces[1::2] = map(_SPACED.__getitem__, pieces[1::2])
    return "".join(pieces)


def parts(text: str) -> list[str]:
    """The words inside a text's identifiers, small: `parseJson_file` → parse, json, file."""
    return [part.lower() for part in _PART.findall(spaced(text))]


def names(text: str) -> list[str]:
    """The identifiers of a text, in order, repeated as they are."""
    return _NAME.findall(text)


def mentions(text: str) -> list[str]:
    """The identifiers of a line as they are reached: `a.b.c` → a, a.b, .b, .c; a bare name stays as it is."""
    found: list[str] = []
    holder, end = "", -1
    for match in _REACHED.finditer(text):
        dot, name = match.groups()
        if dot is None:
            found.append(name)
            holder, end = name, match.end()
            continue
        found.append(f".{name}")
        if match.start() == end and holder:
            found.append(f"{holder}.{name}")
        holder, end = "", match.end()
    return found


def chunks(text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of each chunk; number n begins at line n · CHUNK_LINES + 1. Blank ones are left out."""
    lines = text.split("\n")
    for number, start in enumerate(range(0, len(lines), CHUNK_LINES)):
        body = "\n".join(lines[start : start + CHUNK_LINES])
        if body and not body.isspace():
            yield number, body

"""Where names of a half-written Python file may be bound, as far as lines tell: no parser, and never too sure."""

from __future__ import annotations

import re
from functools import lru_cache


def enclosing_function(text: str) -> str | None:
    """The text of the innermost function that a text ends in."""
    line = text[text.rfind("\n") + 1 :]
    indent = len(line) - len(line.lstrip())
    for match in reversed(list(re.finditer(r"^([ \t]*)(?:async\s+)?def\s", text, re.MULTILINE))):
        if len(match[1]) < indent:
            return text[match.start() :]
    return None


def lines_with(word: str, text: str) -> list[str]:
    """The lines that hold a word."""
    found: list[str] = []
    place = text.find(word)
    while place >= 0:
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        found.append(text[text.rfind("\n", 0, place) + 1 : end])
        place = text.find(word, end)
    return found


@lru_cache(maxsize=256)
def binds(name: str) -> re.Pattern[str]:
    """Lines that may bind a name otherwise than an import or a definition does."""
    word = re.escape(name)
    return re.compile(
        rf"(?<![\w.]){word}\s*(?::[^=]+)?=(?!=)|\bfor\b[^:]*\b{word}\b.*\bin\b|^\s*(?:with|except)\b.*\bas\b.*\b{word}\b"
        rf"|\bdef\s+\w+\s*\(.*\b{word}\b|\blambda\b[^:]*\b{word}\b|(?<![\w.]){word}\s*:=|(?<![\w.]){word}\s*,[^=()]*=(?!=)"
        rf"|,\s*{word}\s*=(?!=)|^\s*case\b.*\b{word}\b|^\s*(?:global|nonlocal|del)\b.*\b{word}\b"
        rf"|^\s*\*{{0,2}}{word}\s*(?::.*)?,?\s*(?:\).*)?$"
    )

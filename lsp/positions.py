"""Where things are in a text: lines as the Language Server Protocol counts them, columns in UTF-8, 16 or 32 units.

Works on plain strings and offsets (code points); knows nothing of documents or of the protocol's own types. Lines end
at `\\n`, `\\r\\n` and `\\r`, and at nothing else: not at form feeds, nor at U+2028, as `str.splitlines` would have it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from enum import StrEnum
from typing import NamedTuple

_END_OF_LINE = re.compile(r"\r\n|\n|\r")


class Encoding(StrEnum):
    """What one unit of a column is. The names are the protocol's."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


class Place(NamedTuple):
    """A zero-based line and column, the column in units of an `Encoding`."""

    line: int
    column: int


def units(text: str, encoding: Encoding) -> int:
    """Length of `text` in code units; a lone surrogate counts as the unit (or three bytes) that it would take."""
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF16:
        return len(text.encode("utf-16-le", "surrogatepass")) // 2
    return len(text.encode("utf-8", "surrogatepass"))


def characters(text: str, limit_units: int, encoding: Encoding) -> int:
    """How many characters of `text` fit into `limit_units`: a limit inside a character is rounded down to its start."""
    if encoding is Encoding.UTF32 or text.isascii():
        return min(limit_units, len(text))
    low, high, used = 0, min(limit_units, len(text)), 0
    while low < high:
        middle = (low + high + 1) // 2
        more = units(text[low:middle], encoding)
        if used + more <= limit_units:
            low, used = middle, used + more
        else:
            high = middle - 1
    return low


class LineIndex:
    """Offsets at which the lines of one text begin. The first is 0; after a last line end comes an empty line."""

    def __init__(self, starts: list[int]) -> None:
        self._starts = starts

    @classmethod
    def of(cls, text: str) -> LineIndex:
        return cls([0, *(match.end() for match in _END_OF_LINE.finditer(text))])

    def edited(self, text: str, *, start: int, end: int, inserted: int) -> LineIndex:
        """The index of `text`, which came about by putting `inserted` characters in the place of `start:end`.

        Whether a line begins at an offset depends on the two characters around it alone. So what lies outside the
        edit and its two seams keeps its line starts, and only the seams and the inserted text are searched.
        """
        last = start + inserted
        found = (match.end() for match in _END_OF_LINE.finditer(text, max(0, start - 1), last + 1))
        middle = [offset for offset in found if start <= offset <= last]
        if start == 0:
            middle.insert(0, 0)
        before = self._starts[: bisect_left(self._starts, start)]
        shift = last - end
        after = [offset + shift for offset in self._starts[bisect_right(self._starts, end) :]]
        return LineIndex(before + middle + after)

    @property
    def starts(self) -> tuple[int, ...]:
        return tuple(self._starts)

    def line_at(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1

    def span(self, line: int, text: str) -> tuple[int, int]:
        """Start and end of a line without its line end. A line past the last is empty, at the end of the text."""
        if line >= len(self._starts):
            return len(text), len(text)
        start = self._starts[line]
        if line + 1 == len(self._starts):
            return start, len(text)
        end = self._starts[line + 1]
        return start, end - (2 if text.startswith("\r\n", end - 2) else 1)

    def offset(self, place: Place, text: str, encoding: Encoding) -> int:
        """Offset of a place. Columns past the end of a line mean its end, lines past the last the end of the text."""
        start, end = self.span(place.line, text)
        return start + characters(text[start:end], place.column, encoding)

    def place(self, offset: int, text: str, encoding: Encoding) -> Place:
        """Place of an offset between 0 and `len(text)`."""
        line = self.line_at(offset)
        return Place(line, units(text[self._starts[line] : offset], encoding))

"""Changes as edits of lines, for clients that keep their own texts. Places are zero-based lines; columns are texts.

A column is given as the text before it in its line ("" for the line's start), so that each client counts it in its own
units. Lines are those between "\\n".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Any

from completion.refactor.outcome import Extra

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\w+|\W")
_ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEdit:
    """Replace what lies between two places by `text`. `why` is set on edits that somebody should look at first."""

    start_line: int
    start_before: str
    end_line: int
    end_before: str
    text: str
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def line_edits(before: str, after: str) -> list[LineEdit]:
    """The edits that make one text into another, by lines and within them by words, in order; none overlap."""
    return [_edit(before, one.start, one.end, after[one.new_start : one.new_end]) for one in _changed(before, after)]


def extra_edits(before: str, after: str, extras: Iterable[Extra]) -> list[LineEdit]:
    """Extras, which are places in `after`, as edits of `before`: those in words that the change itself leaves alone."""
    changed = _changed(before, after)
    made = []
    for extra in extras:
        if any(one.new_start < extra.end and extra.start < one.new_end for one in changed):
            continue
        moved = sum(
            one.end - one.start - (one.new_end - one.new_start) for one in changed if one.new_end <= extra.start
        )
        made.append(_edit(before, extra.start + moved, extra.end + moved, extra.new, why=extra.why))
    return made


def applied(before: str, edits: Iterable[LineEdit]) -> str:
    """A text with edits made: the reference of what a client does."""
    lines = before.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    # From the last to the first; what is inserted at one place keeps its order, as the protocol has it.
    ordered = sorted(edits, key=lambda each: (each.start_line, len(each.start_before)))
    for one in ordered[::-1]:
        start = starts[one.start_line] + len(one.start_before)
        end = starts[one.end_line] + len(one.end_before)
        before = before[:start] + one.text + before[end:]
    return before


@dataclass(frozen=True, slots=True)
class _Span:
    """What of a sequence was replaced, and where what replaced it is."""

    start: int
    end: int
    new_start: int
    new_end: int


def _changed(before: str, after: str) -> list[_Span]:
    """By whole lines; within lines that stand for each other, by words, so that the rest of them is left alone."""
    old, new = _LINE.findall(before), _LINE.findall(after)
    starts, new_starts = _starts(old, 0), _starts(new, 0)
    found = []
    for one in _replaced(old, new):
        if one.end - one.start == one.new_end - one.new_start:
            for row, new_row in zip(range(one.start, one.end), range(one.new_start, one.new_end), strict=True):
                found += _changed_words(old[row], new[new_row], starts[row], new_starts[new_row])
        else:
            found.append(_Span(starts[one.start], starts[one.end], new_starts[one.new_start], new_starts[one.new_end]))
    return found


def _changed_words(line: str, new_line: str, at: int, new_at: int) -> list[_Span]:
    """What of a line was replaced; all of it, where more than half of its words are others."""
    old, new = _WORD.findall(line), _WORD.findall(new_line)
    if SequenceMatcher(None, old, new, autojunk=False).ratio() < _ALIKE:
        return [_Span(at, at + len(line), new_at, new_at + len(new_line))]
    starts, new_starts = _starts(old, at), _starts(new, new_at)
    return [
        _Span(starts[one.start], starts[one.end], new_starts[one.new_start], new_starts[one.new_end])
        for one in _replaced(old, new)
    ]


def _replaced(old: Sequence[str], new: Sequence[str]) -> list[_Span]:
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [_Span(first, last, start, end) for kind, first, last, start, end in codes if kind != "equal"]


def _starts(pieces: Iterable[str], at: int) -> list[int]:
    """Where each piece begins, and where the last ends."""
    return list(accumulate(map(len, pieces), initial=at))


def _edit(text: str, start: int, end: int, new: str, *, why: str = "") -> LineEdit:
    def place(offset: int) -> tuple[int, str]:
        return text.count("\n", 0, offset), text[text.rfind("\n", 0, offset) + 1 : offset]

    start_line, start_before = place(start)
    end_line, end_before = place(end)
    return LineEdit(
        start_line=start_line, start_before=start_before, end_line=end_line, end_before=end_before, text=new, why=why
    )

"""Changes as edits of lines, for clients that keep their own texts. Places are zero-based lines; columns are texts.

A column is given as the text before it in its line ("" for the line's start), so that each client counts it in its own
units. Lines are those between "\\n".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from completion.refactor.outcome import Extra


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
    """The edits that make one text into another, by whole lines, in order; none overlap."""
    old, new = before.split("\n"), after.split("\n")
    made = []
    for kind, first, last, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        lines = new[start:end]
        if last < len(old):
            made.append(_edit(first, "", last, "", "".join(line + "\n" for line in lines)))
        elif first == 0:
            made.append(_edit(0, "", last - 1, old[-1], "\n".join(lines)))
        else:  # up to the end of the text: the line end before it goes along
            made.append(_edit(first - 1, old[first - 1], len(old) - 1, old[-1], "".join("\n" + line for line in lines)))
    return made


def extra_edits(before: str, after: str, extras: Iterable[Extra]) -> list[LineEdit]:
    """Extras, which are places in `after`, as edits of `before`: those on lines that the change itself leaves alone."""
    old, new = before.split("\n"), after.split("\n")
    where: dict[int, int] = {}
    for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        where |= {block.b + step: block.a + step for step in range(block.size)}
    starts = [0]
    for line in new:
        starts.append(starts[-1] + len(line) + 1)
    made = []
    for extra in extras:
        row = extra.line - 1
        if row not in where:
            continue
        first, last = extra.start - starts[row], extra.end - starts[row]
        line = old[where[row]]
        made.append(_edit(where[row], line[:first], where[row], line[:last], extra.new, why=extra.why))
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


def _edit(start_line: int, start_before: str, end_line: int, end_before: str, text: str, *, why: str = "") -> LineEdit:
    return LineEdit(
        start_line=start_line,
        start_before=start_before,
        end_line=end_line,
        end_before=end_before,
        text=text,
        why=why,
    )

"""What of a text stands in the prompt: a prefix window whose start seldom moves, and a suffix window from the cursor.

The prefix cache pays only while a prompt begins as the one before it. So the start of the window does not follow
the cursor line by line: it jumps by a quarter of the budget, and then stands still for that many characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from completion.settings import PromptBudget


@dataclass(frozen=True, slots=True)
class Window:
    """Offsets into the text: the prompt sees `text[start:offset]` before the cursor and `text[offset:end]` behind."""

    start: int
    offset: int
    end: int


def choose_window(text: str, offset: int, budget: PromptBudget) -> Window:
    """The window around `offset`: it begins at a line's start and ends at a line's end where lines allow it."""
    return Window(_start(text, offset, budget.prefix_characters), offset, _end(text, offset, budget.suffix_characters))


def _start(text: str, offset: int, budget: int) -> int:
    if offset <= budget:
        return 0
    step = max(1, budget // 4)
    earliest = -(-(offset - budget) // step) * step
    line = text.find("\n", earliest - 1, offset)
    # A line longer than a step (minified code, data) is cut where it must be.
    return line + 1 if 0 <= line - earliest < step and line + 1 < offset else min(earliest, offset)


def _end(text: str, offset: int, budget: int) -> int:
    if len(text) - offset <= budget:
        return len(text)
    line = text.rfind("\n", offset, offset + budget)
    return line + 1 if line >= 0 else offset + budget

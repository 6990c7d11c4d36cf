"""The prompt's window onto a text."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from completion.settings import PromptBudget
from completion.window import choose_window

BUDGET = PromptBudget(prefix_characters=400, suffix_characters=100)
LINES = "".join(f"line {number} of the text\n" for number in range(200))


def test_a_short_text_goes_in_whole() -> None:
    window = choose_window("abc", 1, BUDGET)
    assert (window.start, window.end) == (0, 3)


def test_the_start_stands_still_while_typing() -> None:
    starts = [choose_window(LINES, offset, BUDGET).start for offset in range(1000, 2000)]
    assert starts == sorted(starts)
    jumps = sum(one != other for one, other in itertools.pairwise(starts))
    assert jumps <= 1000 // (BUDGET.prefix_characters // 4) + 1


def test_windows_end_at_line_borders() -> None:
    window = choose_window(LINES, 2000, BUDGET)
    assert LINES[window.start - 1] == "\n"
    assert LINES[window.end - 1] == "\n"


@given(st.text(alphabet="ab\n", max_size=2000), st.floats(0, 1))
def test_windows_keep_to_the_budget(text: str, where: float) -> None:
    offset = int(where * len(text))
    window = choose_window(text, offset, BUDGET)
    assert 0 <= window.start <= offset <= window.end <= len(text)
    assert offset - window.start <= BUDGET.prefix_characters
    assert window.end - offset <= BUDGET.suffix_characters
    if offset > 0:
        assert window.start < offset

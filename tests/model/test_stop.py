"""Stop strings against the obvious reference, however the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stop import StopGuard


def reference(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """Letter by letter: at the first place where a stop is complete, cut before the longest that is."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


def run(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    guard = StopGuard(stops)
    passed = [guard.add(piece) for piece in pieces]
    return [*passed, guard.finish()], guard.stopped


_LETTERS = st.text(alphabet="ab\n", max_size=12)


@given(pieces=st.lists(_LETTERS, max_size=12), stops=st.lists(_LETTERS.filter(bool), max_size=4).map(tuple))
def test_any_cut_equals_the_reference(pieces: list[str], stops: tuple[str, ...]) -> None:
    passed, stopped = run(pieces, stops)
    assert ("".join(passed), stopped) == reference("".join(pieces), stops)


@given(pieces=st.lists(_LETTERS, max_size=12), stops=st.lists(_LETTERS.filter(bool), max_size=4).map(tuple))
def test_nothing_is_held_that_cannot_become_a_stop(pieces: list[str], stops: tuple[str, ...]) -> None:
    guard = StopGuard(stops)
    seen = passed = ""
    for piece in pieces:
        seen += piece
        passed += guard.add(piece)
        held = seen[len(passed) :]
        if not guard.stopped:
            assert held == "" or any(stop.startswith(held) for stop in stops)


@pytest.mark.parametrize(
    ("pieces", "stops", "expected", "stopped"),
    [
        (["def f():", "\n", "\n", "x"], ("\n\n",), "def f():", True),
        (["a\n", "b\n"], ("\n\n",), "a\nb\n", False),
        (["abcd"], ("bc", "abcd"), "a", True),
        (["xabab", "c"], ("ababc",), "x", True),
        (["xababab", "c"], ("ababc",), "xab", True),
        (["end"], (), "end", False),
        (["🎉", "🎉"], ("🎉🎉",), "", True),
    ],
)
def test_examples(pieces: list[str], stops: tuple[str, ...], expected: str, stopped: bool) -> None:
    passed, was_stopped = run(pieces, stops)
    assert ("".join(passed), was_stopped) == (expected, stopped)

"""Prompt lookup against a plain search, and drafts that stop when they do not pay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.drafts import GRAM_TOKENS, Drafter, PromptLookup, StepCosts

TOKENS = st.lists(st.integers(0, 2), max_size=30)


def plain_proposal(tokens: list[int], most: int) -> list[int]:
    """What followed the last earlier place that reads as the end does, by looking at every place."""
    end = tokens[-GRAM_TOKENS:]
    for place in range(len(tokens) - 1, GRAM_TOKENS - 1, -1):
        if tokens[place - GRAM_TOKENS : place] == end:
            return tokens[place : place + most]
    return []


@given(pieces=st.lists(TOKENS, max_size=6), most=st.integers(1, 5))
def test_lookup_equals_a_plain_search_however_the_text_grows(pieces: list[list[int]], most: int) -> None:
    lookup, text = PromptLookup([]), []
    for piece in pieces:
        lookup.extend(piece)
        text += piece
        expected = plain_proposal(text, most) if len(text) >= GRAM_TOKENS else []
        assert lookup.propose(most) == expected


@pytest.mark.parametrize(
    ("tokens", "most", "proposed"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 3, [4, 5, 1]),
        ([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 2, [5, 1]),
        ([1, 2, 3, 4], 3, []),
        ([7, 7, 7, 7], 3, [7]),
        ([1, 2], 3, []),
    ],
)
def test_examples(tokens: list[int], most: int, proposed: list[int]) -> None:
    assert PromptLookup(tokens).propose(most) == proposed


def _costs(ratio: float) -> StepCosts:
    costs = StepCosts()
    for _ in range(200):
        for rows in range(1, 5):
            costs.record(rows, 10.0 if rows == 1 else 10.0 * ratio)
    return costs


def test_sure_drafts_are_long_and_doubtful_ones_short() -> None:
    drafter = Drafter([1, 2, 3, 4] * 4, StepCosts())
    assert len(drafter.draft(3)) > 0
    for _ in range(20):
        drafter.took([1, 2, 3, 4], drafted=3)
    assert drafter.draft(3) == [1, 2, 3]
    assert drafter.draft(2) == [1, 2]


def test_wrong_drafts_stop_and_are_tried_again_after_a_while() -> None:
    drafter = Drafter([1, 2, 3, 4] * 4, StepCosts())
    steps = 0
    while drafter.draft(3):
        drafter.took([1, 2, 3, 4][steps % 4 :][:1], drafted=3)
        steps += 1
        assert steps < 30
    waited = 0
    while not drafter.draft(3):
        waited += 1
        assert waited < 1000
    assert waited > 5


def test_drafts_stop_where_several_rows_are_dear() -> None:
    assert Drafter([1, 2, 3, 4] * 4, _costs(1.2)).draft(3)
    assert not Drafter([1, 2, 3, 4] * 4, _costs(3.0)).draft(3)


def test_costs_follow_what_was_measured() -> None:
    costs = StepCosts()
    guessed = costs.ratio(4)
    assert 1 == costs.ratio(1) < costs.ratio(2) < guessed
    for _ in range(100):
        costs.record(1, 10.0)
        costs.record(4, 25.0)
    assert costs.ratio(4) == pytest.approx(2.5, rel=0.01)


def test_one_step_that_was_held_up_does_not_decide() -> None:
    costs = StepCosts()
    costs.record(1, 10.0)
    costs.record(4, 500.0)
    assert costs.ratio(4) < 2.2


def test_dear_rows_are_tried_again_after_a_while() -> None:
    costs = _costs(3.0)
    drafter = Drafter([1, 2, 3, 4] * 4, costs)
    waited = 0
    while not drafter.draft(3):
        waited += 1
        assert waited < 1000
    assert waited > 10

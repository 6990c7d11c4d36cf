"""Confidence: signals, the constants that ship, and what the acceptance log adds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completion.api import Level
from completion.confidence import Calibration, Circumstances, log_odds, shipped, signals
from completion.history import History, shifts

PLAIN = Circumstances(
    stop_reason="eos", polished=False, inside_line=False, blank_before=False, in_words=False, broken=False
)


def test_signals() -> None:
    found = signals("a = 1", [-0.5, -0.25, -1.0], PLAIN)
    assert found["joint"] == -1.75
    assert found["probability"] == pytest.approx(math.exp(-1.75))
    assert (found["least"], found["first"], found["ended_itself"]) == (-1.0, -0.5, 1.0)


def test_hopeless_tokens_stay_finite() -> None:
    assert all(math.isfinite(value) for value in signals("a", [float("-inf")], PLAIN).values())
    assert all(math.isfinite(value) for value in signals("", [], PLAIN).values())


@pytest.mark.parametrize("family", ["tersely", "qwen", "none"])
def test_what_ships_names_signals_that_exist_and_thresholds_that_rise(family: str) -> None:
    calibration = shipped(family)
    assert set(calibration.weights) <= set(signals("", [], PLAIN))
    thresholds = calibration.thresholds
    assert 0 <= thresholds[Level.EAGER] < thresholds[Level.BALANCED] < thresholds[Level.QUIET] < 1


@pytest.mark.parametrize("family", ["tersely", "qwen", "none"])
def test_the_surer_the_model_the_likelier(family: str) -> None:
    calibration = shipped(family)
    guesses = [calibration.probability(signals("a = b", [value] * 3, PLAIN)) for value in (-3.0, -1.0, -0.3, -0.01)]
    assert guesses == sorted(guesses)
    assert guesses[0] < 0.2
    assert guesses[-1] > 0.5


@given(
    st.lists(st.floats(-6, 0), min_size=1, max_size=3),
    st.integers(0, 2),
    st.floats(0, 6),
    st.sampled_from(["tersely", "qwen"]),
)
def test_no_surer_token_makes_a_text_less_likely(logprobs: list[float], place: int, more: float, family: str) -> None:
    """Also where nobody has measured: a single token of two in a hundred was shown once."""
    calibration, at = shipped(family), min(place, len(logprobs) - 1)
    surer = [min(0.0, value + more) if index == at else value for index, value in enumerate(logprobs)]
    before, after = (calibration.probability(signals("a = b", one, PLAIN)) for one in (logprobs, surer))
    assert before <= after + 1e-9


def test_a_shift_moves_the_log_odds() -> None:
    calibration = Calibration(0.0, {}, {})
    assert calibration.probability({}) == 0.5
    assert log_odds(calibration.probability({}, shift=1.25)) == pytest.approx(1.25)


def record(number: int, outcome: str, *, confidence: float = 0.5, taken: int = 0, model: str = "m") -> str:
    line = {"suggestion_id": str(number), "outcome": outcome, "model": model, "confidence": confidence}
    return json.dumps({**line, "length": 10, "accepted_length": taken})


def test_a_model_whose_suggestions_are_passed_over_loses_confidence() -> None:
    passed = [record(number, "shown") for number in range(100)]
    taken = [record(number, "shown") for number in range(100)]
    taken += [record(number, "accepted", taken=10) for number in range(100)]
    assert shifts(passed)["m"] < -0.5
    assert shifts(taken)["m"] > 0.5


def test_one_suggestion_says_little_and_half_of_one_half() -> None:
    assert abs(shifts([record(1, "shown")])["m"]) < 0.1
    half = [record(number, "partial", taken=5) for number in range(200)]
    assert shifts(half)["m"] == pytest.approx(0.0, abs=1e-9)


def test_what_is_no_record_is_passed_over() -> None:
    assert shifts(["", "{", "[]", "null", '{"outcome": "eaten"}']) == {}


def test_the_log_is_read_in_the_background(tmp_path: Path) -> None:
    log = tmp_path / "acceptance.jsonl"
    log.write_text("\n".join(record(number, "shown") for number in range(100)), encoding="utf-8")
    history = History(log)
    history.shift("m")
    history.wait()
    assert history.shift("m") < -0.5
    assert history.shift("other") == 0.0


def test_no_log_says_nothing(tmp_path: Path) -> None:
    history = History(tmp_path / "none.jsonl")
    history.shift("m")
    history.wait()
    assert history.shift("m") == 0.0


def test_models_of_others_have_constants_of_their_own() -> None:
    found = signals("a = b", [-0.4] * 3, PLAIN)
    assert shipped("qwen").probability(found) == shipped("none").probability(found)
    assert shipped("qwen").probability(found) != shipped("tersely").probability(found)

"""Figures of terseness: positions with what was said there in, shares out."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from bench.quality.calibrate import Observation, expected_error, fit
from bench.quality.positions import Position
from bench.terse import missing
from bench.terse.ask import ALONE, BLANK_LINE, INFILL, NEWLINE, TERSELY, Answers, Row, cut_at
from bench.terse.figures import breaks, figures, repeats_suffix
from completion.confidence import Circumstances, shipped, signals
from model.api import Chunk, Usage
from model.errors import UsageError
from tests.cursor import at_cursor

PLAIN = Circumstances(
    stop_reason="eos", polished=False, inside_line=False, blank_before=False, in_words=False, broken=False
)


def position(source: str, reference: str) -> Position:
    text, offset = at_cursor(source)
    return Position(
        package="p", path="a.py", language="python", kind="line", text=text, offset=offset, reference=reference
    )


def said(number: int, contender: str, text: str, generated: int = 4) -> Row:
    told = signals(text, [-0.001], PLAIN) if contender == TERSELY else {}
    return Row(number, contender, text, generated, 2, signals=told)


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("a = 1", "a = 1", True),
        ("a = 1\nb = 2", "a = 1", True),
        ("a = 10", "a = 1", False),
        ("a = 1", "a = 1\nb = 2", False),
        ("", "", False),
        ("", "a", False),
    ],
)
def test_right(reference: str, text: str, right: bool) -> None:
    assert position("‸\n", reference).right(text) is right


@pytest.mark.parametrize(
    ("source", "reference", "text", "repeats"),
    [
        ("f(‸, last)\n", "first", "first, last)", True),
        ("f(‸, last)\n", "first", "first", False),
        ("‸\nreturn x\n", "x = 1", "x = 1\nreturn x", True),
        ("‸\nreturn x\n", "x = 1\nreturn x", "x = 1\nreturn x", False),
        ("x = ‸\nvalue\n", "1", "value", False),
        ("if a:\n    ‸\n}\n", "b()", "b()\n}", False),
    ],
)
def test_repeats_suffix(source: str, reference: str, text: str, repeats: bool) -> None:
    assert repeats_suffix(position(source, reference), text) is repeats


def test_breaks() -> None:
    assert breaks(position("‸\ny = 1\n", "x = 2"), "f(")
    assert not breaks(position("‸\ny = 1\n", "x = 2"), "f()")
    assert not breaks(position("x = ‸\ny = 1\n", "2"), "f(")  # it was broken before


def test_figures(tmp_path: Path) -> None:
    positions = [position("‸\ny = 1\n", "x = 2"), position("‸\ny = 1\n", "x = 3"), position("y = 1‸\n", "")]
    rows = [
        *(said(number, TERSELY, text) for number, text in enumerate(("x = 2", "x = 4", ""))),
        *(said(number, NEWLINE, text) for number, text in enumerate(("x = 2", "x = 4", "0"))),
        *(said(number, BLANK_LINE, text, 20) for number, text in enumerate(("x = 2\ny = 1", "x = 4", "0"))),
    ]
    found = figures(positions, rows)
    ours, newline, blank = (found["contenders"][name] for name in (TERSELY, NEWLINE, BLANK_LINE))
    assert ours["right_of_all"]["share"] == pytest.approx(1 / 3, abs=1e-3)
    assert ours["said_where_nothing_is_missing"]["share"] == 0.0
    assert newline["said_where_nothing_is_missing"]["share"] == 1.0
    assert ours["generated_over_needed"] == 2.0
    assert blank["generated_over_needed"] == 10.0
    assert blank["repeats_suffix"]["share"] == pytest.approx(1 / 3, abs=1e-3)
    assert blank["too_long_of_begun_right"]["share"] == 1.0
    assert found["shown_but_wrong_at_equal_exact_match"][NEWLINE]["wrong_ours"] <= 1 / 3 + 1e-3


def test_llama_cpp_is_held_against_the_file_alone() -> None:
    positions = [position("‸\n", f"x = {number}") for number in range(2)]
    rows = [
        *(said(number, TERSELY, f"x = {number}") for number in range(2)),
        *(replace(said(number, TERSELY, text), contender=ALONE) for number, text in enumerate(("x = 0", "y"))),
        *(said(number, INFILL, text) for number, text in enumerate(("x = 0", "x"))),
    ]
    found = figures(positions, rows)
    assert found["contenders"][INFILL]["right_of_all"]["share"] == 0.5
    assert found["contenders"][ALONE]["exact_of_all"]["share"] == 0.5
    equal = found["shown_but_wrong_at_equal_exact_match"]
    assert equal[INFILL] == {"right": 0.5, "right_ours": 0.5, "wrong": 0.5, "wrong_ours": 0.0}
    assert equal[f"{INFILL}, both with the file alone"]["right_ours"] == 0.5


def test_exact_match_with_the_veto_and_without() -> None:
    positions = [position("‸\n", f"x = {number}") for number in range(4)]
    mended = replace(said(0, TERSELY, "x = 0"), vetoes=("no y",), without_veto="y = 0")
    spoilt = replace(said(1, TERSELY, "x"), vetoes=("no 1",), without_veto="x = 1")
    silenced = replace(said(2, TERSELY, ""), vetoes=("no z",), without_veto="z")
    found = figures(positions, [mended, spoilt, silenced, said(3, TERSELY, "x = 3")])["veto_on_and_off"]
    assert (found["cursors"], found["struck"], found["mended"], found["spoilt"]) == (4, 3, 1, 1)
    assert (found["exact"]["on"]["share"], found["exact"]["off"]["share"]) == (0.5, 0.5)


def test_answers_are_kept_with_the_run_that_they_are_of(tmp_path: Path) -> None:
    rows = [said(number, name, "x = 2") for number in range(3) for name in (TERSELY, NEWLINE)]
    answers = Answers(tmp_path / "rows.jsonl", adapter_sha256="a")
    answers.begin({"build_info": "b1"})
    answers.add(rows)
    kept = Answers(tmp_path / "rows.jsonl", adapter_sha256="a")
    assert (kept.rows, kept.next, kept.peer) == (rows, 3, {"build_info": "b1"})
    kept.begin({"build_info": "b2"})
    with pytest.raises(UsageError, match="was begun with"):
        kept.begin(None)
    with pytest.raises(UsageError, match="another adapter"):
        Answers(tmp_path / "rows.jsonl", adapter_sha256="b")


def test_the_fit_finds_what_decides() -> None:
    blank = {"joint": 0.0, "first": 0.0, "noise": 1.0}
    observations = [Observation({**blank, "tell": float(number % 10)}, number % 10 >= 5) for number in range(200)]
    bias, weights = fit(observations)
    assert weights["tell"] > 0.5
    assert -bias / weights["tell"] == pytest.approx(4.5, abs=0.3)


def test_no_fit_finds_a_surer_token_less_likely() -> None:
    """Even where the observations say so."""
    observations = [
        Observation({"joint": -first - 1.0, "first": -first, "least": -first, "tokens": 2.0}, first > 2)
        for first in (0.1, 1.0, 2.0, 3.0, 4.0)
        for _ in range(20)
    ]
    _, weights = fit(observations)
    assert weights["least"] >= 0
    assert weights["joint"] >= 0
    assert weights["joint"] + weights["first"] >= 0


def test_expected_error() -> None:
    assert expected_error([0.25] * 4, [True, False, False, False]) == pytest.approx(0.0)
    assert expected_error([0.95, 0.95], [False, False]) == pytest.approx(0.95)
    assert expected_error([], []) == 0.0


def test_a_plain_client_cuts_the_same_answer() -> None:
    usage = [Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=count) for count in (1, 2, 3)]
    chunks = [Chunk(text=text, usage=one) for text, one in zip(("a", "\n", "\nb"), usage, strict=True)]
    assert cut_at(chunks, "\n") == ("a", 2)
    assert cut_at(chunks, "\n\n") == ("a", 3)
    assert cut_at(chunks[:1], "\n") == ("a", 1)


def test_names_that_are_told_to_be_missing_are_counted(tmp_path: Path) -> None:
    """`late` is read before the loop binds it, which no order of lines tells; `total` is missing without its line."""
    (tmp_path / "a.py").write_text(
        "def f(xs):\n    ys = list(xs)\n    total = 0\n    for x in ys:\n        total += x\n    return total\n"
    )
    (tmp_path / "b.py").write_text(
        "def g(xs):\n    n = 0\n    for x in xs:\n        if n:\n            use(late)\n        late = x\n"
    )
    found = missing.run([tmp_path])
    assert found["told_where_none_is_missing"] == len(found["told_wrongly"]) > 0
    assert all("b.py" in one and one.endswith(": late") for one in found["told_wrongly"])
    assert found["of_these_in_the_line"] >= 1
    assert found["places"] > found["told_where_none_is_missing"]


def test_a_fit_of_little_stays_near_the_constants_that_there_are() -> None:
    own = shipped().weights
    rng = random.Random(3)
    names = [name for name in own if name not in ("mean", "least")]
    observed = []
    for _ in range(60):
        found = dict.fromkeys(own, 0.0) | {name: rng.random() for name in names}
        observed.append(Observation(found, rng.random() < 0.3))
    _, near = fit(observed, own=own)
    _, free = fit(observed)
    assert max(abs(near[name] - own[name]) for name in names) < 0.5
    assert max(abs(free[name] - own[name]) for name in names) > 2

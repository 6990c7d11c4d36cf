"""The quality bench: its sandbox, its editor form, and its measures on answers that are known."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from bench.quality import card, measure
from bench.quality.__main__ import SIZES, contend_all, journal, questions
from bench.quality.ask import Answer, ask_all
from bench.quality.contender import Contender
from bench.quality.journal import Journal
from bench.quality.plot import draw
from bench.quality.positions import whole_line
from bench.quality.sandbox import passes
from bench.quality.served import Shown, served, served_programs, show_all
from bench.quality.tasks import HUMANEVAL, Task, humaneval
from model.errors import PullError
from model.fake import FakeEngine
from model.train import archive
from model.train.cli import CPU_BUDGETS, GPU_BUDGETS
from model.train.corpus import SourceFile
from model.train.cuts import CutKind
from tests.model.tiny import write_tiny


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("assert 1 + 1 == 2", True),
        ("assert 1 + 1 == 3", False),
        ("x = (", False),
        ("import sys; sys.exit(1)", False),
        ("import math\nfrom typing import List\nassert math.isqrt(9) == 3", True),
        ("import socket\nsocket.socket().connect(('127.0.0.1', 9))", False),
        ("import subprocess\nsubprocess.run(['true'])", False),
        ("import os\nos.system('true')", False),
        ("open('file', 'w')", False),
        ("x = bytearray(4 << 30)", False),
    ],
)
def test_the_sandbox_runs_programs_and_nothing_else(program: str, expected: bool) -> None:
    assert passes(program) is expected


def test_the_sandbox_ends_what_does_not_end() -> None:
    assert not passes("while True: pass", timeout_s=0.5)


def test_the_editor_form_moves_indentation_and_newline(tmp_path: Path) -> None:
    row = {
        "task_id": "t",
        "entry_point": "f",
        "prompt": "def f():\n",
        "canonical_solution": "    x = 1\n",
        "suffix": "    return x\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
    }
    with gzip.open(tmp_path / "tasks.jsonl.gz", "wt") as out:
        out.write(json.dumps(row) + "\n")
    (task,) = humaneval(tmp_path / "tasks.jsonl.gz", count=None, seed=0)
    assert (task.prefix, task.reference, task.suffix) == ("def f():\n    ", "x = 1", "\n    return x\n")
    assert passes(measure.program(task.program, "x = 1"))
    assert not passes(measure.program(task.program, "x = 2"))


def test_the_benchmark_is_whole_and_its_references_pass() -> None:
    tasks = humaneval(HUMANEVAL, count=None, seed=0)
    assert len(tasks) == 1033
    sample = humaneval(HUMANEVAL, count=5, seed=0)
    assert sample == humaneval(HUMANEVAL, count=5, seed=0)
    assert all(passes(measure.program(task.program, task.reference)) for task in sample)


def answer(reference: str, text: str, *, tokens: int = 4, joint: float = 0.5, kind: str = "line") -> Answer:
    task = Task(name=reference, kind=kind, language="python", prefix="", suffix="", reference=reference)
    return Answer(task=task, text=text, whole=text, tokens=tokens, ended=True, confidence=joint, joint=joint)


def test_measures() -> None:
    answers = [answer("abcd", "abcd"), answer("abcd", "abcdef", tokens=6), answer("abcd", "xy", tokens=2)]
    found = measure.matches(answers)
    assert found["exact"]["share"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["similarity"] == pytest.approx((1 + 0.8 + 0) / 3, abs=1e-4)
    terse = measure.terseness(answers, len)
    assert terse["median_generated_over_needed"] == 1.0
    assert terse["begins_right"] == 2
    assert terse["stops_there"]["share"] == 0.5
    empty = [answer("", "", kind="empty"), answer("", "x", kind="empty")]
    assert measure.emptiness(empty)["nothing"]["share"] == 0.5


def test_calibration_compares_confidence_with_what_matched() -> None:
    sure = [answer("a", "a", joint=0.95) for _ in range(19)] + [answer("a", "b", joint=0.95)]
    unsure = [answer("a", "b", joint=0.25) for _ in range(4)]
    found = measure.calibration(sure + unsure, lambda one: one.joint)
    assert found["bins"] == [
        {"count": 4, "confidence": 0.25, "exact": 0.0},
        {"count": 20, "confidence": 0.95, "exact": 0.95},
    ]
    assert found["expected_error"] == pytest.approx(4 * 0.25 / 24, abs=1e-4)


def test_intervals_hold_their_share() -> None:
    found = measure.rate([True] * 30 + [False] * 70)
    assert found["low"] < 0.3 == found["share"] < found["high"]
    assert measure.rate([False] * 10) == {"share": 0.0, "low": 0.0, "high": pytest.approx(0.2775, abs=1e-3)}


async def test_a_line_is_the_first_line_of_what_was_said() -> None:
    task = Task(name="t", kind="line", language="python", prefix="x = ", suffix="\n", reference="1")
    block = Task(name="b", kind="block", language="python", prefix="def f():\n    ", suffix="\n", reference="a\nb")
    line, lines = await ask_all(
        FakeEngine(lambda prompt: "1 + 2\ny = 3"), [task, block], context=False, journal=Journal()
    )
    assert line.text == "1 + 2"
    assert lines.text == "1 + 2\ny = 3"
    assert 0 < line.joint < line.confidence < 1


def test_what_is_shown_is_counted_apart_from_what_is_right() -> None:
    def shown(kind: str, reference: str, text: str, *, sure: bool = True) -> Shown:
        return Shown(answer(reference, "", kind=kind).task, text, sure and bool(text))

    lines = [shown("line", "a\nb", "a"), shown("line", "ab", "a"), shown("line", "ab", ""), shown("line", "ab", "ab")]
    silent = [shown("empty", "", ""), shown("empty", "", "x", sure=False)]
    found = served([*silent, shown("empty", "", "x"), shown("empty", "", "y"), *lines])
    assert found["nothing"]["share"] == 0.5
    assert found["shown"]["share"] == 0.75
    assert found["right_of_shown"]["share"] == pytest.approx(2 / 3, abs=1e-4)
    assert served([shown("line", "ab", "")]) == {
        "nothing": None,
        "shown": measure.rate([False]),
        "right_of_shown": None,
    }


def test_programs_run_with_what_was_found_sure_or_not() -> None:
    task = humaneval(HUMANEVAL, count=1, seed=0)[0]
    found = served_programs(
        [Shown(task, task.reference, True), Shown(task, task.reference, False), Shown(task, "1 / 0", True)]
    )
    assert found["pass"] == measure.rate([True, True, False])
    assert found["shown"] == measure.rate([True, False, True])
    assert found["pass_of_shown"] == measure.rate([True, False])
    assert served_programs([]) == {"tasks": 0, "pass": None, "shown": None, "pass_of_shown": None}


async def test_what_is_shown_is_what_the_completer_shows() -> None:
    tasks = [hole("a", "line", "return x"), hole("b", "line", "return x")]
    told = await show_all(FakeEngine(lambda prompt: "return x\n\n\ndef g():"), tasks, journal=Journal())
    assert [one.text for one in told] == ["return x", "return x"]
    assert all(one.right for one in told)
    silent = await show_all(FakeEngine(lambda prompt: ""), tasks, journal=Journal())
    assert [one.text for one in silent] == ["", ""]


async def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    """What was said is not asked again, what the end cut short is, and context is another question."""
    asked: list[str] = []

    def say(prompt: str) -> str:
        asked.append(prompt)
        return "return x"

    path = tmp_path / "new" / "said.jsonl"
    first = await ask_all(FakeEngine(say), HOLES[:2], context=False, journal=Journal(path))
    told = await show_all(FakeEngine(say), HOLES[:1], journal=Journal(path))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "without context: line c", "sa')
    asked.clear()
    again = Journal(path)
    assert await ask_all(FakeEngine(say), HOLES[:2], context=False, journal=again) == first
    assert await show_all(FakeEngine(say), HOLES[:1], journal=again) == told
    assert asked == []
    (third,) = await ask_all(FakeEngine(say), HOLES[2:3], context=False, journal=again)
    assert len(asked) == 1
    await ask_all(FakeEngine(say), HOLES[:1], context=True, journal=again)
    assert len(asked) == 2
    assert await ask_all(FakeEngine(say), HOLES[2:3], context=False, journal=Journal(path)) == [third]


@pytest.mark.parametrize(
    "text", ["def f(x):\n    y = x  \n\n    # why\n    return y", "\tif (x) {\r\n\t\ty()\r\n\t}\r\n"]
)
def test_a_whole_line_leaves_its_indentation(text: str) -> None:
    file = SourceFile("p", "a.py", "python", text)
    found = [one for seed in range(30) if (one := whole_line(file, random.Random(seed)))]
    assert {one.reference for one in found} == {
        line.strip() for line in text.splitlines() if line.strip() and "#" not in line
    }
    for one in found:
        assert one.whole == text
        assert not one.text[: one.offset].rpartition("\n")[2].strip()


def test_no_line_no_position() -> None:
    assert whole_line(SourceFile("p", "a.py", "python", ""), random.Random(0)) is None


def test_another_adapter_or_other_tasks_have_a_journal_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.quality.__main__.cache_dir", lambda: tmp_path)
    for name in ("base", "one", "two"):
        (tmp_path / name).write_text(name)
    one = Contender(name="tuned", checkpoint=tmp_path / "base", adapter=tmp_path / "one")
    two = Contender(name="tuned", checkpoint=tmp_path / "base", adapter=tmp_path / "two")
    paths = [journal(one, HOLES, resume=True), journal(two, HOLES, resume=True), journal(one, HOLES[1:], resume=True)]
    assert len(set(paths)) == 3
    Journal(paths[0]).keep("a", {"text": "b"})
    assert Journal(journal(one, HOLES, resume=True)).said("a") == {"text": "b"}
    assert Journal(journal(one, HOLES, resume=False)).said("a") is None


def hole(name: str, kind: str, reference: str) -> Task:
    return Task(name=name, kind=kind, language="python", prefix="def f(x):\n    ", suffix="\n", reference=reference)


HOLES = [hole("a", "line", "return x"), hole("b", "line", "pass"), hole("c", "line", "pass")]
HOLES += [hole("d", "block", "return x"), hole("e", "empty", "")]


def test_floors_need_no_model() -> None:
    coding = humaneval(HUMANEVAL, count=2, seed=0)
    found = measure.floors([*coding, *HOLES])
    assert found["humaneval"]["oracle"]["share"] == 1.0
    assert found["humaneval"]["empty"]["share"] < 1.0
    line = found["held_out"]["python"]["line"]
    assert (line["answer"], line["exact"]["share"]) == ("pass", pytest.approx(2 / 3, abs=1e-4))


def test_a_contender_is_measured_and_the_card_tells_it(tmp_path: Path) -> None:
    """A tiny random checkpoint at real tasks: what it answers does not matter, where it ends up does."""
    tasks = [*humaneval(HUMANEVAL, count=2, seed=0), *HOLES]
    checkpoint = write_tiny(tmp_path / "tiny.gguf", metadata={"llama.context_length": 4096})
    (name, found), *others = contend_all([Contender(name="base", checkpoint=checkpoint)], tasks, at_once=1)
    assert (name, others) == ("base", [])
    assert found["humaneval"]["tasks"] == 2
    assert found["held_out"]["python"]["without context"]["line"]["tasks"] == 3
    figures = {
        "seed": 7,
        "size": "tiny",
        "tasks": len(tasks),
        "date": "2026-01-01",
        "machine": {"cores": 2, "torch": "2"},
        "adapter": {"sha256": "ab" * 32, "training": "3 steps"},
        "floors": measure.floors(tasks),
        "contenders": {"base": found, "tuned": found},
    }
    draw(figures, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    page, written = tmp_path / "card.md", tmp_path / "quality.json"
    page.write_text(card.CARD.read_text(encoding="utf-8"), encoding="utf-8")
    written.write_text(json.dumps(figures), encoding="utf-8")
    card.update(page, written)
    text = page.read_text(encoding="utf-8")
    share = found["held_out"]["python"]["without context"]["line"]["exact"]["share"]
    row = next(line for line in text.splitlines() if line.startswith("| held-out python, rest of line, without"))
    assert row.split("|")[2].strip().startswith("66.7 (")
    assert row.split("|")[3].strip().startswith(f"{100 * share:.1f} (")
    assert "| held-out python, in an editor, nothing to add: nothing shown |" in text
    assert "| HumanEval single line, by the completer, pass@1 |" in text
    without = {key: value for key, value in found.items() if "served" not in key}
    assert "in an editor" not in card.results_of({**figures, "contenders": {"base": without, "tuned": without}})
    card.update(page, tmp_path / "absent.json")
    assert "Not yet measured: `python -m bench.quality`" in page.read_text(encoding="utf-8")


def test_no_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, version: str, *, ecosystem: str, folder: Path) -> None:
        if ecosystem == "npm":
            raise PullError("no npm", hint="")

    monkeypatch.setattr(archive, "fetch", refuse)
    with pytest.raises(PullError, match=r"immer, mobx\."):
        questions(SIZES["tiny"], benchmark=HUMANEVAL)


def test_the_full_bench_asks_a_thousand_lines_of_each_language_and_all_of_humaneval() -> None:
    assert SIZES["full"].humaneval is None
    assert SIZES["full"].holes[CutKind.LINE] >= 1000


def test_the_card_has_the_figures_that_were_measured() -> None:
    read = json.loads(card.FIGURES.read_text(encoding="utf-8")) if card.FIGURES.exists() else None
    assert f"\n\n{card.results_of(read)}\n\n" in card.CARD.read_text(encoding="utf-8")


def test_the_card_has_the_lengths_that_training_draws() -> None:
    text = card.CARD.read_text(encoding="utf-8")
    both = (CPU_BUDGETS, GPU_BUDGETS)

    def row(label: str, *cells: str) -> str:
        return f"| {label} | {' | '.join(cells)} |"

    assert row("prefix", *("{} to {}".format(*one.prefix_chars) for one in both)) in text
    assert row("suffix", *("{} to {}".format(*one.suffix_chars) for one in both)) in text
    shares = [f"{100 * one.long_share:.0f} %, {one.long_chars}" for one in both]
    assert row("examples with long contexts, up to", *shares) in text
    assert row("examples with no suffix", *(f"{100 * one.no_suffix_share:.0f} %" for one in both)) in text
    assert row("examples with no path", *(f"{100 * one.no_path_share:.0f} %" for one in both)) in text
    assert row("examples with snippets", *(f"{100 * one.snippets_share:.0f} %" for one in both)) in text
    snippets = [f"1 to {one.max_snippets}, {one.snippet_chars}" for one in both]
    assert row("snippets in such an example, of up to", *snippets) in text

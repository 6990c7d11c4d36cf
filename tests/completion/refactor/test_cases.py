"""Every tool by its table of cases: `check(before, call, after)` over the files in `cases/`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from completion.refactor.calls import ACTING
from completion.refactor.schema import name_of
from tests.completion.refactor.casefile import FOLDER, Case, read_cases, run

CASES = [(file.stem, case) for file in sorted(FOLDER.glob("*.txt")) for case in read_cases(file)]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{stem}: {case.title}") for stem, case in CASES])
def test_case(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def check(case: Case, root: Path) -> None:
    """Carry the call out over the files before, and compare everything that came of it."""
    outcome, after, gone = run(case, root)
    if case.refused:
        assert case.refused in outcome.refused
        assert (after, gone) == ({}, [])
        return
    assert outcome.refused == ""
    assert after == case.after
    assert gone == case.gone
    assert [f"{one.path}:{one.line} {one.why}" for one in outcome.extras] == case.extras
    assert list(outcome.notes) == case.notes


def test_the_tables_are_whole() -> None:
    """Enough cases, every tool done and refused at least once, and titles that tell cases apart."""
    assert len(CASES) >= 150
    called = {(msgspec.json.decode(case.call)["name"], bool(case.refused)) for _, case in CASES}
    assert {name_of(tool) for tool in ACTING} - {name for name, refused in called if not refused} == {"decline"}
    assert {name_of(tool) for tool in ACTING} == {name for name, refused in called if refused}
    assert {stem.split("_")[0] for stem, _ in CASES} == {"python", "typescript", "go", "java", "rust"}
    titles = [(stem, case.title) for stem, case in CASES]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title) for _, case in CASES if case.refused][:1])
def test_a_wrong_expectation_fails(case: Case, tmp_path: Path) -> None:
    case = Case(case.title, call=case.call, before=case.before)
    with pytest.raises(AssertionError):
        check(case, tmp_path)

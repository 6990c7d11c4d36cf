"""Reports about suggestions into records; what an editor says twice, late or wrongly does no harm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from completion.acceptance import AcceptanceLog
from completion.api import Explanation, Usage
from lsp.acceptance import Offers
from model.api import Feedback
from tests.lsp.test_inline import SUGGESTION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "acceptance.jsonl"


def offers(path: Path) -> Offers:
    made = Offers()
    made.log_to(AcceptanceLog(path))
    made.remember(dataclasses.replace(SUGGESTION, text="secret😀\ntwo"), language_id="python")
    return made


def test_the_engine_hears_counts_by_length_while_there_is_a_log(path: Path):
    told: list[Feedback] = []
    made = Offers(told.append)
    usage = Usage(prompt_tokens=9, cached_tokens=3, completion_tokens=6)
    raw = Explanation(raw="secret😀\ntwo\nthe rest,")  # 22 units
    suggestion = dataclasses.replace(SUGGESTION, text="secret😀\ntwo", usage=usage, explanation=raw)
    made.remember(suggestion, language_id="python")
    made.shown("id-1")
    assert told == []
    made.log_to(AcceptanceLog(path))
    made.remember(dataclasses.replace(suggestion, suggestion_id="id-2"), language_id="python")
    for _ in range(2):
        made.shown("id-2")
        made.partly_accepted("id-2", 4)
        made.accepted("id-2")
    made.log_to(None)
    assert [(one.shown, one.accepted) for one in told] == [(1, 0), (0, 0), (0, 1)]
    assert [one.accepted_tokens for one in told] == pytest.approx([0, 4 * 6 / 22, 8 * 6 / 22])


def written(made: Offers, path: Path) -> list[dict[str, object]]:
    made.log_to(None)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_outcome_is_one_line_without_content(path: Path):
    made = offers(path)
    made.shown("id-1")
    made.partly_accepted("id-1", 3)
    made.partly_accepted("id-1", 8)
    made.accepted("id-1")
    lines = written(made, path)
    assert [(line["outcome"], line["accepted_length"]) for line in lines] == [
        ("shown", 0),
        ("partial", 3),
        ("partial", 8),
        ("accepted", 12),
    ]
    assert {(line["length"], line["lines"], line["language_id"], line["model"]) for line in lines} == {
        (12, 2, "python", "m")
    }
    assert "secret" not in path.read_text()


def test_reports_that_are_repeated_unknown_or_impossible(path: Path):
    made = offers(path)
    for _ in range(2):
        made.shown("id-1")
        made.partly_accepted("id-1", 4)
        made.partly_accepted("id-1", 2)
        made.accepted("id-1")
        made.shown("unknown")
        made.partly_accepted("unknown", 3)
        made.accepted("unknown")
    assert [line["outcome"] for line in written(made, path)] == ["shown", "partial", "accepted"]


def test_more_accepted_than_there_was_counts_as_all(path: Path):
    made = offers(path)
    made.partly_accepted("id-1", 1000)
    assert [line["accepted_length"] for line in written(made, path)] == [12]


def test_old_offers_are_forgotten(path: Path):
    made = offers(path)
    for number in range(300):
        made.remember(dataclasses.replace(SUGGESTION, suggestion_id=f"n{number}"), language_id="c")
    made.accepted("id-1")
    made.accepted("n299")
    assert [line["suggestion_id"] for line in written(made, path)] == ["n299"]


def test_a_suggestion_sent_again_is_shown_once(path: Path):
    made = offers(path)
    made.shown("id-1")
    made.remember(dataclasses.replace(SUGGESTION, text="two"), language_id="python")
    made.shown("id-1")
    made.accepted("id-1")
    assert [(line["outcome"], line["length"]) for line in written(made, path)] == [("shown", 12), ("accepted", 3)]


def test_without_a_log_nothing_is_written(path: Path):
    made = offers(path)
    made.log_to(None)
    made.shown("id-1")
    assert not path.exists()

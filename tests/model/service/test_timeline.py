"""What the engine remembers of single generations, and what it says was saved."""

from __future__ import annotations

from typing import Any

import pytest

from model.service.timeline import BULK_TOKENS, Entry, Timeline


def timeline(*entries: dict[str, Any], kept: int = 240) -> Timeline:
    made = Timeline(kept=kept)
    for number, fields in enumerate(entries, 1):
        made.add(Entry(**{"number": number, "ended_s": 0.0, "outcome": "ok", **fields}))
    return made


def test_only_the_last_are_kept_but_sums_go_on():
    made = timeline(*({"outcome": "cancelled", "generated_tokens": 1, "limit_tokens": 3} for _ in range(5)), kept=2)
    assert [entry.number for entry in made.after(0)] == [4, 5]
    assert [entry.number for entry in made.after(4)] == [5]
    assert (made.latest, made.unwritten_tokens) == (5, 10)


@pytest.mark.parametrize(
    ("times", "share", "expected"),
    [
        ([], 0.5, None),
        ([None], 0.5, None),
        ([30.0], 0.95, 30.0),
        ([40.0, 10.0, None, 30.0, 20.0], 0.5, 20.0),
        ([float(ms) for ms in range(1, 101)], 0.95, 95.0),
    ],
)
def test_shares_of_the_time_to_the_first_token(times: list[float | None], share: float, expected: float | None):
    assert timeline(*({"first_token_ms": one} for one in times)).first_token_ms(share) == expected


@pytest.mark.parametrize(
    ("outcome", "generated", "limit", "unwritten"),
    [
        ("cancelled", 4, 64, 60),
        ("ok", 4, 64, 0),  # it ended by itself
        ("cancelled", 0, 64, 0),  # its reader went before anything came
        ("cancelled", 4, None, 0),
        ("error", 4, 64, 0),
    ],
)
def test_what_was_not_written(outcome: str, generated: int, limit: int | None, unwritten: int):
    made = timeline({"outcome": outcome, "generated_tokens": generated, "limit_tokens": limit})
    assert made.unwritten_tokens == unwritten


def test_saved_reading_goes_by_the_speed_of_longer_prompts():
    short = {"prompt_tokens": 100, "cached_tokens": 99, "prefill_ms": 50.0}
    assert timeline(short).saved_reading_s is None
    long = {"prompt_tokens": 10 * BULK_TOKENS, "prefill_ms": 20.0 * BULK_TOKENS}
    assert timeline(long, short).saved_reading_s == pytest.approx(99 * 2 / 1000)


def test_saved_writing_goes_by_the_speed_of_writing():
    closed = {"outcome": "cancelled", "generated_tokens": 5, "decode_ms": 100.0, "limit_tokens": 25}
    assert timeline(closed).saved_writing_s == pytest.approx(20 * 0.02)
    assert timeline({"generated_tokens": 5}).saved_writing_s is None

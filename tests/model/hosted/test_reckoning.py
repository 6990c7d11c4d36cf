"""Waiting times and costs: pure numbers."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model.api import Usage
from model.errors import UsageError
from model.hosted.accounting import Ledger, Price, read_prices, read_totals
from model.hosted.limits import Limits, delay_s, retry_after_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USAGE = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=50)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=NOW) == seconds


@pytest.mark.parametrize(
    ("attempt", "asked_s", "chance", "seconds"),
    [(0, None, 0.0, 0.5), (1, None, 0.0, 1.0), (2, None, 1.0, 1.0), (2, 4.0, 0.0, 4.0)],
)
def test_delay(attempt: int, asked_s: float | None, chance: float, seconds: float) -> None:
    assert delay_s(Limits(), attempt, asked_s, chance=lambda: chance) == seconds


def test_cost() -> None:
    assert Price(input=2.0, output=10.0, cached=0.5).cost(USAGE) == pytest.approx((600 * 2 + 400 * 0.5 + 500) / 1e6)
    assert Price(input=2.0, output=10.0).cost(USAGE) == pytest.approx((2000 + 500) / 1e6)


def test_prices_are_the_users(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    assert read_prices(path) == {}
    path.write_text('{"mistral:m": {"input": 1, "output": 2, "currency": "EUR"}}')
    assert read_prices(path) == {"mistral:m": Price(input=1, output=2, currency="EUR")}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": "1", "output": 1}}',
    ],
)
def test_a_table_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"prices\.json"):
        read_prices(path)


def test_the_ledger_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "state" / "usage.jsonl"
    ledger = Ledger(path, {"a": Price(input=1.0, output=1.0)})
    assert str(read_totals(path)) == "0 requests, 0 tokens"
    for model in ("a", "a", "b"):
        ledger.record(model=model, host="h", end="stop", usage=USAGE, estimated=False)
    with path.open("a") as file:
        file.write("not ours\n")
    for totals in (ledger.totals, read_totals(path)):
        assert str(totals) == "3 requests, 3150 tokens, 0.0021 USD, 1 without a price"
    first = json.loads(path.read_text().splitlines()[0])
    assert first["cost"] == pytest.approx(0.00105)
    assert set(first) == {
        "time", "model", "host", "end", "prompt_tokens", "cached_tokens", "completion_tokens", "estimated", "cost",
        "currency",
    }  # fmt: skip
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_a_ledger_that_cannot_be_written_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "usage.jsonl", {})
    ledger.record(model="a", host="h", end="stop", usage=USAGE, estimated=False)
    assert ledger.totals.requests == 1
    assert "cannot be written" in caplog.text

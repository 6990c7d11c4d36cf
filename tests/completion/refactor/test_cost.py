"""What tokens cost: by the user's prices, nothing on one's own machine, and unknown otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from completion.refactor.calls import AddDocstring, Decline, Generate
from completion.refactor.cost import added, tariff_of
from completion.refactor.plan import Filled, Fixed, Hole, Look, Plan
from completion.refactor.session import Session, Unit
from completion.refactor.wish import Wish
from completion.settings import CompletionSettings
from model.api import Usage
from model.errors import UsageError
from model.hosted.accounting import prices_path

USAGE = Usage(prompt_tokens=1_500_000, cached_tokens=500_000, completion_tokens=250_000)
SERVER = "https://llm.example.org/v1"
PRICES = {
    "mistral:codestral-latest": {"input": 0.5, "output": 2.0, "cached": 0.1, "currency": "EUR"},
    SERVER: {"input": 1.0, "output": 0.0},
}


@pytest.fixture(autouse=True)
def _prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path / "home"))
    prices_path().parent.mkdir(parents=True)
    prices_path().write_text(json.dumps(PRICES))


@pytest.mark.parametrize(
    ("settings", "cost", "shown"),
    [
        (CompletionSettings(), 0.0, "local"),
        (CompletionSettings(model="/models/mine"), 0.0, "local"),
        (CompletionSettings(engine_url="unix:/run/engine.sock"), 0.0, "local"),
        (CompletionSettings(model="mistral:codestral-latest"), 1.05, "1.0500 EUR"),
        (CompletionSettings(model="mistral:other"), None, "price unknown"),
        (CompletionSettings(engine_url=SERVER), 1.5, "1.5000 USD"),
        (CompletionSettings(engine_url="https://other.example.org"), None, "price unknown"),
        (CompletionSettings(model="http://127.0.0.1:8000"), None, "price unknown"),
    ],
)
def test_costs(settings: CompletionSettings, cost: float | None, shown: str) -> None:
    tariff = tariff_of(settings)
    assert tariff.cost(USAGE) == pytest.approx(cost)
    assert tariff.shown(tariff.cost(USAGE)) == shown


def test_a_sum_with_something_unknown_is_unknown() -> None:
    assert added(1.0, 0.5) == 1.5
    assert added(None, 1.0) is added(1.0, None) is None


def test_a_table_that_cannot_be_read() -> None:
    prices_path().write_text("{")
    with pytest.raises(UsageError, match="no table of prices"):
        tariff_of(CompletionSettings())


async def test_a_report_tells_the_cost(tmp_path: Path) -> None:
    class Asked:
        async def plan(self, wish: Wish, look: Look) -> Plan:
            return Plan(calls=(Decline(reason="No."),), prompt_tokens=1000, cached_tokens=400, completion_tokens=50)

    tariff = tariff_of(CompletionSettings(model="mistral:codestral-latest"))
    told = (await Session(tmp_path, Asked(), tariff=tariff).run(Unit(), "x")).as_json()
    assert (told["cost"], told["currency"]) == (pytest.approx(0.00044), "EUR")
    unknown = tariff_of(CompletionSettings(model="mistral:other"))
    told = (await Session(tmp_path, Asked(), tariff=unknown).run(Unit(), "x")).as_json()
    assert (told["cost"], told["currency"]) == (None, None)


async def test_what_is_written_into_holes_is_counted(tmp_path: Path) -> None:
    def fill(hole: Hole) -> Filled:
        usage = Usage(prompt_tokens=100, cached_tokens=0, completion_tokens=7)
        return Filled(text="Adds." if hole.prefix.endswith('"') else "x = 1", usage=usage)

    (tmp_path / "a.py").write_text("def add(a, b):\n    return a + b\n")
    planner = Fixed((AddDocstring(symbol="add"), Generate(path="a.py", after_line=0, instruction="a constant")))
    tariff = tariff_of(CompletionSettings(model="mistral:codestral-latest"))
    report = await Session(tmp_path, planner, fill=fill, tariff=tariff).run(Unit(path="a.py"), "x")
    assert report.status == "changed", report.reason
    assert (report.prompt_tokens, report.completion_tokens) == (200, 14)
    assert report.cost == pytest.approx(tariff.cost(Usage(prompt_tokens=200, cached_tokens=0, completion_tokens=14)))

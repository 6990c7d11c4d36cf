"""What hosted models were asked for and what it cost: counts and prices, never text. Knows no HTTP.

Prices are the user's data: providers change them, so none is built in.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from model.api import Usage
from model.errors import UsageError
from model.paths import config_dir, state_dir

_MILLION = 1_000_000
_HOW = (
    'Write {"mistral:codestral-latest": {"input": 0.3, "output": 0.9, "cached": 0.03, "currency": "USD"}}, '
    "prices for a million tokens."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money for a million tokens. `cached`: of the prompt's tokens that the provider knew; None: as any other."""

    input: float
    output: float
    cached: float | None = None
    currency: str = "USD"

    def cost(self, usage: Usage) -> float:
        """What one request costs."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.input + usage.cached_tokens * cached + usage.completion_tokens * self.output) / _MILLION


def prices_path() -> Path:
    """Where the user keeps prices."""
    return config_dir() / "prices.json"


def ledger_path() -> Path:
    """One line for each request."""
    return state_dir() / "hosted-usage.jsonl"


def read_prices(path: Path) -> Mapping[str, Price]:
    """Prices by model, none where there is no file. Raises `UsageError` for a file that cannot be understood."""
    try:
        raw = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        table = json.loads(raw)
        prices = {name: Price(**fields) for name, fields in table.items()}
        sound = all(_is_price(price) for price in prices.values())
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no table of prices: {error}.", hint=_HOW) from error
    if not sound:
        raise UsageError(f"{path} has a price that is no number, or less than 0.", hint=_HOW)
    return prices


def _is_price(price: Price) -> bool:
    values = [value for value in (price.input, price.output, price.cached) if value is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request. `estimated`: it was left before the provider told the counts. `cost` None: no price is known."""

    time: str
    model: str
    host: str
    end: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    estimated: bool
    cost: float | None
    currency: str | None


@dataclass(slots=True)
class Totals:
    """Sums over entries; `costs` by currency, and how many requests had no price."""

    requests: int = 0
    tokens: int = 0
    unpriced: int = 0
    costs: dict[str, float] | None = None

    def add(self, entry: Entry) -> None:
        """Count one request more."""
        self.requests += 1
        self.tokens += entry.prompt_tokens + entry.completion_tokens
        if entry.cost is None or entry.currency is None:
            self.unpriced += 1
            return
        self.costs = self.costs or {}
        self.costs[entry.currency] = self.costs.get(entry.currency, 0.0) + entry.cost

    def __str__(self) -> str:
        costs = [f"{cost:.4f} {currency}" for currency, cost in sorted((self.costs or {}).items())]
        unpriced = [f"{self.unpriced} without a price"] if self.unpriced else []
        return ", ".join((f"{self.requests} requests, {self.tokens} tokens", *costs, *unpriced))


class Ledger:
    """Appends entries to a file, readable by this user alone, and adds up what this process asked for."""

    def __init__(self, path: Path, prices: Mapping[str, Price]) -> None:
        self._path = path
        self._prices = prices
        self.totals = Totals()

    def record(self, *, model: str, host: str, end: str, usage: Usage, estimated: bool) -> Entry:
        """Note one request. A ledger that cannot be written is logged, and fails no request."""
        price = self._prices.get(model)
        entry = Entry(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            model=model,
            host=host,
            end=end,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            estimated=estimated,
            cost=None if price is None else price.cost(usage),
            currency=None if price is None else price.currency,
        )
        self.totals.add(entry)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps(asdict(entry)).encode() + b"\n"
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            logger.warning("the usage ledger %s cannot be written: %s", self._path, error)
        return entry


def read_totals(path: Path) -> Totals:
    """Sums over a whole ledger; lines of other versions are left out."""
    totals = Totals()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return totals
    for line in lines:
        try:
            totals.add(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            logger.info("a line of %s is none of ours", path)
    return totals

"""What a run's tokens cost: by the price that the user gave for the model, or nothing where it runs here.

Prices are those of `model.hosted.accounting`, by the model's name there, or by the server's URL. Knows no requests:
what the engine's ledger has of them is exact, this is the sum of what planning, and filling holes, told.
"""

from __future__ import annotations

from dataclasses import dataclass

from completion.settings import CompletionSettings
from model.api import Usage
from model.hosted.accounting import Price, prices_path, read_prices
from model.hosted.address import is_hosted, parse_hosted

_REMOTE = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """`own`: the model runs here, and costs nothing. `price` None: the user gave none."""

    own: bool = True
    price: Price | None = None

    @property
    def currency(self) -> str | None:
        """The price's currency; None without a price."""
        return None if self.price is None else self.price.currency

    def cost(self, usage: Usage) -> float | None:
        """What some tokens cost; None where nobody knows."""
        if self.price is not None:
            return self.price.cost(usage)
        return 0.0 if self.own else None

    def shown(self, cost: float | None) -> str:
        """A sum for people."""
        if self.price is not None and cost is not None:
            return f"{cost:.4f} {self.price.currency}"
        return "local" if self.own else "price unknown"


def tariff_of(settings: CompletionSettings) -> Tariff:
    """The tariff of what the settings name. Raises `UsageError` for a table of prices that cannot be understood."""
    if settings.engine_url is not None:
        name, own = settings.engine_url, not settings.engine_url.startswith(_REMOTE)
    elif is_hosted(settings.model):
        name, own = parse_hosted(settings.model).name, False
    else:
        name, own = settings.model, not settings.model.startswith(_REMOTE)
    return Tariff(own=own, price=read_prices(prices_path()).get(name))


def total(*usages: Usage) -> Usage:
    """What several requests took together."""
    return Usage(
        prompt_tokens=sum(one.prompt_tokens for one in usages),
        cached_tokens=sum(one.cached_tokens for one in usages),
        completion_tokens=sum(one.completion_tokens for one in usages),
    )


def added(one: float | None, other: float | None) -> float | None:
    """A sum; None where a part of it is not known."""
    return None if one is None or other is None else one + other

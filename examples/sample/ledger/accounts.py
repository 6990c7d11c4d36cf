"""Accounts: where money comes from and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ledger.money import Money


class AccountKind(Enum):
    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"


@dataclass
class Account:
    """A named account with a running balance."""

    name: str
    kind: AccountKind
    balance: Money = field(default_factory=lambda: Money.of(0))

    def debit(self, amount: Money) -> None:
        """Assets and expenses grow by a debit, the others shrink."""
        if self.kind in (AccountKind.ASSET, AccountKind.EXPENSE):
            self.balance = self.balance + amount
        else:
            self.balance = self.balance - amount

    def credit(self, amount: Money) -> None:
        """The mirror image of a debit."""
        self.debit(-amount)

    def is_overdrawn(self) -> bool:
        return self.kind is AccountKind.ASSET and self.balance < Money.of(0)

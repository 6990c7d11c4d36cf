"""Reports: what the books say, in words and columns."""

from __future__ import annotations

from ledger.accounts import Account, AccountKind
from ledger.money import Money, total


def balance_sheet(accounts: list[Account]) -> dict[AccountKind, Money]:
    """The sum of the balances of each kind of account."""
    return {
        kind: total([account.balance for account in accounts if account.kind is kind])
        for kind in AccountKind
    }


def profit(accounts: list[Account]) -> Money:
    """Income less expenses."""
    sheet = balance_sheet(accounts)
    return sheet[AccountKind.INCOME] - sheet[AccountKind.EXPENSE]


def render(accounts: list[Account]) -> str:
    """A plain table, one account a line."""
    width = max(len(account.name) for account in accounts)
    lines = []
    for account in accounts:
        lines.append(f"{account.name:<{width}}  {account.balance}")
    return "\n".join(lines)

"""The journal: every movement of money, in the order in which it happened."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ledger.accounts import Account
from ledger.money import Money, total


@dataclass(frozen=True)
class Entry:
    """One movement: `amount` leaves `credit` and arrives at `debit`."""

    date: dt.date
    text: str
    debit: Account
    credit: Account
    amount: Money


@dataclass
class Journal:
    entries: list[Entry] = field(default_factory=list)

    def post(self, entry: Entry) -> None:
        """Book an entry on both of its accounts."""
        entry.debit.debit(entry.amount)
        entry.credit.credit(entry.amount)
        self.entries.append(entry)

    def between(self, start: dt.date, end: dt.date) -> Iterator[Entry]:
        """Entries from `start` to `end`, both included."""
        for entry in self.entries:
            if start <= entry.date <= end:
                yield entry

    def turnover(self, account: Account) -> Money:
        """Everything that was debited to an account."""
        return total([entry.amount for entry in self.entries if entry.debit is account])

    def save(self, path: Path) -> None:
        """Write the journal as CSV."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["date", "text", "debit", "credit", "amount"])
            for entry in self.entries:
                writer.writerow([entry.date, entry.text, entry.debit.name, entry.credit.name, entry.amount])

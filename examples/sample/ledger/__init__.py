"""A small double-entry ledger."""

from ledger.accounts import Account, AccountKind
from ledger.journal import Entry, Journal
from ledger.money import Money

__all__ = ["Account", "AccountKind", "Entry", "Journal", "Money"]

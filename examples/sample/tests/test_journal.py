import datetime as dt

from ledger import Account, AccountKind, Entry, Journal, Money


def test_an_entry_moves_money_between_accounts() -> None:
    bank = Account("bank", AccountKind.ASSET)
    rent = Account("rent", AccountKind.EXPENSE)
    journal = Journal()
    journal.post(Entry(dt.date(2026, 1, 31), "January", rent, bank, Money.of(800)))
    assert rent.balance == Money.of(800)
    assert bank.balance == Money.of(-800)
    assert bank.is_overdrawn()

"""The bank's own books: what the database itself refuses, whatever the code above it does."""

import sqlite3

import pytest

from sandbox_bank.bank import Bank
from sandbox_bank.books import _SCHEMA, Books
from tests.sandbox_bank.conftest import MONDAY
from tests.sandbox_bank.samples import HERE, Pay, bank_file


def test_a_message_is_taken_once_even_if_nobody_looked_first(counter):
    counter.pay(Pay("E1", "10.00"))
    with pytest.raises(sqlite3.IntegrityError):
        counter.bank.books.insert(
            "files", name="x", sha256="", processed_name="x", msg_id="M1", state="taken", created_at=None
        )


def test_who_is_inside_a_transaction_is_alone(counter):
    other = Books(counter.folder / "bank.sqlite3")
    other.db.execute("PRAGMA busy_timeout = 0")
    with (
        counter.bank.books.transaction(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
        other.transaction(),
    ):
        pass
    other.close()


def test_a_transaction_that_fails_leaves_nothing(counter):
    with pytest.raises(sqlite3.IntegrityError):
        fail_half_way(counter.bank.books)
    assert counter.cents() == 100_000


def fail_half_way(books):
    with books.transaction():
        fee = {"currency": "EUR", "direction": "DBIT", "booking_date": "2026-11-23", "text": "x"}
        books.book("fee", amount_micros=1, **fee)
        books.book("fee", amount_micros=0, **fee)


def test_every_commit_waits_for_the_disk(counter):
    assert counter.bank.books.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert counter.bank.books.db.execute("PRAGMA synchronous").fetchone()[0] == 2


@pytest.mark.parametrize(
    ("column", "value"), [("amount_micros", 0), ("amount_micros", -1), ("direction", "UP"), ("against", "thin air")]
)
def test_an_entry_that_makes_no_sense_cannot_be_booked(counter, column, value):
    entry = {
        "currency": "EUR", "direction": "DBIT", "amount_micros": 1, "kind": "fee", "against": "fee-income",
        "booking_date": "2026-11-23", "ref": "X", "text": "x",
    }  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError):
        counter.bank.books.insert("entries", **{**entry, column: value})


def test_the_other_side_of_every_entry_is_on_the_bank_s_own_accounts(counter):
    counter.bank.misbehave("return", end_to_end_id="E1", reason="AC04")
    counter.send(bank_file(Pay("E1", "10.00"), Pay("E2", "5.00")))
    counter.work()
    counter.work()
    counter.bank.pay_in("2.00", "EUR", name="Alice")
    sides = dict(
        counter.bank.books.db.execute(
            "SELECT against, SUM(amount_micros * CASE direction WHEN 'DBIT' THEN 1 ELSE -1 END) FROM entries"
            " WHERE currency = 'EUR' GROUP BY against"
        ).fetchall()
    )
    assert sides == {"capital": -1_000_000_000, "clearing": 3_000_000, "fee-income": 760_000}
    assert counter.bank.balance("EUR") + sum(sides.values()) == 0
    counter.work()


def test_a_folder_of_an_earlier_version_is_taken_over(tmp_path):
    db = sqlite3.connect(tmp_path / "bank.sqlite3")
    db.executescript(_SCHEMA)
    db.execute("INSERT INTO settings (id, iban, name) VALUES (1, ?, 'Obole')", (HERE,))
    db.execute("INSERT INTO accounts (currency, stated_micros, stated_on) VALUES ('EUR', 0, '2026-11-20')")
    db.commit()
    db.close()
    (tmp_path / "bank.sqlite3").chmod(0o600)  # as the refusal asks for
    bank = Bank(tmp_path)
    bank.pay_in("10.00", "EUR", name="Alice", today=MONDAY)
    assert [name[11:] for name in bank.work(MONDAY).answers] == ["camt.053.EUR.xml"]
    bank.close()

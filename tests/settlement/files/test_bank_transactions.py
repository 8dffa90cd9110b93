"""A payment's life: along its transitions only, and each kind's money has somewhere to go."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from settlement.files import bank_transactions
from settlement.tables import (
    TRANSITIONS,
    TransactionKind,
    TransactionState,
    bank_messages,
    breaks,
    own_payments,
    statement_entries,
    statements,
)
from settlement.tables import bank_transactions as transactions
from tests.books import Books
from tests.support import MERCHANT_IBAN, OPERATOR_IBAN
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.ids import new_id
from wallet.tables.books import AccountKind, Reason

A_PAYMENT = """
    merchant bakery
    top_up   alice  10.00
    buy      alice  bakery 1.07 v1
    night
"""


@pytest.mark.parametrize("old", list(TransactionState))
def test_a_payment_moves_along_its_transitions_and_no_other_way(books: Books, old: TransactionState) -> None:
    books.run(A_PAYMENT)
    for new in TransactionState:
        books.sql(f"UPDATE bank_transactions SET state = '{old.value}'")
        with books.database.settle() as conn:
            moved = bank_transactions.move(conn, books.transaction("bakery"), new, books.at, detail="why")
        assert moved == (new in TRANSITIONS[old])
        assert books.transaction("bakery").state == (new if moved else old)


def test_of_two_words_about_one_payment_one_decides(books: Books) -> None:
    books.run(A_PAYMENT)
    row = books.transaction("bakery")
    with books.database.settle() as conn:
        assert bank_transactions.move(conn, row, TransactionState.REJECTED, books.at, detail="AC04")
        assert not bank_transactions.move(conn, row, TransactionState.BOOKED, books.at, detail=None)
    assert books.state("bakery") == "rejected AC04"


def test_a_payment_is_found_by_its_id_and_by_no_other(books: Books) -> None:
    books.run(A_PAYMENT)
    row = books.transaction("bakery")
    with books.database.settle() as conn:
        found = bank_transactions.by_end_to_end_id(conn, row.end_to_end_id, at=books.at)
        assert found is not None
        assert found.id == row.id
        assert bank_transactions.by_end_to_end_id(conn, "of another house", at=books.at) is None
        assert bank_transactions.by_end_to_end_id(conn, None, at=books.at) is None


def test_each_kind_of_payment_knows_where_its_money_goes() -> None:
    for reasons, end in ((bank_transactions.BOOKED, "booked"), (bank_transactions.REJECTED, "rejected")):
        assert {kind: f"{kind}_{end}" for kind in TransactionKind} == reasons
    assert {kind: f"{kind}_returned" for kind in TransactionKind if kind is not TransactionKind.SENT_BACK} == (
        bank_transactions.RETURNED
    )


def test_every_state_in_which_the_bank_has_it_is_one_that_a_statement_decides() -> None:
    decided_by_a_statement = {old for old, following in TRANSITIONS.items() if TransactionState.BOOKED in following}
    assert set(bank_transactions.AT_THE_BANK) == decided_by_a_statement
    assert set(bank_transactions.WAITS_FOR_A_PERSON) < decided_by_a_statement


@pytest.mark.parametrize("kind", ["equity", "income"])
def test_the_operators_own_money_goes_back_where_it_came_from(books: Books, kind: str) -> None:
    books.run(A_PAYMENT)
    account = {"equity": AccountKind.EQUITY, "income": AccountKind.FEE_INCOME}[kind]
    before = books.balance(account, "EUR")
    payment = own_payment(books, kind)
    assert books.balance(account, "EUR") != before
    with books.database.settle() as conn:
        assert bank_transactions.reject(conn, by_id(books, payment), books.at, detail="AC04")
        assert not bank_transactions.reject(conn, by_id(books, payment), books.at, detail="AC04")
    assert books.balance(account, "EUR") == before
    books.run("transit -> 1.07")


def test_what_could_not_be_sent_back_is_unexplained_again_however_often(books: Books) -> None:
    books.run(A_PAYMENT)
    entry = an_entry(books)
    for reason in ("AC04", "RC01"):
        books.sql("UPDATE statement_entries SET match = 'sent_back'")
        books.sql("UPDATE breaks SET resolved_at = opened_at, resolution = 'sent_back: again'")
        payment = own_payment(books, "sent_back", entry)
        books.run("at_bank -> 3.00\n transit -> 4.07\n breaks -> none")
        with books.database.settle() as conn:
            assert bank_transactions.reject(conn, by_id(books, payment), books.at, detail=reason)
        # What the bank has and the books have not is exactly the open break.
        books.run("at_bank -> 0.00\n transit -> 1.07\n breaks -> not_sent_back 3.00")
        with books.database.read() as conn:
            (row,) = conn.execute(select(breaks)).all()
            match = conn.execute(select(statement_entries.c.match)).scalar_one()
        assert (row.bank_transaction_id, row.detail, row.resolution) == (payment, f"Not sent back: {reason}", None)
        assert match == "break"


def by_id(books: Books, payment: UUID) -> Any:
    (row,) = [row for row in books.transactions() if row.id == payment]
    return row


def own_payment(books: Books, kind: str, entry: UUID | None = None) -> UUID:
    """A payment of 3.00 of the operator's, as its own run would have cut and sent it."""
    payment, file = new_id(), books.last_file()
    whom = {"currency": "EUR", "amount_micros": 3_000_000, "creditor_name": "Obole", "creditor_iban": MERCHANT_IBAN}
    taken = Reason.SENT_BACK if kind == "sent_back" else Reason(f"{kind}_taken")
    position = len(books.transactions())
    with books.database.settle() as conn:
        asked = {"id": payment, "kind": kind, "entry_id": entry, "why": "test", "requested_at": books.at}
        conn.execute(own_payments.insert().values(**asked, **whom))
        conn.execute(
            transactions.insert().values(
                id=payment,
                kind=kind,
                run_id=file.run_id,
                end_to_end_id=payment.hex,
                reference=payment.hex[:25],
                state="submitted",
                state_since=books.at,
                message_id=file.message_id,
                position=position,
                **whom,
            )
        )
        posting = Posting(reason=taken, currency="EUR", amount_micros=3_000_000, reference=payment)
        ledger.post(conn, posting, recorded_at=books.at)
    return payment


def an_entry(books: Books) -> UUID:
    """Money that came in and nobody could explain."""
    message, statement, entry = new_id(), new_id(), new_id()
    with books.database.settle() as conn:
        facts = {"kind": "camt.053", "message_id": "S1", "sha256": "0" * 64, "content": b"", "imported_at": books.at}
        conn.execute(bank_messages.insert().values(id=message, **facts))
        account = {"account_iban": OPERATOR_IBAN, "currency": "EUR", "position": 1}
        told = {"id": statement, "bank_message_id": message, "kind": "camt.053", "statement_id": "S1"}
        conn.execute(statements.insert().values(**told, **account))
        conn.execute(
            statement_entries.insert().values(
                id=entry,
                statement_id=statement,
                booked_in=statement,
                entry_index=0,
                detail_index=0,
                amount_micros=3_000_000,
                is_reversal=False,
                text="",
                bank_code="PMNT/RCDT/ESCT",
                match="break",
                **account,
            )
        )
    return entry

"""A payment's life: along its transitions only, and each kind's money has somewhere to go."""

import pytest

from settlement import bank_transactions
from settlement.models import TRANSITIONS, TransactionState
from tests.books import Books

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

"""Quarantine: a message that could not be read waits with its reason until somebody has dealt with it."""

from pathlib import Path
from typing import Any

import pytest

from settlement import scheduler
from settlement.answers import quarantine
from settlement.bank.directory import Directory
from settlement.payouts.retries import waiting_for_a_person
from tests.books import Books
from wallet.ground.errors import NotFound
from wallet.ground.ids import new_id

GARBLED = b"<not-a-message/>"


def put(books: Books, content: bytes = GARBLED, name: str = "1.xml") -> bool:
    with books.database.write() as conn:
        return quarantine.put(conn, name=name, content=content, reason="It is garbled.", at=books.at)


def waiting(books: Books) -> list[Any]:
    with books.database.read() as conn:
        return list(quarantine.listing(conn))


def test_the_scheduler_keeps_what_it_cannot_read_once(books: Books, tmp_path: Path) -> None:
    inbox = tmp_path / "bank" / "inbox"
    for _ in range(2):
        # A kill between keeping it and putting it away: it is still in the inbox.
        (inbox / "1-garbled.xml").write_bytes(GARBLED)
        assert scheduler.collect(books.database, books.bank)["refused"] == 1
    (message,) = waiting(books)
    assert message.name == "1-garbled.xml"
    assert message.reason
    with books.database.read() as conn:
        assert quarantine.find(conn, message.id).content == GARBLED
        with pytest.raises(NotFound):
            quarantine.find(conn, new_id())


def test_names_and_reasons_of_any_bytes_and_length_are_kept(books: Books) -> None:
    assert put(books, name="a\udcff\0" + "b" * 300)
    (message,) = waiting(books)
    assert (message.name[:3], len(message.name)) == ("a??", 255)


def test_dismissing_says_what_became_of_it(books: Books) -> None:
    put(books)
    (message,) = waiting(books)
    with books.database.write() as conn:
        quarantine.dismiss(conn, message.id, "the bank sent it by mistake", at=books.at)
        with pytest.raises(NotFound):
            quarantine.dismiss(conn, message.id, "again", at=books.at)
    assert waiting(books) == []
    assert not put(books)  # the same bytes again are known
    assert waiting(books) == []
    with books.database.read() as conn:
        assert quarantine.find(conn, message.id).resolution == "the bank sent it by mistake"


def test_the_listing_tells_a_size_and_holds_no_bytes(books: Books) -> None:
    put(books, b"x" * 60_000)
    (message,) = waiting(books)
    assert message.size == 60_000
    assert "content" not in message._fields


def test_merchants_whose_account_the_bank_refused_until_they_have_another(books: Books) -> None:
    assert isinstance(books.bank.connector, Directory)
    books.run("""
        merchant bakery
        merchant press
        top_up   alice 9.00
        buy      alice bakery 1.00
        buy      alice press 2.00
        night
        rejects  AC04 bakery
        rejects  AM09 press
    """)

    def refused() -> list[tuple[str, str]]:
        with books.database.read() as conn:
            return [(row.legal_name, row.state_detail) for row in waiting_for_a_person(conn)]

    assert refused() == [("Bakery", "AC04")]
    books.new_iban("bakery")
    assert refused() == []

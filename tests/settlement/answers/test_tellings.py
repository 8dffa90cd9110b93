"""Tellings: each word of the bank says what became of it, and a fact is shown with every word about it."""

import datetime as dt
from typing import Any

import pytest

from settlement.answers import breaks, tellings
from settlement.answers.breaks import Part
from settlement.answers.tellings import Telling
from tests.books import Books, camt, entry
from tests.support import SHOPPER_IBAN
from wallet.ground.errors import NotFound
from wallet.ground.ids import new_id


@pytest.fixture
def town(books: Books) -> Books:
    books.run(
        "merchant bakery\n top_up alice 20.00\n announce alice 5.00\n shopper bob\n buy alice bakery 1.07\n night"
    )
    return books


def read(books: Books, verb: Any, *words: Any, **options: Any) -> Any:
    with books.database.read() as conn:
        return verb(conn, *words, **options)


def newest(books: Books) -> list[Telling]:
    (last,) = read(books, tellings.messages, before=None, limit=1)
    return list(read(books, tellings.entries, last.id, after=None, limit=99))


def resolve(books: Books, verb: Any, **more: Any) -> Any:
    (found,) = read(books, breaks.listing, closed=False, before=None, limit=9)
    with books.database.settle() as conn:
        return verb(conn, found.id, why="asked", at=books.at, **more)


def test_each_entry_of_a_message_says_what_became_of_it(town: Books) -> None:
    town.statement("-bakery", "fee=0.38", "+5.00/alice", "+9.00/Thanks")
    paid, fee, top_up, unknown = newest(town)
    assert [each.became.value for each in (paid, fee, top_up, unknown)] == [
        "payout_booked",
        "bank_fee",
        "top_up",
        "break",
    ]
    assert paid.payment is not None
    assert paid.payment.merchant_id == town.ids["bakery"]
    assert [(owner.name, micros) for owner, micros in top_up.shares] == [("alice", 5_000_000)]
    assert unknown.found is not None
    assert (unknown.found.kind, unknown.shares, unknown.first) == ("unknown_entry", (), None)
    assert (unknown.word.kind, unknown.word.text) == ("camt.053", "Thanks")


def test_what_a_person_made_of_an_entry_is_told_with_it(town: Books) -> None:
    town.statement("+9.00/Thanks%Erika")
    parts = [Part(amount_micros=8_000_000, purse_id=town.ids["bob"])]
    resolve(town, breaks.split, parts=[*parts, Part(amount_micros=1_000_000, merchant_id=town.ids["bakery"])])
    (split,) = newest(town)
    assert [(owner.name, micros) for owner, micros in split.shares] == [("bob", 8_000_000), ("Bakery", 1_000_000)]
    assert split.found is not None
    assert split.found.resolution == "split: asked"
    town.statement("+4.00/who_knows%Erika")
    town.ids["back"], town.currencies["back"] = resolve(town, breaks.send_back), "EUR"
    (sent,) = newest(town)
    assert sent.sent_back is not None
    assert (sent.became.value, sent.sent_back.creditor_iban, sent.sent_back.state) == ("sent_back", SHOPPER_IBAN, None)
    town.run("night\n rejects AC04 back")
    again = read(town, tellings.of_the_same, sent.id)[0]
    assert (again.became.value, again.found.kind, again.sent_back.state) == ("break", "not_sent_back", "rejected")


def test_a_fact_is_shown_with_every_word_about_it(town: Books) -> None:
    town.notify("+5.00/alice")
    town.statement("+5.00/alice")
    (again,) = newest(town)
    assert again.became.value == "paired"
    assert again.first is not None
    assert (again.first.kind, again.word.kind) == ("camt.054", "camt.053")
    for any_of_them in (again.id, again.first.id):
        told = read(town, tellings.of_the_same, any_of_them)
        assert [(each.word.kind, each.became.value) for each in told] == [
            ("camt.054", "top_up"),
            ("camt.053", "paired"),
        ]


def test_a_file_told_as_one_sum_is_known_by_its_name(town: Books) -> None:
    town.statement("batch")
    (whole,) = newest(town)
    assert (whole.became.value, whole.file) == ("payout_booked", town.last_file().message_id)


def test_what_moved_nothing_is_told_too(town: Books) -> None:
    day = town.at.date()
    waiting = [entry("E1", 1_000_000, "EUR", status=status, day=day) for status in ("PDNG", "INFO")]
    town.told(camt("054", "N1", "EUR", {}, waiting, day=day))
    assert [each.became.value for each in newest(town)] == ["pending", "information"]


def test_messages_are_listed_newest_first_with_what_is_in_them(town: Books) -> None:
    town.run("statement -bakery fee=0.38 +9.00/Thanks\n accepts")
    status, statement = read(town, tellings.messages, before=None, limit=9)
    assert [(each.kind, each.entries, each.open_breaks) for each in (status, statement)] == [
        ("pain.002", 0, 0),
        ("camt.053", 3, 1),
    ]
    assert read(town, tellings.messages, before=status.id, limit=9) == [statement]
    assert read(town, tellings.statements_of, status.id) == []
    (told,) = read(town, tellings.statements_of, statement.id)
    assert (told.opening_micros, told.entries_micros, told.standing) == (0, 7_550_000, "new")
    with pytest.raises(NotFound):
        read(town, tellings.message, new_id())


def test_a_long_message_is_shown_page_by_page_over_its_statements(town: Books) -> None:
    town.statement(*(f"fee=0.0{number}" for number in range(1, 6)))
    (message,) = read(town, tellings.messages, before=None, limit=9)
    seen: list[int] = []
    after = None
    while page := read(town, tellings.entries, message.id, after=after, limit=2):
        seen += [each.word.amount_micros for each in page]
        after = page[-1].id
    assert seen == [-10_000, -20_000, -30_000, -40_000, -50_000]
    for verb, words, options in (
        (tellings.entries, [new_id()], {"after": None}),
        (tellings.entries, [message.id], {"after": new_id()}),
    ):
        with pytest.raises(NotFound):
            read(town, verb, *words, limit=9, **options)


def test_early_word_that_was_taken_back_says_whom_it_left(books: Books) -> None:
    books.run("shopper alice\n announce alice 5.00\n notify +5.00/alice")
    (early,) = newest(books)
    books.at += dt.timedelta(days=9)
    books.run("statement fee=0.38")
    resolve(books, breaks.take_back)
    (now,) = read(books, tellings.of_the_same, early.id)
    assert (now.became.value, [micros for _, micros in now.shares]) == ("information", [5_000_000])

"""Audits: each night's proof is kept, and operators hear of a failed one once, with the rows that contradict."""

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from settlement.audit import audits
from settlement.audit.checks import SHOWN
from tests.books import Books
from tests.support import ORIGIN
from wallet.people import identities
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as identities_table
from wallet.tables.telling import mails

MONDAY = dt.date(2026, 11, 23)


@pytest.fixture
def watched(books: Books) -> Books:
    """Books with money in them, and two operators who read different languages; two more are not there any more."""
    books.run("top_up alice 5.00\n top_up bob 3.00")
    person(books, "ada@a.example", "Ada", "en")
    person(books, "bob@a.example", "Bob", "fr")
    person(books, "eve@a.example", "Eve", "en", ended_at=books.at)
    person(books, "dan@a.example", "Dan", "en", activated_at=None)
    return books


def person(books: Books, email: str, name: str, locale: str, **values: Any) -> None:
    with books.database.write() as conn:
        found = identities.add(conn, IdentityKind.OPERATOR, identifier=email, name=name, locale=locale, at=books.at)
        mine = identities_table.c.id == found
        conn.execute(identities_table.update().where(mine).values({"activated_at": books.at} | values))


def prove(books: Books, business_date: dt.date | None = MONDAY) -> list[str]:
    """A night's proof; answers the checks that failed."""
    checks = audits.prove(books.database, origin=ORIGIN, wallet_name="Obole", at=books.at, business_date=business_date)
    books.at += dt.timedelta(days=1)
    return [check.name for check in checks if not check.ok]


def letters(books: Books) -> list[Any]:
    with books.database.read() as conn:
        return list(conn.execute(sa.select(mails).order_by(mails.c.created_at, mails.c.recipient)))


def kept(books: Books) -> list[tuple[dt.date | None, int, list[str]]]:
    """The audits kept, oldest first: business date, failed checks, and the rows named."""
    with books.database.read() as conn:
        return [
            (row.business_date, row.failed, [each.subject for each in audits.findings(conn, row.id)])
            for row in reversed(audits.listing(conn, limit=99))
        ]


def test_a_sound_night_is_kept_and_tells_nobody(watched: Books) -> None:
    assert prove(watched) == []
    assert prove(watched, None) == []
    assert kept(watched) == [(MONDAY, 0, []), (None, 0, [])]
    with watched.database.read() as conn:
        last = audits.latest(conn)
        assert last is not None
        assert last.checks > 30
        assert audits.last_sound_at(conn) == last.audited_at == watched.at - dt.timedelta(days=1)
    assert letters(watched) == []


def test_before_the_first_audit_there_is_none(books: Books) -> None:
    with books.database.read() as conn:
        assert (audits.latest(conn), audits.last_sound_at(conn), audits.listing(conn, limit=9)) == (None, None, [])


def test_a_failed_night_is_told_to_every_operator_in_their_language(watched: Books) -> None:
    watched.sql("UPDATE purses SET balance_micros = balance_micros + 10000")
    assert prove(watched) == ["each purse's balance equals its transfers"]
    purses = {f"purse {watched.ids[name]}" for name in ("alice", "bob")}
    ((date, failed, subjects),) = kept(watched)
    assert (date, failed, set(subjects)) == (MONDAY, 1, purses)
    english, french = letters(watched)
    assert (english.recipient, french.recipient) == ("ada@a.example", "bob@a.example")
    assert english.subject == "The books of Obole do not add up"
    assert french.subject == "Les comptes de Obole ne tombent pas juste"
    for letter in (english, french):
        assert f"purse {watched.ids['alice']}: holds 5.01 EUR; the transfers of its account" in letter.body
        assert f"{ORIGIN}/console/audit" in letter.body


def test_the_same_rows_are_told_once_and_others_anew(watched: Books) -> None:
    alice = watched.ids["alice"].hex
    of_alice = f"WHERE replace(CAST(id AS VARCHAR(36)), '-', '') = '{alice}'"
    watched.sql(f"UPDATE purses SET balance_micros = balance_micros + 1 {of_alice}")
    prove(watched)
    assert len(letters(watched)) == 2
    # Its figures move on from day to day; it is the same finding.
    watched.sql(f"UPDATE purses SET balance_micros = balance_micros + 1 {of_alice}")
    prove(watched)
    assert len(letters(watched)) == 2
    watched.sql("UPDATE purses SET balance_micros = balance_micros + 1")
    prove(watched)
    assert len(letters(watched)) == 4
    watched.sql("UPDATE purses SET balance_micros = balance_micros - 1")
    watched.sql(f"UPDATE purses SET balance_micros = balance_micros - 2 {of_alice}")
    assert prove(watched) == []
    assert len(letters(watched)) == 4
    # What was mended and breaks again is told again.
    watched.sql(f"UPDATE purses SET balance_micros = balance_micros + 1 {of_alice}")
    prove(watched)
    assert len(letters(watched)) == 6
    assert [failed for _, failed, _ in kept(watched)] == [1, 1, 1, 0, 1]


@pytest.mark.only_on("sqlite")
def test_of_many_rows_some_are_kept_and_all_are_counted(watched: Books) -> None:
    for number in range(SHOWN + 3):
        watched.shopper(f"s{number}")
    watched.sql("UPDATE purses SET balance_micros = balance_micros + 1")
    prove(watched)
    with watched.database.read() as conn:
        last = audits.latest(conn)
        assert last is not None
        found = audits.findings(conn, last.id)
    assert len(found) == SHOWN + 1
    assert (found[-1].subject, found[-1].detail) == ("…", "and 5 more")
    body = letters(watched)[0].body
    assert body.count("  purse ") == 5
    assert "  …" in body

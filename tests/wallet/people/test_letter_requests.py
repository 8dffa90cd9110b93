"""Letters that strangers ask for: few for each person, and asking tells nothing."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nacl.pwhash
import pytest
import sqlalchemy as sa

from tests.support import ORIGIN, Shop, hashed, make_settings
from tests.web.pages.reader import Reader
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.people import identities, letter_requests
from wallet.people.letter_requests import Asked
from wallet.tables.people import IdentityKind, LinkPurpose, links
from wallet.tables.people import letter_requests as requests
from wallet.tables.telling import mails

ADDRESS, NOBODY = "ada@shoppers.example", "eve@shoppers.example"
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)
RESET, ACTIVATE = LinkPurpose.RESET, LinkPurpose.ACTIVATE


def add(db: Database, *, at: dt.datetime = NOON, kind: IdentityKind = IdentityKind.SHOPPER) -> Any:
    with db.write() as conn:
        who = identities.add(conn, kind, identifier=ADDRESS, name="Ada", locale="en", at=at)
        identities.set_secret(conn, who, hashed("274951"), at=at)
        return who


def ask(db: Database, purpose: LinkPurpose = RESET, identifier: str = ADDRESS, at: dt.datetime = NOON) -> int:
    """Somebody asks, and the scheduler answers; how many letters there are by now."""
    with db.write() as conn:
        letter_requests.ask(conn, Asked(purpose=purpose, identifier=identifier, name="X"), at=at)
    assert letter_requests.answer(db, origin=ORIGIN, wallet_name="Obole", at=at) == 1
    with db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(mails)).scalar_one()


def test_one_person_gets_few_letters_and_never_is_without_one_that_works(db: Database) -> None:
    add(db)
    at, sent = NOON, 0
    for _ in range(3 * 24 * 6):
        sent = ask(db, at=at)
        with db.read() as conn:
            works = (links.c.ends_at > at) & links.c.used_at.is_(None)
            assert conn.execute(sa.select(sa.func.count()).select_from(links).where(works)).scalar_one() == 1
        at += 10 * MINUTE
    assert sent <= 3 * 24 + 6
    # Those who ask to open a purse do not keep a letter from who forgot a PIN.
    assert ask(db, ACTIVATE, at=at) == sent + 1
    # Three in an hour at most, however they ask.
    at += dt.timedelta(days=2)
    before = ask(db, at=at)
    assert [ask(db, identifier=f" {ADDRESS.upper()}", at=at) - before for _ in range(4)] == [1, 2, 2, 2]
    assert ask(db, at=at + HOUR + MINUTE) == before + 3


def test_nobody_gets_no_letter_and_asking_for_one_leaves_nothing_that_is_kept(db: Database) -> None:
    assert ask(db, identifier=NOBODY) == 0
    assert ask(db, identifier="no address at all \ud800".encode("utf-8", "replace").decode()) == 0
    with db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(links)).scalar_one() == 0


def test_who_is_new_gets_a_link_to_open_a_purse_and_one_that_cannot_be_written_stops_no_other(db: Database) -> None:
    with db.write() as conn:
        letter_requests.ask(conn, Asked(purpose=ACTIVATE, identifier="not an address", name="X"), at=NOON)
        for _ in range(5):
            letter_requests.ask(conn, Asked(purpose=ACTIVATE, identifier=NOBODY, name="Eve", next_path="/x"), at=NOON)
    assert letter_requests.answer(db, origin=ORIGIN, wallet_name="Obole", at=NOON) == 6
    assert letter_requests.answer(db, origin=ORIGIN, wallet_name="Obole", at=NOON) == 0
    with db.read() as conn:
        bodies = conn.execute(sa.select(mails.c.body).order_by(mails.c.id)).scalars().all()
        assert conn.execute(sa.select(sa.func.count()).where(requests.c.sent_at.is_not(None))).scalar_one() == 3
    assert len(bodies) == letter_requests.IN_AN_HOUR
    assert all("/link/" in body and "next=/x" in body for body in bodies)


def test_two_schedulers_write_one_letter(db: Database) -> None:
    add(db)
    with db.write() as conn:
        letter_requests.ask(conn, Asked(purpose=RESET, identifier=ADDRESS), at=NOON)
    with db.read() as conn:
        row = conn.execute(sa.select(requests)).one()
    with db.write() as conn:
        assert letter_requests._claim(conn, row.id, NOON)
        assert not letter_requests._claim(conn, row.id, NOON)


# --- that it tells nothing: the same work, whoever it is about -------------------------------------------------


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as made:
        yield made


def work(shop: Shop, monkeypatch: pytest.MonkeyPatch, path: str, **form: str) -> Counter[str]:
    """What the wallet did to answer a form: every statement, and every look at a secret."""
    done: Counter[str] = Counter()
    reader = Reader(shop)
    reader.get(f"{path}?lang=en")

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        done[statement] += 1

    verify = nacl.pwhash.verify
    with monkeypatch.context() as patch:
        patch.setattr(nacl.pwhash, "verify", lambda *asked: done.update(["verify"]) or verify(*asked))
        sa.event.listen(shop.database.engine, "before_cursor_execute", count)
        try:
            done["status", str(reader.send(path, **form).status_code)] += 1  # type: ignore[index]
        finally:
            sa.event.remove(shop.database.engine, "before_cursor_execute", count)
    return done


@pytest.mark.parametrize(
    ("path", "field", "more"),
    [
        ("/forgot", "identifier", {}),
        ("/sign-up", "email", {"name": "X"}),
        ("/sign-in", "identifier", {"pin": "000111"}),
        ("/merchant/sign-in", "identifier", {"pin": "000111"}),
    ],
)
def test_the_wallet_does_the_same_whether_or_not_there_is_anybody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, path: str, field: str, more: dict[str, str]
) -> None:
    add(shop.database, at=clock.now())
    with shop.database.write() as conn:  # somebody who never opened the letter
        identities.add(conn, IdentityKind.SHOPPER, identifier="new@o.example", name="N", locale="en", at=clock.now())
    work(shop, monkeypatch, path, **{field: "first@o.example", **more})  # what is done once, is done
    known, waiting, unknown = (
        work(shop, monkeypatch, path, **{field: address, **more}) for address in (ADDRESS, "new@o.example", NOBODY)
    )
    assert known == waiting == unknown
    assert sum(known.values()) > 1

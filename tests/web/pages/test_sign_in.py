"""Signing in: nobody guesses at a second factor, nor learns who is here by being locked out."""

import datetime as dt
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support import Shop, hashed
from tests.web.pages.reader import Reader
from wallet.ground import clock
from wallet.people import identities, totp
from wallet.tables.people import IdentityKind, sessions

ADDRESS, PASSPHRASE = "olga@obole.example", "a passphrase of many letters"
HOUR, STEP = dt.timedelta(hours=1), dt.timedelta(seconds=30)
_SECRET = re.compile(r"\b[A-Z2-7]{32}\b")


@pytest.fixture
def operator(shop: Shop) -> Any:
    with shop.database.write() as conn:
        identity = identities.add(
            conn, IdentityKind.OPERATOR, identifier=ADDRESS, name="Olga", locale="en", at=clock.now()
        )
        identities.set_secret(conn, identity, hashed(PASSPHRASE), at=clock.now())
        return identities.find(conn, identity)


def sign(shop: Shop, **form: str) -> TestResponse:
    reader = Reader(shop)
    reader.get("/console/sign-in?lang=en")
    return reader.send("/console/sign-in", **{"identifier": ADDRESS, "pin": PASSPHRASE, **form})


def code(shop: Shop, operator: Any, ahead: dt.timedelta) -> str:
    return totp._codes(shop.obole.keyring, operator).at(clock.now() + ahead)


def test_whoever_knows_the_passphrase_guesses_at_the_code_five_times_only(shop: Shop, operator: Any) -> None:
    with shop.database.write() as conn:
        totp.enrol(conn, shop.obole.keyring, operator, code(shop, operator, -STEP), at=clock.now())
    assert sign(shop, code=code(shop, operator, dt.timedelta())).status_code == 303
    right = code(shop, operator, STEP)
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    assert {sign(shop, code=wrong).status_code for _ in range(5)} == {401}
    assert sign(shop, code=right).status_code == 429


def test_being_locked_out_tells_nobody_who_is_here(shop: Shop, operator: Any) -> None:
    def told(identifier: str) -> list[str]:
        answers = [sign(shop, identifier=identifier, pin="wrong") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
        # The page gives the form back with what was typed, and with a token of its own.
        return [re.sub(rf'{identifier}|content="[^"]*"|value="[^"]*"', "", answer.text) for answer in answers]

    assert operator.identifier == ADDRESS
    assert told(ADDRESS) == told("nobody@obole.example")


def test_the_secret_of_the_codes_is_not_shown_to_who_finds_a_browser_open(shop: Shop, operator: Any) -> None:
    reader = Reader(shop)
    reader.get("/console/sign-in?lang=en")
    reader.send("/console/sign-in", identifier=ADDRESS, pin=PASSPHRASE)
    assert _SECRET.search(reader.get("/second-factor").text)
    with shop.database.write() as conn:
        conn.execute(sessions.update().values(proved_at=clock.now() - HOUR))
    answer = reader.get("/second-factor", follow=False)
    assert answer.headers["Location"] == "/prove?next=%2Fsecond-factor"
    assert not _SECRET.search(answer.text)
    reader.get("/prove?next=/second-factor")
    assert _SECRET.search(reader.post("/prove", pin=PASSPHRASE, next="/second-factor").text)

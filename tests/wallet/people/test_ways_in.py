"""What goes on when somebody chooses a new PIN: they are told of it, and end what they like."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from settlement import scheduler
from tests.support import ORIGIN, Purse, Shop, hashed, make_settings
from tests.wallet.authenticator import Authenticator
from tests.web.pages.reader import Reader, shopper_of
from wallet.ground import clock
from wallet.people import identities, passkeys, ways_in
from wallet.people.ways_in import WayIn
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as rows
from wallet.tables.telling import mails

NEW = "385062"


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as made:
        yield made


def email_of(shop: Shop, purse: Purse) -> str:
    """The shopper of a purse, who signs in, with a device and a passkey beside the purse's key."""
    shopper_of(shop, purse)
    shop.device(purse)
    with shop.database.write() as conn:
        (me,) = conn.execute(sa.select(rows).order_by(rows.c.id.desc()).limit(1))
        add_passkey(conn, me)
    return str(me.identifier)


def add_passkey(conn: Any, identity: Any) -> None:
    options = passkeys.registration_options(conn, identity, origin=ORIGIN, wallet_name="Obole", at=clock.now())
    answer = Authenticator(ORIGIN).register(options)
    passkeys.register(conn, identity.id, answer, origin=ORIGIN, label="a key ring", at=clock.now())


def going_on(shop: Shop, email: str) -> Any:
    with shop.database.read() as conn:
        return ways_in.find(conn, identities.find_by_identifier(conn, IdentityKind.SHOPPER, email))


def reset(shop: Shop, email: str, **ended: str) -> tuple[str, str]:
    """Choose a new PIN by letter; answers what the letter said, and the page."""
    reader = Reader(shop)
    reader.get("/forgot?lang=en")
    reader.post("/forgot", identifier=email)
    scheduler.write_letters(shop.database, shop.settings)
    with shop.database.read() as conn:
        body = conn.execute(sa.select(mails.c.body).order_by(mails.c.id.desc()).limit(1)).scalar_one()
    link = re.search(r"/link/\S+", body)
    assert link
    shown = reader.get(link.group()).text
    # Nothing is ticked unasked, nor by what a refused PIN brings back.
    assert "checked" not in shown
    assert "checked" not in reader.send(link.group(), pin="010190", again="010190").text
    assert reader.send(link.group(), pin=NEW, again=NEW, **ended).status_code == 303
    return str(body), shown


def test_the_letter_and_the_page_say_what_goes_on_and_it_does(shop: Shop) -> None:
    email = email_of(shop, shop.purse())
    others = email_of(shop, shop.purse())
    before = going_on(shop, email)
    assert before == {WayIn.PASSKEY: ["a key ring"], WayIn.DEVICE: ["phone"], WayIn.KEY: ["test"]}
    for said in reset(shop, email):
        for line in (
            "Passkeys, which sign in (1): a key ring",
            "Devices, which pay without a PIN (1): phone",
            "Keys of programs, which pay without a PIN (1): test",
        ):
            assert line in said
    assert going_on(shop, email) == going_on(shop, others) == before


@pytest.mark.parametrize("kind", list(WayIn))
def test_what_is_ticked_ends_and_nothing_else(shop: Shop, kind: WayIn) -> None:
    email, others = email_of(shop, shop.purse()), email_of(shop, shop.purse())
    reset(shop, email, **{kind.value: "true"})
    assert set(going_on(shop, email)) == set(WayIn) - {kind}
    assert set(going_on(shop, others)) == set(WayIn)


def test_a_key_that_was_ended_pays_no_more(shop: Shop) -> None:
    purse = shop.purse()
    email = email_of(shop, purse)
    reset(shop, email, keys="true", devices="true")
    answer = shop.client.get(
        f"/v1/purses/{purse.id}", base_url=ORIGIN, headers={"Authorization": f"Bearer {purse.token}"}
    )
    assert answer.status_code == 401


def test_a_mailbox_alone_rids_no_operator_of_their_second_factor(shop: Shop) -> None:
    at = clock.now()
    with shop.database.write() as conn:
        olga: UUID = identities.add(
            conn, IdentityKind.OPERATOR, identifier="olga@o.example", name="Olga", locale="en", at=at
        )
        identities.set_secret(conn, olga, hashed("a passphrase of many letters"), at=at)
        row = identities.find(conn, olga)
        add_passkey(conn, row)
        assert ways_in.find(conn, row) == {}
        ways_in.end(conn, row, list(WayIn), at=at)
        assert len(passkeys.listing(conn, olga)) == 1

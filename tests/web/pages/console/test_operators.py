"""Operators on the console: invited by mail, ended at once, and never the last one by themselves."""

import re

import pytest
import sqlalchemy as sa

from tests.support import hashed
from tests.web.pages.console.conftest import Console
from wallet.ground import clock
from wallet.ground.errors import LinkInvalid, SignInRefused
from wallet.ground.ids import new_id
from wallet.people import actions, identities, passkeys, totp
from wallet.tables.people import IdentityKind, LinkPurpose
from wallet.tables.people import passkeys as passkeys_table
from wallet.tables.telling import mails


def letters(console: Console) -> list[str]:
    with console.shop.database.read() as conn:
        return list(conn.execute(sa.select(mails.c.recipient).order_by(mails.c.id)).scalars())


def test_an_operator_is_invited_by_mail_and_again_until_they_come(console: Console) -> None:
    form = {"name": "Pierre", "email": "Pierre@Obole.example", "locale": "fr"}
    console.post("/operators", form | {"email": "pierre"}, status=422)
    console.post("/operators", form)
    console.post("/operators", form, status=409)
    with console.shop.database.read() as conn:
        pierre = identities.find_by_identifier(conn, IdentityKind.OPERATOR, "pierre@obole.example")
    assert pierre is not None
    assert (pierre.activated_at, pierre.locale) == (None, "fr")
    console.post(f"/operators/{pierre.id}/invite")
    assert letters(console) == ["pierre@obole.example"] * 2
    assert [line[1:] for line in console.log()] == [("operator_invited", str(pierre.id))] * 2
    console.post(f"/operators/{console.id}/invite", status=404)  # who is in needs no invitation
    assert "invited" in console.get("/operators")


def test_an_operator_who_is_ended_sees_nothing_more(console: Console) -> None:
    pierre = Console(console.shop, "Pierre")
    pierre.get("")
    console.post(f"/operators/{pierre.id}/end")
    assert pierre.client.get("/console").status_code == 303
    console.post(f"/operators/{pierre.id}/end", status=404)
    assert console.log() == [("olga@obole.example", "operator_ended", str(pierre.id))]


def test_nobody_ends_themselves(console: Console) -> None:
    console.post(f"/operators/{console.id}/end", status=422)
    console.get("")
    assert console.log() == []


@pytest.mark.parametrize("by", ["form", "button", "terminal"])
def test_an_operator_who_was_ended_comes_back_as_a_new_one_and_the_log_says_so(console: Console, by: str) -> None:
    shop, pierre = console.shop, Console(console.shop, "Pierre")
    at = clock.now()
    with shop.database.write() as conn:
        identities.set_secret(conn, pierre.id, hashed("a passphrase of Pierre"), at=at)
        forgotten = identities.new_link(conn, pierre.id, LinkPurpose.RESET, at=at)
        stolen = {"credential_id": b"1", "public_key": b"2", "sign_count": 0, "label": "phone", "added_at": at}
        conn.execute(passkeys_table.insert().values(id=new_id(), identity_id=pierre.id, **stolen))
    console.post(f"/operators/{pierre.id}/end")
    if by == "form":
        console.post("/operators", {"name": "Pierre B.", "email": "Pierre@obole.example", "locale": "fr"})
    elif by == "button":
        assert f'action="/console/operators/{pierre.id}/invite"' in console.client.get("/console/operators").text
        console.post(f"/operators/{pierre.id}/invite")
    else:
        command = ["operator", "invite", "pierre@obole.example", "--name", "Pierre B.", "--locale", "fr"]
        done = shop.app.test_cli_runner().invoke(args=command)
        assert done.exit_code == 0, done.output
    with shop.database.read() as conn:
        (line,) = actions.listing(conn, before=None, limit=1)
        back = identities.find(conn, pierre.id)
        link = re.search(r"/link/([\w-]+)", conn.execute(sa.select(mails.c.body)).scalar_one())
        assert passkeys.listing(conn, pierre.id) == []
    assert (line.action, line.subject) == ("operator_invited", str(pierre.id))
    assert "pierre@obole.example, whose access had ended" in line.detail.lower()
    assert (back.ended_at, back.activated_at, back.pin_hash) == (None, None, None)
    assert (back.name, back.locale) == (("Pierre", "en") if by == "button" else ("Pierre B.", "fr"))
    assert link is not None
    # Nothing from before opens anything: no session, no passphrase, no link, no codes.
    assert pierre.client.get("/console").status_code == 303
    with shop.database.read() as conn, pytest.raises(LinkInvalid):
        identities.look_at_link(conn, forgotten, at=at)
    with pytest.raises(SignInRefused):
        identities.sign_in(
            shop.database, shop.obole.keyring, (IdentityKind.OPERATOR,), pierre.email, "a passphrase of Pierre", at=at
        )
    with shop.database.write() as conn:
        assert identities.use_link(conn, link[1], at=at) == pierre.id
        identities.set_secret(conn, pierre.id, hashed("another one of Pierre's"), at=at)
        assert not totp.is_enrolled(identities.find(conn, pierre.id))
    console.post(f"/operators/{pierre.id}/invite", status=404)  # who is in needs no invitation

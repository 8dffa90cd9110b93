"""Operators on the console: invited by mail, ended at once, and never the last one by themselves."""

import sqlalchemy as sa

from tests.web.pages.console.conftest import Console
from wallet import identities
from wallet.tables.people import IdentityKind
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

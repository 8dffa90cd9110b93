"""Invitations: a letter to their own address, in their language, with a link that works."""

import datetime as dt

import pytest
import sqlalchemy as sa

from tests.wallet.people.test_identities import ADDRESS, NOON, add
from wallet.ground.db import Database
from wallet.ground.errors import TooManyRequests
from wallet.people import identities, invitations
from wallet.tables.people import LinkPurpose
from wallet.tables.telling import mails


def test_an_invitation_is_a_letter_with_a_link_that_works(db: Database) -> None:
    identity = add(db, active=False)
    with db.write() as conn:
        token = invitations.send(conn, identity, origin="https://w.example", wallet_name="Obole", at=NOON)
        assert identities.look_at_link(conn, token, at=NOON).purpose == LinkPurpose.ACTIVATE.value
        (letter,) = conn.execute(sa.select(mails)).all()
    assert letter.recipient == ADDRESS
    assert letter.subject == "Activez votre porte-monnaie"
    assert f"https://w.example/link/{token}" in letter.body


def test_nobody_is_flooded_with_invitations(db: Database) -> None:
    identity = add(db, active=False)

    def invite(at: dt.datetime) -> str:
        with db.write() as conn:
            return invitations.send(conn, identity, origin="https://w.example", wallet_name="Obole", at=at)

    minute = dt.timedelta(minutes=1)
    newest = [invite(NOON + number * minute) for number in range(3)][-1]
    with pytest.raises(TooManyRequests) as refusal:
        invite(NOON + 59 * minute)
    assert refusal.value.wait
    with db.read() as conn:
        assert identities.look_at_link(conn, newest, at=NOON + 59 * minute).identity_id == identity
    invite(NOON + 60 * minute)

"""A merchant's people: invited by mail, ended by a colleague, and never another merchant's."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Connection

from tests.support import hashed
from tests.wallet.scene import Merchant, Scene
from wallet.ground.errors import AlreadyExists, IdentityNotFound, SignInRefused, ValidationFailed
from wallet.ground.ids import new_id
from wallet.people import identities, passkeys, sessions, team
from wallet.people.team import Invitation
from wallet.tables.people import IdentityKind
from wallet.tables.people import passkeys as passkeys_table
from wallet.tables.telling import mails

PASSPHRASE = "bread before sunrise"


def invitation(email: str = "Bea@Bakery.example") -> Invitation:
    return Invitation(email=email, name="Béa", locale="fr", origin="https://wallet.example", wallet_name="Obole")


@pytest.fixture
def bakery(scene: Scene) -> Merchant:
    return scene.merchant("bakery")


def last_link(conn: Connection) -> str:
    """The token in the newest letter."""
    letter = conn.execute(select(mails).order_by(mails.c.id.desc()).limit(1)).one()
    assert letter.recipient == "bea@bakery.example"
    found = re.search(r"https://wallet\.example/link/([\w-]+)", letter.body)
    assert found is not None
    return found[1]


def come_in(scene: Scene) -> None:
    """Follow the link in the newest letter, and choose a passphrase."""
    with scene.database.write() as conn:
        who = identities.use_link(conn, last_link(conn), at=scene.at)
        identities.set_secret(conn, who, hashed(PASSPHRASE), at=scene.at)


def sign_in(scene: Scene) -> None:
    keyring, kinds = scene.issuer.keyring, (IdentityKind.MERCHANT,)
    identities.sign_in(scene.database, keyring, kinds, "bea@bakery.example", PASSPHRASE, at=scene.at)


def test_who_is_invited_is_in_by_the_link_in_their_mail(scene: Scene, bakery: Merchant) -> None:
    with scene.database.write() as conn:
        bea = team.invite(conn, bakery.id, invitation(), at=scene.at)
        (row,) = team.listing(conn, bakery.id)
        assert (row.id, row.name, row.activated_at) == (bea, "Béa", None)
    with pytest.raises(SignInRefused):
        sign_in(scene)
    come_in(scene)
    sign_in(scene)


def test_inviting_again_sends_a_link_until_they_are_in(scene: Scene, bakery: Merchant) -> None:
    with scene.database.write() as conn:
        bea = team.invite(conn, bakery.id, invitation(), at=scene.at)
        first = last_link(conn)
        assert team.invite(conn, bakery.id, invitation(), at=scene.at) == bea
        assert last_link(conn) != first
    come_in(scene)
    with scene.database.write() as conn, pytest.raises(AlreadyExists):
        team.invite(conn, bakery.id, invitation(), at=scene.at)


def test_who_is_ended_is_out_at_once_and_may_be_invited_anew(scene: Scene, bakery: Merchant) -> None:
    with scene.database.write() as conn:
        boss = team.invite(conn, bakery.id, invitation("boss@bakery.example"), at=scene.at)
        bea = team.invite(conn, bakery.id, invitation(), at=scene.at)
    come_in(scene)
    with scene.database.write() as conn:
        token = sessions.begin(conn, bea, IdentityKind.MERCHANT, label="test", at=scene.at)
        stolen = {"credential_id": b"1", "public_key": b"2", "sign_count": 0, "label": "phone", "added_at": scene.at}
        conn.execute(passkeys_table.insert().values(id=new_id(), identity_id=bea, **stolen))
        team.end(conn, bakery.id, bea, by=boss, at=scene.at)
        assert sessions.resume(conn, token, at=scene.at) is None
        assert [row.id for row in team.listing(conn, bakery.id)] == [boss]
    with pytest.raises(SignInRefused):
        sign_in(scene)
    with scene.database.write() as conn:
        assert team.invite(conn, bakery.id, invitation(), at=scene.at) == bea
        # What they had may be why they were ended.
        assert passkeys.listing(conn, bea) == []
    with pytest.raises(SignInRefused):
        sign_in(scene)
    come_in(scene)
    sign_in(scene)


def test_nobody_reaches_into_another_team_or_ends_themselves(scene: Scene, bakery: Merchant) -> None:
    press = scene.merchant("press")
    with scene.database.write() as conn:
        bea = team.invite(conn, bakery.id, invitation(), at=scene.at)
        rival = team.invite(conn, press.id, invitation("rival@press.example"), at=scene.at)
        with pytest.raises(AlreadyExists):
            team.invite(conn, press.id, invitation(), at=scene.at)
        with pytest.raises(IdentityNotFound):
            team.end(conn, press.id, bea, by=rival, at=scene.at)
        with pytest.raises(ValidationFailed):
            team.end(conn, bakery.id, bea, by=bea, at=scene.at)
        assert [row.id for row in team.listing(conn, bakery.id)] == [bea]


def test_who_was_ended_may_come_to_another_merchant_and_sees_the_first_no_more(scene: Scene, bakery: Merchant) -> None:
    press = scene.merchant("press")
    with scene.database.write() as conn:
        boss = team.invite(conn, bakery.id, invitation("boss@bakery.example"), at=scene.at)
        bea = team.invite(conn, bakery.id, invitation(), at=scene.at)
    come_in(scene)
    with scene.database.write() as conn:
        team.end(conn, bakery.id, bea, by=boss, at=scene.at)
        assert team.invite(conn, press.id, invitation(), at=scene.at) == bea
    come_in(scene)
    sign_in(scene)
    with scene.database.write() as conn:
        assert identities.find(conn, bea).merchant_id == press.id
        assert [row.id for row in team.listing(conn, bakery.id)] == [boss]
        with pytest.raises(AlreadyExists):
            team.invite(conn, bakery.id, invitation(), at=scene.at)

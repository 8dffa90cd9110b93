"""Invitations: a letter to their own address, in their language, with a link that works."""

import sqlalchemy as sa

from tests.wallet.test_identities import ADDRESS, NOON, add
from wallet import identities, invitations
from wallet.db import Database
from wallet.page_models import LinkPurpose, mails


def test_an_invitation_is_a_letter_with_a_link_that_works(db: Database) -> None:
    identity = add(db, active=False)
    with db.write() as conn:
        token = invitations.send(conn, identity, origin="https://w.example", wallet_name="Obole", at=NOON)
        assert identities.look_at_link(conn, token, at=NOON).purpose == LinkPurpose.ACTIVATE.value
        (letter,) = conn.execute(sa.select(mails)).all()
    assert letter.recipient == ADDRESS
    assert letter.subject == "Activez votre porte-monnaie"
    assert f"https://w.example/link/{token}" in letter.body

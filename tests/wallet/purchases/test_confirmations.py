"""Confirmations: what is kept of a yes said on the wallet's own page."""

import sqlalchemy as sa

from tests.wallet.people.test_identities import NOON, add
from wallet.ground.db import Database
from wallet.purchases import confirmations
from wallet.tables.purchases import confirmations as rows


def test_a_yes_by_pin_is_kept_with_who_said_it_and_when(db: Database) -> None:
    identity = add(db)
    with db.write() as conn:
        confirmation = confirmations.record(conn, identity, None, at=NOON)
        kept = conn.execute(sa.select(rows)).one()
    assert (kept.id, kept.identity_id, kept.method) == (confirmation, identity, "pin")
    assert (kept.confirmed_at, kept.signature, kept.passkey_id) == (NOON, None, None)

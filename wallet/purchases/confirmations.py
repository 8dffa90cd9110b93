"""Confirmations: somebody said yes on the wallet's own page, by passkey or PIN, and what is kept of it.

Invariant: written in the transaction that issues the voucher it is the evidence for, and never without it.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.ids import new_id
from wallet.people.passkeys import Proof
from wallet.tables.people import identities, passkeys
from wallet.tables.purchases import ConfirmationMethod, confirmations


def record(conn: Connection, identity_id: UUID, proof: Proof | None, *, at: dt.datetime) -> UUID:
    """Keep who confirmed and how: by a passkey's ``proof`` over the purchase, or by PIN, just checked."""
    confirmation_id = new_id()
    row: dict[str, object] = {"id": confirmation_id, "identity_id": identity_id, "confirmed_at": at}
    if proof is None:
        row |= {"method": ConfirmationMethod.PIN.value}
    else:
        row |= {
            "method": ConfirmationMethod.PASSKEY.value,
            "passkey_id": proof.passkey_id,
            "challenge": proof.challenge,
            "client_data": proof.client_data,
            "authenticator_data": proof.authenticator_data,
            "signature": proof.signature,
        }
    conn.execute(confirmations.insert().values(row))
    return confirmation_id


def find(conn: Connection, confirmation_id: UUID) -> Row[tuple[object, ...]]:
    """A confirmation with who it was (``name``) and, where there was one, the passkey (``label``, its key as COSE)."""
    return conn.execute(
        select(confirmations, identities.c.name, passkeys.c.label, passkeys.c.public_key.label("passkey_cose"))
        .join(identities, identities.c.id == confirmations.c.identity_id)
        .outerjoin(passkeys, passkeys.c.id == confirmations.c.passkey_id)
        .where(confirmations.c.id == confirmation_id)
    ).one()

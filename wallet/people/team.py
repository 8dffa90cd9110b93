"""A merchant's people: who may sign in for it, invited by a colleague, and gone when a colleague says so.

Invariant: everything here names the merchant, so that nobody reaches into another's team; whoever is invited chooses
their own passphrase by a link in their own mail; and nobody ends their own access, so that somebody is always left.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import AlreadyExists, IdentityNotFound, ValidationFailed
from wallet.people import identities as identity_room
from wallet.people import invitations
from wallet.tables.people import IdentityKind, identities


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Who is invited, and the wallet's origin and name for the letter."""

    email: str
    name: str
    locale: str
    origin: str
    wallet_name: str


def listing(conn: Connection, merchant_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """Who may sign in for the merchant, or is invited to, in the order they came."""
    mine = (identities.c.merchant_id == merchant_id) & identities.c.ended_at.is_(None)
    return conn.execute(select(identities).where(mine).order_by(identities.c.id)).all()


def invite(conn: Connection, merchant_id: UUID, invitation: Invitation, *, at: dt.datetime) -> UUID:
    """Write to somebody with a link by which they choose a passphrase and are in; answers their id.

    Inviting again sends a new link, and whoever was ended, here or at another merchant, begins anew. Raises
    `AlreadyExists` for who is in already, or is another merchant's.
    """
    known = identity_room.find_by_identifier(conn, IdentityKind.MERCHANT, invitation.email)
    if known is None or known.ended_at is not None:
        identity_id = identity_room.add(
            conn,
            IdentityKind.MERCHANT,
            identifier=invitation.email,
            name=invitation.name,
            locale=invitation.locale,
            at=at,
            merchant_id=merchant_id,
        )
    else:
        identity_id = known.id
        _ask_again(conn, merchant_id, identity_id, at)
    invitations.send(conn, identity_id, origin=invitation.origin, wallet_name=invitation.wallet_name, at=at)
    return identity_id


def end(conn: Connection, merchant_id: UUID, identity_id: UUID, *, by: UUID, at: dt.datetime) -> None:
    """Let a colleague sign in no more, at once. Raises `IdentityNotFound`, or `ValidationFailed` for oneself."""
    mine = (identities.c.id == identity_id) & (identities.c.merchant_id == merchant_id)
    if conn.execute(select(identities.c.id).where(mine)).one_or_none() is None:
        raise IdentityNotFound
    if identity_id == by:
        raise ValidationFailed("Nobody ends their own access; a colleague can.")
    identity_room.end(conn, identity_id, at=at)


def _ask_again(conn: Connection, merchant_id: UUID, identity_id: UUID, at: dt.datetime) -> None:
    """Somebody who never came may be invited anew."""
    mine = (identities.c.id == identity_id) & (identities.c.merchant_id == merchant_id)
    waiting = identities.c.activated_at.is_(None)
    if conn.execute(select(identities.c.id).where(mine, waiting).with_for_update()).one_or_none() is None:
        raise AlreadyExists("Somebody signs in with this identifier already.")
    identity_room.start_over(conn, identity_id, at=at)

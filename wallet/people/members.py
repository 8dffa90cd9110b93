"""Members of a family purse: who else may pay from it, with a name and a PIN of their own, and how much.

Invariant: a member is one purse's for good, and everything here names that purse, so that no shopper reaches into
another's. What a member may spend is kept by `wallet.purses.limits`, under the purse's lock; here it is only said.
"""

import datetime as dt
import re
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import MemberNotFound, PurseNotFound, ValidationFailed
from wallet.people import identities as identity_room
from wallet.people import passkeys, sessions
from wallet.people.pins import Stored
from wallet.purses import limits
from wallet.purses.limits import Caps
from wallet.tables.people import IdentityKind, identities
from wallet.tables.purchases import vouchers
from wallet.tables.purses import member_caps, purses, shoppers

# No "@": a child may have no address, and an address must not be taken for a member.
_IDENTIFIER = re.compile(r"[a-z0-9.-]{3,40}", re.ASCII)
_LONGEST_NAME = 140


def add(
    conn: Connection, purse_id: UUID, *, identifier: str, name: str, pin: Stored, caps: Caps, at: dt.datetime
) -> UUID:
    """Let somebody pay from the purse, who signs in with ``identifier`` and ``pin``; answers the member's id.

    They speak the shopper's language to begin with. Raises `PurseNotFound`, `ValidationFailed` (about
    ``identifier`` or ``name``), or `AlreadyExists` for an identifier that is taken, even by one who ended: only in
    their own purse they come back.
    """
    identifier, name = identifier.strip().lower(), name.strip()
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValidationFailed(errors={"identifier": ["3 to 40 letters, digits, dots or hyphens."]})
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValidationFailed(errors={"name": ["1 to 140 characters."]})
    locale = conn.execute(
        select(shoppers.c.locale).join(purses, purses.c.shopper_id == shoppers.c.id).where(purses.c.id == purse_id)
    ).scalar_one_or_none()
    if locale is None:
        raise PurseNotFound
    kind = IdentityKind.MEMBER
    member_id = identity_room.add(conn, kind, identifier=identifier, name=name, locale=locale, at=at, purse_id=purse_id)
    identity_room.set_secret(conn, member_id, pin, at=at)
    limits.put_member(conn, member_id, caps)
    return member_id


def change_caps(conn: Connection, purse_id: UUID, member_id: UUID, caps: Caps) -> None:
    """Let the member spend so much, from the very next purchase on. Raises `MemberNotFound`."""
    _check(conn, purse_id, member_id)
    limits.put_member(conn, member_id, caps)


def change_pin(conn: Connection, purse_id: UUID, member_id: UUID, pin: Stored, *, at: dt.datetime) -> None:
    """Give the member another PIN; one who was locked out is not any more. Raises `MemberNotFound`.

    Whoever got in by the old one is out: sessions end, and so do passkeys, which a member's pages do not list.
    """
    _check(conn, purse_id, member_id)
    identity_room.set_secret(conn, member_id, pin, at=at)
    sessions.end_all(conn, member_id, at=at)
    passkeys.revoke_all(conn, member_id, at=at)


def end(conn: Connection, purse_id: UUID, member_id: UUID, *, at: dt.datetime) -> None:
    """Let the member pay and sign in no more, at once and for good. Raises `MemberNotFound`."""
    _check(conn, purse_id, member_id)
    identity_room.end(conn, member_id, at=at)


def find(conn: Connection, purse_id: UUID, member_id: UUID, *, at: dt.datetime) -> Row[tuple[object, ...]]:
    """One member who has not ended, as in `listing`; or `MemberNotFound`."""
    row = conn.execute(_members(purse_id, at).where(identities.c.id == member_id)).one_or_none()
    if row is None:
        raise MemberNotFound
    return row


def listing(conn: Connection, purse_id: UUID, *, at: dt.datetime) -> Sequence[Row[tuple[object, ...]]]:
    """The purse's members who have not ended, in order of name.

    Each row has ``id``, ``identifier``, ``name``, ``created_at``, ``per_purchase_micros``, ``per_day_micros`` and
    ``spent_today_micros``: what is held or was captured of what they bought this UTC day.
    """
    return conn.execute(_members(purse_id, at).order_by(identities.c.name, identities.c.id)).all()


def _members(purse_id: UUID, at: dt.datetime) -> Select[tuple[object, ...]]:
    spent_today = limits.spent_today(purse_id, at, member=vouchers.c.member_id == identities.c.id)
    return (
        select(
            identities.c.id,
            identities.c.identifier,
            identities.c.name,
            identities.c.created_at,
            member_caps.c.per_purchase_micros,
            member_caps.c.per_day_micros,
            spent_today.correlate(identities).scalar_subquery().label("spent_today_micros"),
        )
        .outerjoin(member_caps, member_caps.c.identity_id == identities.c.id)
        .where(_is_member(purse_id))
    )


def _is_member(purse_id: UUID) -> ColumnElement[bool]:
    return and_(
        identities.c.kind == IdentityKind.MEMBER.value,
        identities.c.purse_id == purse_id,
        identities.c.ended_at.is_(None),
    )


def _check(conn: Connection, purse_id: UUID, member_id: UUID) -> None:
    if conn.execute(select(identities.c.id).where(_is_member(purse_id), identities.c.id == member_id)).first() is None:
        raise MemberNotFound

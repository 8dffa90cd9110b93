"""Sessions: a browser somebody signed in with, until it ends.

Invariant: the token is in that browser's cookie and stored here only as its SHA-256; a session that ended, or whose
identity did, is nobody's. What is dangerous asks for a proof again unless there was one in the last minutes.
"""

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import SessionNotFound
from wallet.ground.ids import new_id, token_sha256
from wallet.tables.people import IdentityKind, identities, passkeys, sessions

# A shopper's phone stays signed in, as a banking app does: every payment is confirmed anyway. Who moves other
# people's money signs in every day.
_LIFE = {
    IdentityKind.SHOPPER: dt.timedelta(days=90),
    IdentityKind.MEMBER: dt.timedelta(days=90),
    IdentityKind.MERCHANT: dt.timedelta(days=7),
    IdentityKind.OPERATOR: dt.timedelta(hours=12),
}
PROOF_LASTS = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who is asking, in which session. ``purse_id`` is a member's, ``shopper_id`` a shopper's, and so on."""

    session_id: UUID
    identity_id: UUID
    kind: IdentityKind
    identifier: str
    name: str
    locale: str
    shopper_id: UUID | None
    purse_id: UUID | None
    merchant_id: UUID | None
    proved_at: dt.datetime
    # A passkey or one-time codes: what an operator must have before anything else.
    has_second_factor: bool

    def proved_lately(self, at: dt.datetime) -> bool:
        """Whether they proved who they are within the last ten minutes."""
        return at - self.proved_at <= PROOF_LASTS


def begin(conn: Connection, identity_id: UUID, kind: IdentityKind, *, label: str, at: dt.datetime) -> str:
    """Begin a session; answers the token for the cookie, which cannot be read again."""
    token = secrets.token_urlsafe(32)
    conn.execute(
        sessions.insert().values(
            id=new_id(),
            identity_id=identity_id,
            token_sha256=token_sha256(token),
            label=label[:100],
            began_at=at,
            ends_at=at + _LIFE[kind],
            proved_at=at,
        )
    )
    return token


def resume(conn: Connection, token: str, *, at: dt.datetime) -> Visitor | None:
    """Who has this token, or None."""
    row = conn.execute(
        select(sessions.c.id.label("session_id"), sessions.c.proved_at, identities, _HAS_PASSKEY)
        .join(identities, identities.c.id == sessions.c.identity_id)
        .where(
            sessions.c.token_sha256 == token_sha256(token),
            sessions.c.ended_at.is_(None),
            sessions.c.ends_at > at,
            identities.c.ended_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return None
    return Visitor(
        session_id=row.session_id,
        identity_id=row.id,
        kind=IdentityKind(row.kind),
        identifier=row.identifier,
        name=row.name,
        locale=row.locale,
        shopper_id=row.shopper_id,
        purse_id=row.purse_id,
        merchant_id=row.merchant_id,
        proved_at=row.proved_at,
        has_second_factor=(row.totp_number or 0) > 0 or bool(row.has_passkey),
    )


def prove(conn: Connection, session_id: UUID, *, at: dt.datetime) -> None:
    """Note that who sits there just proved who they are."""
    conn.execute(sessions.update().where(sessions.c.id == session_id).values(proved_at=at))


def listing(conn: Connection, identity_id: UUID, *, at: dt.datetime) -> Sequence[Row[tuple[object, ...]]]:
    """The sessions somebody has now, newest first."""
    return conn.execute(
        select(sessions)
        .where(sessions.c.identity_id == identity_id, sessions.c.ended_at.is_(None), sessions.c.ends_at > at)
        .order_by(sessions.c.id.desc())
    ).all()


def end(conn: Connection, session_id: UUID, *, identity_id: UUID, at: dt.datetime) -> None:
    """End one of somebody's sessions; one that ended stays so. Raises `SessionNotFound` for anyone else's."""
    mine = (sessions.c.id == session_id) & (sessions.c.identity_id == identity_id)
    if conn.execute(select(sessions.c.id).where(mine)).one_or_none() is None:
        raise SessionNotFound
    conn.execute(sessions.update().where(mine, sessions.c.ended_at.is_(None)).values(ended_at=at))


def end_all(conn: Connection, identity_id: UUID, *, at: dt.datetime) -> None:
    """End every session of somebody's, as when they chose a new secret: another may know the old one."""
    open_ones = (sessions.c.identity_id == identity_id) & sessions.c.ended_at.is_(None)
    conn.execute(sessions.update().where(open_ones).values(ended_at=at))


_HAS_PASSKEY = (
    exists().where(passkeys.c.identity_id == identities.c.id, passkeys.c.revoked_at.is_(None)).label("has_passkey")
)

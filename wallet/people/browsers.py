"""Known browsers: those in which somebody showed who they are, by PIN, passkey or a link in their mail.

Invariant: the token is in that browser's cookie and stored here only as its SHA-256. It opens nothing: all that it
gives is a count of wrong tries apart from that of strangers (`wallet.people.tries`), so that they lock nobody out.
"""

import datetime as dt
import secrets
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from wallet.ground.db import insert_into
from wallet.ground.ids import token_sha256
from wallet.tables.people import known_browsers

# As long as browsers keep a cookie (RFC 6265bis, section 5.5).
LASTS = dt.timedelta(days=400)


def remember(conn: Connection, token: str | None, identity_id: UUID, *, at: dt.datetime) -> str:
    """Know a browser to be this identity's, too; answers the token for its cookie, its own where that is one of ours.

    One browser may be known to several, as when a family shares it.
    """
    if token is None or not _is_ours(conn, token, at):
        token = secrets.token_urlsafe(32)
    conn.execute(
        insert_into(conn, known_browsers)
        .values(token_sha256=token_sha256(token), identity_id=identity_id, known_at=at)
        .on_conflict_do_update(index_elements=["token_sha256", "identity_id"], set_={"known_at": at})
    )
    return token


def knows(conn: Connection, token: str | None, identity_id: UUID, *, at: dt.datetime) -> bool:
    """Whether this identity showed who they are in the browser with this token."""
    if token is None:
        return False
    mine = (known_browsers.c.token_sha256 == token_sha256(token)) & (known_browsers.c.identity_id == identity_id)
    lasts = known_browsers.c.known_at > at - LASTS
    return conn.execute(select(known_browsers.c.identity_id).where(mine, lasts)).one_or_none() is not None


def forget_all(conn: Connection, identity_id: UUID) -> None:
    """Know none of this identity's browsers any more, as when they chose a new secret: another may have the old one."""
    conn.execute(known_browsers.delete().where(known_browsers.c.identity_id == identity_id))


def _is_ours(conn: Connection, token: str, at: dt.datetime) -> bool:
    mine = known_browsers.c.token_sha256 == token_sha256(token)
    known = select(known_browsers.c.identity_id).where(mine, known_browsers.c.known_at > at - LASTS)
    return conn.execute(known.limit(1)).one_or_none() is not None

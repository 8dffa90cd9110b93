"""Actions: what operators did, line after line, each holding the SHA-256 of the one before.

Invariant: a line is only ever added (triggers refuse anything else), and carries a hash over its own facts and the
hash of the line before; so whoever changes, removes or inserts a line past the triggers breaks the chain there, and
whoever cuts off its end cannot reproduce the last hash that somebody noted elsewhere.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.tables.people import actions

# What the first line has before it.
BEGINNING = bytes(32)
# A key of PostgreSQL's advisory locks: those who append take turns until they have committed.
_APPENDING = 0x0B01E0AC
_LONGEST_SUBJECT, _LONGEST_DETAIL = 100, 500


def record(
    conn: Connection,
    *,
    who: str,
    identity_id: UUID | None,
    action: str,
    subject: str,
    detail: str = "",
    at: dt.datetime,
) -> None:
    """Append one line in the transaction that does the deed, as its last step: the log is locked until it commits.

    ``who`` is an operator's e-mail address or the name of a key, ``subject`` the id of what it was done to.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPENDING})
    previous = conn.execute(select(actions.c.sha256).order_by(actions.c.id.desc()).limit(1)).scalar_one_or_none()
    line = {
        "identity_id": identity_id,
        "who": who,
        "action": action,
        "subject": subject[:_LONGEST_SUBJECT],
        "detail": detail[:_LONGEST_DETAIL],
        "acted_at": at,
        "previous_sha256": previous or BEGINNING,
    }
    conn.execute(actions.insert().values(**line, sha256=_sha256(line)))


def listing(conn: Connection, *, before: int | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """Lines, newest first, from below line ``before``."""
    query = select(actions).order_by(actions.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(actions.c.id < before)).all()


def verify(conn: Connection) -> int | None:
    """The first line at which the chain is broken; None when it holds. Reads every line, a few at a time."""
    previous = BEGINNING
    with conn.execute(select(actions).order_by(actions.c.id), execution_options={"yield_per": 1_000}) as lines:
        for line in lines:
            if bytes(line.previous_sha256) != previous or bytes(line.sha256) != _sha256(line._asdict()):
                return int(line.id)
            previous = bytes(line.sha256)
    return None


def _sha256(line: Mapping[str, Any]) -> bytes:
    # JSON keeps the facts apart: no two lines are written alike.
    facts = [
        bytes(line["previous_sha256"]).hex(),
        None if line["identity_id"] is None else str(line["identity_id"]),
        *(line[name] for name in ("who", "action", "subject", "detail")),
        line["acted_at"].astimezone(dt.UTC).isoformat(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).digest()

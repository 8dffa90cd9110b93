"""Quarantine: what came from the bank and could not be read.

Invariant: a message is kept with its bytes and the reason, once, until a person has dealt with it; dealing with it
is said in words. Nothing in here moves money; a message that can be read after all is imported as any other
(`settlement.receiving.retry`).
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.engine import Connection, Row

from settlement.models import refused_messages
from settlement.xml import MAX_BYTES
from wallet.db import insert_into
from wallet.errors import NotFound
from wallet.ids import new_id

_LONGEST_NAME, _LONGEST_REASON, _LONGEST_RESOLUTION = 255, 500, 200


def put(conn: Connection, *, name: str, content: bytes, reason: str, at: dt.datetime) -> bool:
    """Keep a message that was refused; answers whether it is new: the same bytes are kept once.

    Of one that is longer than any message, only the beginning is kept; the file itself stays in the bank's folder.
    """
    kept = conn.execute(
        insert_into(conn, refused_messages)
        .values(
            id=new_id(),
            name=readable(name)[:_LONGEST_NAME],
            sha256=hashlib.sha256(content).hexdigest(),
            content=content[:MAX_BYTES],
            reason=readable(reason)[:_LONGEST_REASON],
            refused_at=at,
        )
        .on_conflict_do_nothing(index_elements=["sha256"])
        .returning(refused_messages.c.id)
    )
    return kept.one_or_none() is not None


def readable(name: str) -> str:
    """A file's name, which may be any bytes, as text that a database, a log and a page can hold."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")


def listing(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    """The messages nobody has dealt with yet, oldest first, without their bytes, but with their ``size``."""
    return conn.execute(_waiting().order_by(refused_messages.c.id)).all()


def newest(conn: Connection, *, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """The same, newest first, from below message ``before``."""
    query = _waiting().order_by(refused_messages.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(refused_messages.c.id < before)).all()


def find(conn: Connection, message_id: UUID) -> Row[tuple[object, ...]]:
    """One message with its bytes, or `NotFound`."""
    row = conn.execute(select(refused_messages).where(refused_messages.c.id == message_id)).one_or_none()
    if row is None:
        raise NotFound("No refused message has this id.")
    return row


def dismiss(conn: Connection, message_id: UUID, resolution: str, *, at: dt.datetime) -> None:
    """Say what became of a message. Raises `NotFound` unless it still waits."""
    dismissed = conn.execute(
        refused_messages.update()
        .where(refused_messages.c.id == message_id, refused_messages.c.dismissed_at.is_(None))
        .values(dismissed_at=at, resolution=resolution[:_LONGEST_RESOLUTION])
        .returning(refused_messages.c.id)
    )
    if dismissed.one_or_none() is None:
        raise NotFound("No refused message that waits has this id.")


def _waiting() -> Select[Any]:
    columns: list[ColumnElement[Any]] = [column for column in refused_messages.c if column.name != "content"]
    # Both databases know the length of what they do not read.
    columns.append(func.length(refused_messages.c.content).label("size"))
    return select(*columns).where(refused_messages.c.dismissed_at.is_(None))

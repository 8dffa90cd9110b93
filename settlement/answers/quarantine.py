"""Quarantine: what came from the bank and could not be read.

Invariant: a message is kept with its bytes and the reason, once, until a person has dealt with it; dealing with it
is said in words. Nothing in here moves money; a message that can be read after all is imported as any other
(`settlement.answers.receiving.retry`).
"""

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.engine import Connection, Row

from settlement.bank.formats.xml import MAX_BYTES
from settlement.tables import bank_messages, refused_messages
from wallet.ground.db import insert_into
from wallet.ground.errors import NotFound
from wallet.ground.ids import new_id

_MESSAGE_ID = re.compile(rb"<(?:\w+:)?MsgId>([^<]*)</(?:\w+:)?MsgId>")
_LONGEST_NAME, _LONGEST_REASON, _LONGEST_RESOLUTION = 255, 500, 200


def put(conn: Connection, *, name: str, content: bytes, reason: str, at: dt.datetime) -> bool:
    """Keep a message that was refused; answers whether it is new: the same bytes are kept once.

    Of one that is longer than any message, only the beginning is kept; the file itself stays in the bank's folder.
    The beginning of a message that was imported whole waits for nobody.
    """
    whole, refused = _whole_of(conn, content, name), refused_messages.c
    kept = insert_into(conn, refused_messages).values(
        id=new_id(),
        name=readable(name)[:_LONGEST_NAME],
        sha256=hashlib.sha256(content).hexdigest(),
        content=content[:MAX_BYTES],
        reason=readable(reason)[:_LONGEST_REASON],
        refused_at=at,
        dismissed_at=None if whole is None else at,
        resolution=None if whole is None else _superseded(whole),
    )
    # Many messages begin alike: that one of them came whole says nothing of the next that did not.
    begins_another = refused.resolution.startswith(_superseded("")) & (refused.name != kept.excluded.name)
    again = ("name", "reason", "refused_at", "dismissed_at", "resolution")
    kept = kept.on_conflict_do_update(
        index_elements=["sha256"],
        set_={column: kept.excluded[column] for column in again},
        where=begins_another,
    )
    return conn.execute(kept.returning(refused.id)).one_or_none() is not None


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


def let_go_of_beginnings(conn: Connection, whole: bytes, *, name: str, at: dt.datetime) -> None:
    """Of a file that was imported whole, its beginning need not wait any longer, under whatever name it came.

    The beginning must say which message it is of, or have come under the same ``name``.
    """
    refused = refused_messages.c
    begins = func.substr(sa.literal(whole, sa.LargeBinary), 1, func.length(refused.content)) == refused.content
    shorter = func.length(refused.content) < len(whole)
    for row in conn.execute(
        select(refused.id, refused.name, refused.content).where(refused.dismissed_at.is_(None), shorter, begins)
    ).all():
        if readable(name).startswith(row.name) or _message_id(row.content) is not None:
            dismiss(conn, row.id, _superseded(readable(name)), at=at)


def _whole_of(conn: Connection, beginning: bytes, name: str) -> str | None:
    """The name of the message that was imported whole and of which this is the beginning."""
    known = bank_messages.c
    begins = func.substr(known.content, 1, len(beginning)) == beginning
    same = (known.name == readable(name)) | (known.message_id == _message_id(beginning))
    found = conn.execute(select(known.name, known.message_id).where(same, begins).limit(1)).one_or_none()
    return None if found is None else str(found.name or found.message_id)


def _message_id(beginning: bytes) -> str | None:
    """The id that the beginning of an ISO 20022 message gives it, once that has been told; in any encoding of XML."""
    found = _MESSAGE_ID.search(beginning.replace(b"\0", b""))
    return None if found is None else found[1].decode("latin-1").strip()


def _superseded(name: str) -> str:
    return f"came whole: {name}"[:_LONGEST_RESOLUTION]


def _waiting() -> Select[Any]:
    columns: list[ColumnElement[Any]] = [column for column in refused_messages.c if column.name != "content"]
    # Both databases know the length of what they do not read.
    columns.append(func.length(refused_messages.c.content).label("size"))
    return select(*columns).where(refused_messages.c.dismissed_at.is_(None))

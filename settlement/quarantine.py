"""Quarantine: what came from the bank and could not be read.

Invariant: a message is kept with its bytes and the reason, once, until a person has dealt with it; dealing with it
is said in words. Nothing in here moves money, but a message that can be read after all is imported as any other.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement import reconciliation
from settlement.imports import Imported
from settlement.models import refused_messages
from settlement.xml import MAX_BYTES
from wallet.db import Database, insert_into
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
            # A file's name may be any bytes; a database takes text.
            name=name.encode("utf-8", "replace").decode().replace("\0", "?")[:_LONGEST_NAME],
            sha256=hashlib.sha256(content).hexdigest(),
            content=content[:MAX_BYTES],
            reason=reason.replace("\0", "?")[:_LONGEST_REASON],
            refused_at=at,
        )
        .on_conflict_do_nothing(index_elements=["sha256"])
        .returning(refused_messages.c.id)
    )
    return kept.one_or_none() is not None


def listing(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    """The messages nobody has dealt with yet, oldest first, without their bytes."""
    columns = [column for column in refused_messages.c if column.name != "content"]
    return conn.execute(
        select(*columns).where(refused_messages.c.dismissed_at.is_(None)).order_by(refused_messages.c.id)
    ).all()


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


def retry(
    database: Database,
    message_id: UUID,
    *,
    account_iban: str,
    at: dt.datetime,
    note: Callable[[Connection, Imported], None] = lambda _conn, _imported: None,
) -> Imported:
    """Import a message again, after an upgrade perhaps, and let it go when that succeeds; answers what it did.

    ``note`` is called in the transaction that lets it go. Raises `NotFound` unless it still waits, or
    `BankMessageInvalid` as before. Killed in between, it is imported and still waits; trying again then changes
    nothing but that.
    """
    with database.read() as conn:
        message = find(conn, message_id)
    if message.dismissed_at is not None:
        raise NotFound("No refused message that waits has this id.")
    imported = reconciliation.import_message(database, message.content, account_iban=account_iban, at=at)
    with database.write() as conn:
        dismiss(conn, message_id, "imported", at=at)
        note(conn, imported)
    return imported

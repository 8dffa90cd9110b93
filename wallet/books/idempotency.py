"""Idempotency as a stored fact: the same key with the same facts gets the same answer, with others a conflict.

Invariant: the key is inserted in the transaction that does the work, so it exists exactly when the work was done;
a refused request leaves no key behind. Purchases do not come through here: their key is the voucher's own unique
(purse, principal, key), and their answer is signed again (`wallet.purchases.vouchers`).
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from wallet.ground.db import Database, insert_into
from wallet.ground.errors import IdempotencyConflict
from wallet.tables.books import idempotency_keys


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: HTTP status and the exact bytes of the body."""

    status: int
    body: bytes
    replayed: bool = False


def fingerprint(facts: Mapping[str, object]) -> bytes:
    """SHA-256 over ``facts`` written one way: sorted keys, no spaces, everything else as its string."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).digest()


def once(
    database: Database,
    *,
    owner_id: UUID,
    key: str,
    facts: Mapping[str, object],
    at: dt.datetime,
    work: Callable[[Connection], tuple[int, bytes]],
    settles: bool = False,
) -> Answer:
    """Do ``work`` in a transaction unless ``owner_id`` had it done under ``key`` before; then answer the same.

    ``work`` answers status and body and raises to refuse, which leaves the key free. Raises `IdempotencyConflict`
    when the key belongs to other facts. A second request that comes while the first is at work waits for it.
    ``settles``: the work is a settlement step, and takes turns with the others (`Database.settle`).
    """
    print_of_facts = fingerprint(facts)
    with database.settle() if settles else database.write() as conn:
        claimed = conn.execute(
            insert_into(conn, idempotency_keys)
            .values(owner_id=owner_id, key=key, fingerprint=print_of_facts, status=0, body=b"", recorded_at=at)
            .on_conflict_do_nothing(index_elements=["owner_id", "key"])
            .returning(idempotency_keys.c.key)
        ).one_or_none()
        mine = (idempotency_keys.c.owner_id == owner_id) & (idempotency_keys.c.key == key)
        if claimed is None:
            stored = conn.execute(select(idempotency_keys).where(mine)).one()
            if stored.fingerprint != print_of_facts:
                raise IdempotencyConflict
            return Answer(stored.status, stored.body, replayed=True)
        status, body = work(conn)
        conn.execute(idempotency_keys.update().where(mine).values(status=status, body=body))
        return Answer(status, body)

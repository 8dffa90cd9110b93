"""Approvals: before a run's files go to the bank, as many operators as the wallet asks for have looked at it.

Invariant: what is approved is the bytes of a run's files, so that what was looked at is what is sent: when a file is
made anew (its date has passed), earlier approvals count no more. An operator counts once, and only while still an
operator: whoever was ended and came back approves anew. An approval is never taken back.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.engine import Connection, Row

from settlement.tables import RunState, approvals, bank_files, settlement_runs
from wallet.ground.db import insert_into
from wallet.ground.errors import FilesChanged, IdentityNotFound, RunNotFound, RunNotWaiting
from wallet.tables.people import IdentityKind, identities


def files_sha256(conn: Connection, run_id: UUID) -> str:
    """What an approval of a run covers now: the digest over its files' checksums, in the order of their names."""
    checksums = conn.execute(
        select(bank_files.c.sha256).where(bank_files.c.run_id == run_id).order_by(bank_files.c.message_id)
    ).scalars()
    return hashlib.sha256("".join(checksum or "" for checksum in checksums).encode()).hexdigest()


def approve(
    conn: Connection, run_id: UUID, identity_id: UUID, *, seen_sha256: str | None = None, at: dt.datetime
) -> bool:
    """Let an operator approve a run; answers whether that was news: who approves twice counts once.

    ``seen_sha256`` is `files_sha256` of what the operator looked at. Raises `RunNotFound`, `RunNotWaiting` unless its
    files are made and not yet with the bank, `IdentityNotFound` for anybody who is not an operator, or `FilesChanged`
    where the files are others by now. Nothing is submitted here: run the day again (`nightly.run`).
    """
    state = conn.execute(select(settlement_runs.c.state).where(settlement_runs.c.id == run_id)).scalar_one_or_none()
    if state is None:
        raise RunNotFound
    if conn.execute(select(identities.c.id).where(identities.c.id == identity_id, _is_operator())).first() is None:
        raise IdentityNotFound
    if state != RunState.RENDERED.value:
        raise RunNotWaiting
    digest = files_sha256(conn, run_id)
    if seen_sha256 not in (None, digest):
        raise FilesChanged
    came_at = select(identities.c.activated_at).where(identities.c.id == identity_id).scalar_subquery()
    approved = conn.execute(
        insert_into(conn, approvals)
        .values(run_id=run_id, identity_id=identity_id, files_sha256=digest, approved_at=at)
        .on_conflict_do_update(
            index_elements=["run_id", "identity_id", "files_sha256"],
            set_={"approved_at": at},
            where=approvals.c.approved_at < came_at,
        )
        .returning(approvals.c.run_id)
    )
    return approved.one_or_none() is not None


def approvals_of(conn: Connection, run_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """Who approved a run, in that order, and what of it.

    Each row has ``identity_id``, ``name``, ``identifier``, ``approved_at``, ``ended_at``, and ``files_sha256``.
    """
    whose = (identities.c.name, identities.c.identifier, identities.c.ended_at)
    return conn.execute(
        select(approvals, *whose)
        .join(identities, identities.c.id == approvals.c.identity_id)
        .where(approvals.c.run_id == run_id)
        .order_by(approvals.c.approved_at, approvals.c.identity_id)
    ).all()


def missing(conn: Connection, run_id: UUID, needed: int) -> int:
    """How many approvals a run's files, as they are now, still lack of those ``needed``."""
    if needed == 0:
        return 0
    given = (
        select(func.count())
        .select_from(approvals.join(identities, identities.c.id == approvals.c.identity_id))
        .where(approvals.c.run_id == run_id, approvals.c.files_sha256 == files_sha256(conn, run_id))
        .where(_is_operator(), approvals.c.approved_at >= identities.c.activated_at)
    )
    return max(0, needed - int(conn.execute(given).scalar_one()))


def _is_operator() -> ColumnElement[bool]:
    return and_(
        identities.c.kind == IdentityKind.OPERATOR.value,
        identities.c.activated_at.is_not(None),
        identities.c.ended_at.is_(None),
    )

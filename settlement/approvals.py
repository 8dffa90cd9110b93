"""Approvals: before a run's files go to the bank, as many operators as the wallet asks for have looked at it.

Invariant: only a rendered run is approved, so that what was looked at is what is sent, byte for byte; an operator
counts once for a run, and only while still an operator; an approval is never taken back.
"""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.engine import Connection, Row

from settlement.models import RunState, approvals, settlement_runs
from wallet.db import insert_into
from wallet.errors import IdentityNotFound, RunNotFound, RunNotWaiting
from wallet.page_models import IdentityKind, identities


def approve(conn: Connection, run_id: UUID, identity_id: UUID, *, at: dt.datetime) -> bool:
    """Let an operator approve a run; answers whether that was news: who approves twice counts once.

    Raises `RunNotFound`, `RunNotWaiting` unless its files are made and not yet with the bank, or `IdentityNotFound`
    for anybody who is not an operator. Nothing is submitted here: run the day again (`nightly.run`).
    """
    state = conn.execute(select(settlement_runs.c.state).where(settlement_runs.c.id == run_id)).scalar_one_or_none()
    if state is None:
        raise RunNotFound
    if conn.execute(select(identities.c.id).where(identities.c.id == identity_id, _is_operator())).first() is None:
        raise IdentityNotFound
    if state != RunState.RENDERED.value:
        raise RunNotWaiting
    approved = conn.execute(
        insert_into(conn, approvals)
        .values(run_id=run_id, identity_id=identity_id, approved_at=at)
        .on_conflict_do_nothing(index_elements=["run_id", "identity_id"])
        .returning(approvals.c.run_id)
    )
    return approved.one_or_none() is not None


def approvals_of(conn: Connection, run_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """Who approved a run, in that order: ``identity_id``, ``name``, ``identifier``, ``approved_at``, ``ended_at``."""
    whose = (identities.c.name, identities.c.identifier, identities.c.ended_at)
    return conn.execute(
        select(approvals, *whose)
        .join(identities, identities.c.id == approvals.c.identity_id)
        .where(approvals.c.run_id == run_id)
        .order_by(approvals.c.approved_at, approvals.c.identity_id)
    ).all()


def missing(conn: Connection, run_id: UUID, needed: int) -> int:
    """How many approvals a run still lacks of those ``needed``."""
    if needed == 0:
        return 0
    given = (
        select(func.count())
        .select_from(approvals.join(identities, identities.c.id == approvals.c.identity_id))
        .where(approvals.c.run_id == run_id, _is_operator())
    )
    return max(0, needed - int(conn.execute(given).scalar_one()))


def _is_operator() -> ColumnElement[bool]:
    return and_(
        identities.c.kind == IdentityKind.OPERATOR.value,
        identities.c.activated_at.is_not(None),
        identities.c.ended_at.is_(None),
    )

"""Runs: how far each business day's settlement has come, and what it did.

Invariant: everything here is read; `nightly` moves runs.
"""

import datetime as dt
from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement import business_day
from settlement.files import approvals
from settlement.files.bank_transactions import WAITS_FOR_A_PERSON
from settlement.tables import (
    RunState,
    TransactionState,
    bank_messages,
    bank_transactions,
    settlement_runs,
    statement_entries,
    statements,
)
from settlement.tables import bank_files as bank_files_table
from wallet.ground.errors import RunNotFound


def find(conn: Connection, run_id: UUID) -> Row[tuple[object, ...]]:
    """One run, or `RunNotFound`."""
    row = conn.execute(select(settlement_runs).where(settlement_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise RunNotFound
    return row


def listing(conn: Connection, *, before: UUID | None, limit: int) -> list[Row[tuple[object, ...]]]:
    """Runs, newest first, from below run ``before``."""
    query = select(settlement_runs).order_by(settlement_runs.c.id.desc()).limit(limit)
    return list(conn.execute(query if before is None else query.where(settlement_runs.c.id < before)))


def states(conn: Connection) -> dict[dt.date, RunState]:
    """How far each business day is settled, of those whose run has begun."""
    rows = conn.execute(select(settlement_runs.c.business_date, settlement_runs.c.state))
    return {row.business_date: RunState(row.state) for row in rows}


def settled_since(conn: Connection, before: Mapping[dt.date, RunState]) -> list[dt.date]:
    """The business days whose settlement has gone on since it was as ``before`` (`states`), oldest first."""
    return sorted(date for date, state in states(conn).items() if before.get(date) is not state)


def of_date(conn: Connection, business_date: dt.date) -> Row[tuple[object, ...]] | None:
    """The run of a business day, or None where it has not begun."""
    return conn.execute(select(settlement_runs).where(settlement_runs.c.business_date == business_date)).one_or_none()


def is_unfinished(conn: Connection, approvals_needed: int) -> bool:
    """Whether a closed business day has not been settled as far as it can be without an approval."""
    return not set(business_day.closed_dates(conn)) <= finished(conn) | waiting(conn, approvals_needed).keys()


def outcome(conn: Connection, run_id: UUID) -> list[Row[tuple[object, ...]]]:
    """A run's bank transactions counted: ``currency``, ``kind``, ``state``, ``count``, ``amount_micros``."""
    group = (bank_transactions.c.currency, bank_transactions.c.kind, bank_transactions.c.state)
    return list(
        conn.execute(
            select(
                *group,
                func.count().label("count"),
                sa.cast(func.sum(bank_transactions.c.amount_micros), sa.BigInteger).label("amount_micros"),
            )
            .where(bank_transactions.c.run_id == run_id)
            .group_by(*group)
            .order_by(*group)
        )
    )


def files(conn: Connection, run_id: UUID) -> list[Row[tuple[object, ...]]]:
    """A run's bank files without their bytes, in order."""
    columns = [column for column in bank_files_table.c if column.name != "content"]
    return list(
        conn.execute(
            select(*columns).where(bank_files_table.c.run_id == run_id).order_by(bank_files_table.c.message_id)
        )
    )


def troubled(conn: Connection, run_id: UUID) -> list[Row[tuple[object, ...]]]:
    """A run's bank transactions that the bank rejected, gave back, has not answered in time, or will not release."""
    states = [TransactionState.REJECTED.value, TransactionState.RETURNED.value, *WAITS_FOR_A_PERSON]
    return list(
        conn.execute(
            select(bank_transactions)
            .where(bank_transactions.c.run_id == run_id, bank_transactions.c.state.in_(states))
            .order_by(bank_transactions.c.id)
        )
    )


def answers(conn: Connection, run_id: UUID) -> list[Row[tuple[object, ...]]]:
    """The statements and notifications that tell of a run's payments, one by one or as a whole file, oldest first.

    Each row has ``kind``, ``statement_id``, ``imported_at``, its ``message_id``, and ``count``, its entries about this
    run.
    """
    payments = select(bank_transactions.c.end_to_end_id).where(bank_transactions.c.run_id == run_id)
    batches = select(bank_files_table.c.payment_information_id).where(bank_files_table.c.run_id == run_id)
    told = sa.or_(
        statement_entries.c.end_to_end_id.in_(payments), statement_entries.c.payment_information_id.in_(batches)
    )
    of_the_message = (bank_messages.c.imported_at, bank_messages.c.id.label("message_id"))
    group = (statements.c.position, statements.c.kind, statements.c.statement_id, *of_the_message)
    return list(
        conn.execute(
            select(*group, func.count().label("count"))
            .select_from(statement_entries)
            .join(statements, statements.c.id == statement_entries.c.statement_id)
            .join(bank_messages, bank_messages.c.id == statements.c.bank_message_id)
            # Ids grow with time: nothing that the bank said before the run is looked at.
            .where(told, statement_entries.c.id > run_id)
            .group_by(*group)
            .order_by(statements.c.position)
        )
    )


def finished(conn: Connection) -> set[dt.date]:
    """The business days that need nothing more of a run."""
    submitted = settlement_runs.c.state == RunState.SUBMITTED.value
    return set(conn.execute(select(settlement_runs.c.business_date).where(submitted)).scalars())


def waiting(conn: Connection, approvals_needed: int) -> dict[dt.date, UUID]:
    """The runs that wait for approvals, by their business date."""
    rendered = conn.execute(select(settlement_runs).where(settlement_runs.c.state == RunState.RENDERED.value)).all()
    return {run.business_date: run.id for run in rendered if approvals.missing(conn, run.id, approvals_needed)}

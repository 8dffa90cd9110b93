"""A run's bank transactions put into files.

Invariant: what is placed stays where it is: from here on a file is rendered to the same bytes, always.
"""

import datetime as dt
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement.payouts.cut import is_cutting
from settlement.tables import (
    RunState,
    bank_files,
    bank_transactions,
    settlement_runs,
)
from wallet.ground.db import Database


def place(
    database: Database,
    run: Row[tuple[object, ...]],
    *,
    debtor: Mapping[str, str | bool | None],
    file_limit: int,
    at: dt.datetime,
) -> int:
    """Put the run's bank transactions into files of at most ``file_limit``, with their ids and instants; how many.

    ``debtor`` are the columns of `bank_files` that describe our account and its booking. Then the run is *cut*:
    from here on its files can be rendered, and always to the same bytes.
    """
    files = 0
    while True:
        with database.settle() as conn:
            if not is_cutting(conn, run):
                return files
            unplaced = conn.execute(
                select(bank_transactions.c.currency)
                .where(bank_transactions.c.run_id == run.id, bank_transactions.c.message_id.is_(None))
                .order_by(bank_transactions.c.currency)
                .limit(1)
            ).scalar_one_or_none()
            if unplaced is None:
                advance(conn, run, RunState.STARTED, RunState.CUT)
                return files
            _place_file(conn, run, unplaced, debtor, file_limit, at)
            files += 1


def advance(conn: Connection, run: Row[tuple[object, ...]], old: RunState, new: RunState) -> bool:
    """Move a run from one state to the next; answers whether this call did."""
    moved = conn.execute(
        settlement_runs.update()
        .where(settlement_runs.c.id == run.id, settlement_runs.c.state == old.value)
        .values(state=new.value)
    )
    return moved.rowcount == 1


def _place_file(
    conn: Connection,
    run: Row[tuple[object, ...]],
    currency: str,
    debtor: Mapping[str, str | bool | None],
    file_limit: int,
    at: dt.datetime,
) -> None:
    placed = conn.execute(
        select(bank_transactions.c.id, bank_transactions.c.amount_micros)
        .where(
            bank_transactions.c.run_id == run.id,
            bank_transactions.c.message_id.is_(None),
            bank_transactions.c.currency == currency,
        )
        .order_by(bank_transactions.c.id)
        .limit(file_limit)
    ).all()
    number = (
        1 + conn.execute(select(func.count()).select_from(bank_files).where(bank_files.c.run_id == run.id)).scalar_one()
    )
    # The run's own random bits keep the id from colliding with another wallet's at the same bank.
    message_id = f"OBOLE-{run.business_date:%Y%m%d}-{run.id.hex[-8:].upper()}-{number:04d}"
    conn.execute(
        bank_files.insert().values(
            message_id=message_id,
            payment_information_id=f"{message_id}-P1",
            run_id=run.id,
            currency=currency,
            state="cut",
            created_at=at.replace(microsecond=0),
            execution_date=run.execution_date,
            transaction_count=len(placed),
            control_sum_micros=sum(row.amount_micros for row in placed),
            **debtor,
        )
    )
    conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.id == sa.bindparam("transaction"))
        .values(message_id=message_id, position=sa.bindparam("place")),
        [{"transaction": row.id, "place": place} for place, row in enumerate(placed)],
    )

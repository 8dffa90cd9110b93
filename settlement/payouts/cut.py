"""The cut: what each merchant is owed for the closed days becomes one payout, or waits.

Invariant: a payout is the redemptions and refunds of one merchant over a range of closed business days, and every
micro of them is paid, is a fee, or is carried to the next.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, select
from sqlalchemy.engine import Connection, Row

from settlement.payouts.decide import Owed, Pay, Wait, pay_or_wait
from settlement.payouts.owed import FIRST, candidates
from settlement.tables import (
    RunState,
    TransactionKind,
    TransactionState,
    bank_transactions,
    own_payments,
    payouts,
    settlement_runs,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.db import Database
from wallet.ground.ids import new_id, new_reference
from wallet.merchants.merchants import terms_of
from wallet.tables.books import Reason, transfers
from wallet.tables.funding import withdrawals

# Payments that were asked for, cut in one transaction.
_ASKED_FOR_AT_ONCE = 500


def cut(
    database: Database,
    run: Row[tuple[object, ...]],
    *,
    bank_fees_micros: Mapping[str, int],
    at: dt.datetime,
) -> int:
    """Make the payouts and the withdrawals' bank transactions of a run's business day; answers how many.

    One transaction for each five hundred merchants: killed in between, it goes on with those that have none.
    """
    made, after = 0, FIRST
    while True:
        with database.settle() as conn:
            if not is_cutting(conn, run):
                return made
            batch = candidates(conn, up_to=run.business_date, after=after, lock=True)
            if not batch:
                break
            made += _cut_merchants(conn, run, batch, bank_fees_micros, at)
            after = batch[-1][0].id
    while True:
        with database.settle() as conn:
            if not is_cutting(conn, run):
                return made
            asked_for = _cut_asked_for(conn, run, at)
            made += asked_for
            if asked_for == 0:
                return made


def is_cutting(conn: Connection, run: Row[tuple[object, ...]]) -> bool:
    query = select(settlement_runs.c.state).where(settlement_runs.c.id == run.id)
    return bool(conn.execute(query).scalar_one() == RunState.STARTED.value)


def _cut_merchants(
    conn: Connection,
    run: Row[tuple[object, ...]],
    batch: Sequence[tuple[Row[tuple[object, ...]], Owed]],
    bank_fees_micros: Mapping[str, int],
    at: dt.datetime,
) -> int:
    bank_rows: list[dict[str, object]] = []
    payout_rows: list[dict[str, object]] = []
    postings: list[Posting] = []
    for merchant, owed in batch:
        decision = pay_or_wait(
            owed,
            terms_of(merchant),
            bank_fee_micros=bank_fees_micros.get(merchant.currency, 0),
            currency=merchant.currency,
            business_date=run.business_date,
        )
        if isinstance(decision, Wait):
            continue
        payout_id = new_id()
        bank_rows.append(
            _bank_row(
                payout_id,
                TransactionKind.PAYOUT,
                run,
                at,
                merchant_id=merchant.id,
                currency=merchant.currency,
                amount_micros=decision.net_micros,
                creditor_name=merchant.legal_name,
                creditor_iban=merchant.iban,
            )
        )
        payout_rows.append(
            {
                "id": payout_id,
                "merchant_id": merchant.id,
                "currency": merchant.currency,
                "after_date": merchant.after_date,
                "business_date": run.business_date,
                "carried_in_micros": owed.carried_in_micros,
                "captured_micros": owed.captured_micros,
                "refunded_micros": owed.refunded_micros,
                "came_back_micros": owed.came_back_micros,
                "repaid_micros": owed.repaid_micros,
                "commission_micros": decision.commission_micros,
                "bank_fee_micros": decision.bank_fee_micros,
                "bank_fee_each_micros": bank_fees_micros.get(merchant.currency, 0),
                "net_micros": decision.net_micros,
                "carried_out_micros": decision.carried_out_micros,
            }
        )
        postings += _postings(payout_id, merchant, decision)
    if bank_rows:
        conn.execute(bank_transactions.insert(), bank_rows)
        conn.execute(payouts.insert(), payout_rows)
        ledger.post_all(conn, postings, recorded_at=at)
    return len(bank_rows)


def _postings(payout_id: UUID, merchant: Row[tuple[object, ...]], decision: Pay) -> Iterator[Posting]:
    amounts = {
        Reason.PAYOUT: decision.net_micros,
        Reason.COMMISSION: decision.commission_micros,
        Reason.BANK_FEE_SHARE: decision.bank_fee_micros,
    }
    for reason, micros in amounts.items():
        if micros:
            yield Posting(
                reason=reason,
                currency=merchant.currency,
                amount_micros=micros,
                reference=payout_id,
                merchant_id=merchant.id,
            )


def _cut_asked_for(conn: Connection, run: Row[tuple[object, ...]], at: dt.datetime) -> int:
    """Make bank transactions of withdrawals and of the operator's own payments, some at once; answers how many."""
    of_the_days = and_(transfers.c.reference == withdrawals.c.id, transfers.c.reason == Reason.WITHDRAWAL.value)
    withdrawn = _uncut(withdrawals).join(transfers, of_the_days).where(transfers.c.business_date <= run.business_date)
    due = [(TransactionKind.WITHDRAWAL, row, {"purse_id": row.purse_id}) for row in conn.execute(withdrawn)]
    # Nobody's statement depends on the day that they belong to, so whatever was asked for by now goes.
    due += [(TransactionKind(row.kind), row, {}) for row in conn.execute(_uncut(own_payments))]
    if due:
        conn.execute(
            bank_transactions.insert(),
            [
                _bank_row(
                    row.id,
                    kind,
                    run,
                    at,
                    currency=row.currency,
                    amount_micros=row.amount_micros,
                    creditor_name=row.creditor_name,
                    creditor_iban=row.creditor_iban,
                    **whose,
                )
                for kind, row, whose in due
            ],
        )
    return len(due)


def _uncut(asked_for: sa.Table) -> sa.Select[Any]:
    return (
        select(asked_for)
        .outerjoin(bank_transactions, bank_transactions.c.id == asked_for.c.id)
        .where(bank_transactions.c.id.is_(None))
        .order_by(asked_for.c.id)
        .limit(_ASKED_FOR_AT_ONCE)
    )


def _bank_row(
    transaction_id: UUID,
    kind: TransactionKind,
    run: Row[tuple[object, ...]],
    at: dt.datetime,
    **facts: object,
) -> dict[str, object]:
    return {
        "id": transaction_id,
        "kind": kind.value,
        "merchant_id": None,
        "purse_id": None,
        "run_id": run.id,
        "end_to_end_id": transaction_id.hex,
        "reference": new_reference(),
        "state": TransactionState.CUT.value,
        "state_since": at,
        **facts,
    }

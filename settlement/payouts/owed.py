"""What merchants are owed for closed days: what moved since they were last paid, found by range.

Invariant: nothing that was sold is rewritten: the list of a payout is found again by its range.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, case, func, select
from sqlalchemy.engine import Connection, Row

from settlement.payouts.decide import Owed
from settlement.payouts.retries import held_back_query, is_about_account
from settlement.tables import payouts, undone_bookings
from wallet.tables.books import AccountKind, Reason, accounts, transfers
from wallet.tables.merchants import merchants

# How many merchants are cut in one transaction; they come by id.
BATCH = 500
FIRST = UUID(int=0)
# What takes back what an earlier payout may have paid: on early word of the bank that never came true.
_UNDONE = (Reason.PAYOUT_RETURNED_UNDONE, Reason.MERCHANT_REPAID_UNDONE)
_TAKEN = [reason.value for reason in (Reason.REFUND, *_UNDONE)]


def candidates(
    conn: Connection,
    *,
    up_to: dt.date,
    after: UUID = FIRST,
    only: UUID | None = None,
    limit: int = BATCH,
    lock: bool = False,
) -> Sequence[tuple[Row[tuple[object, ...]], Owed]]:
    """Merchants without a payout for ``up_to``, in order of id above ``after``, each with what it is owed.

    ``lock`` keeps them from giving money back until the transaction ends (`wallet.merchants.merchants.lock`).
    """
    earlier = payouts.alias("earlier")
    last_date = (
        select(func.max(earlier.c.business_date)).where(earlier.c.merchant_id == merchants.c.id).scalar_subquery()
    )
    query = (
        select(
            merchants,
            accounts.c.id.label("account_id"),
            payouts.c.business_date.label("after_date"),
            func.coalesce(payouts.c.carried_out_micros, 0).label("carried_in_micros"),
        )
        .join(
            accounts,
            and_(
                accounts.c.owner_id == merchants.c.id,
                accounts.c.kind == AccountKind.PAYABLE.value,
                accounts.c.currency == merchants.c.currency,
            ),
        )
        .outerjoin(payouts, and_(payouts.c.merchant_id == merchants.c.id, payouts.c.business_date == last_date))
        .where(
            merchants.c.id > after,
            sa.or_(payouts.c.business_date.is_(None), payouts.c.business_date < up_to),
        )
        .order_by(merchants.c.id)
        .limit(limit)
    )
    if lock:
        query = query.with_for_update(key_share=True, of=merchants)
    rows = conn.execute(query if only is None else query.where(merchants.c.id == only)).all()
    moved = _moved(conn, rows, up_to)
    return [(row, moved[row.account_id]) for row in rows]


def lines_query(payout: Row[tuple[object, ...]], *, after: int = 0) -> sa.CompoundSelect[tuple[object, ...]]:
    """The payout's list from above transfer ``after``: redemptions, refunds, payouts that came back, what was repaid.

    Each row has ``id``, ``reason``, ``reference`` (voucher, refund, payout, or what a repayment is known by),
    ``amount_micros`` (negative for a refund, and for what had not come back or been repaid after all),
    ``business_date``, ``recorded_at``.
    """
    account_id = payable_account(payout.merchant_id, payout.currency)
    of_range = in_range(payout.after_date, payout.business_date) & (transfers.c.id > after)
    # What was undone, and booked after all, is the payout's all the same.
    payout_id = func.coalesce(undone_bookings.c.bank_transaction_id, transfers.c.reference).label("reference")
    columns = (transfers.c.id, transfers.c.reason, payout_id)
    when = (transfers.c.business_date, transfers.c.recorded_at)
    moved = transfers.outerjoin(undone_bookings, undone_bookings.c.id == transfers.c.reference)
    return sa.union_all(
        select(*columns, transfers.c.amount_micros.label("amount_micros"), *when)
        .select_from(moved)
        .where(transfers.c.credit_account_id == account_id, of_range),
        select(*columns, -transfers.c.amount_micros, *when)
        .select_from(moved)
        .where(transfers.c.debit_account_id == account_id, transfers.c.reason.in_(_TAKEN), of_range),
    )


def payable_account(merchant_id: object, currency: object) -> sa.ScalarSelect[int]:
    """The id of a merchant's payable account as an SQL expression."""
    return (
        select(accounts.c.id)
        .where(
            accounts.c.owner_id == merchant_id,
            accounts.c.kind == AccountKind.PAYABLE.value,
            accounts.c.currency == currency,
        )
        .scalar_subquery()
    )


def in_range(after_date: object, up_to: object) -> sa.ColumnElement[bool]:
    """Whether a transfer belongs to the business days after ``after_date`` (None: the first) up to ``up_to``."""
    after = transfers.c.business_date > (after_date if after_date is not None else dt.date.min)
    return after & (transfers.c.business_date <= up_to)


def _moved(conn: Connection, rows: Sequence[Row[tuple[object, ...]]], up_to: dt.date) -> dict[int, Owed]:
    if not rows:
        return {}
    ids = [row.account_id for row in rows]
    since = (
        sa.values(sa.column("account_id", sa.BigInteger), sa.column("after_date", sa.Date))
        .data([(row.account_id, row.after_date or dt.date.min) for row in rows])
        .cte("since")
    )
    credits = (
        select(
            transfers.c.credit_account_id.label("account_id"),
            func.sum(_if(Reason.REDEEM)).label("captured"),
            func.sum(_if(Reason.PAYOUT_REJECTED, Reason.PAYOUT_RETURNED)).label("came_back"),
            func.sum(_if(Reason.MERCHANT_REPAID, Reason.WRITTEN_OFF)).label("repaid"),
            func.min(transfers.c.business_date).label("oldest"),
        )
        .join(since, since.c.account_id == transfers.c.credit_account_id)
        .where(transfers.c.business_date > since.c.after_date, transfers.c.business_date <= up_to)
        .group_by(transfers.c.credit_account_id)
    )
    debits = (
        select(
            transfers.c.debit_account_id.label("account_id"),
            func.sum(_if(Reason.REFUND)).label("refunded"),
            func.sum(_if(Reason.PAYOUT_RETURNED_UNDONE)).label("not_come_back"),
            func.sum(_if(Reason.MERCHANT_REPAID_UNDONE)).label("not_repaid"),
        )
        .join(since, since.c.account_id == transfers.c.debit_account_id)
        .where(transfers.c.business_date > since.c.after_date, transfers.c.business_date <= up_to)
        .group_by(transfers.c.debit_account_id)
    )
    gone_since = _refunded_since(conn, ids, up_to)
    credited = {row.account_id: row for row in conn.execute(credits)}
    debited = {row.account_id: row for row in conn.execute(debits)}
    facts = {row.account_id: row for row in rows}
    held_back: defaultdict[UUID, list[Row[tuple[object, ...]]]] = defaultdict(list)
    for failed in conn.execute(held_back_query(up_to).where(merchants.c.id.in_([row.id for row in rows]))):
        held_back[failed.merchant_id].append(failed)

    def sums(rows: Mapping[int, Row[Any]], account_id: int, name: str) -> int:
        return int(getattr(rows[account_id], name)) if account_id in rows else 0

    return {
        account_id: Owed(
            carried_in_micros=int(facts[account_id].carried_in_micros),
            captured_micros=sums(credited, account_id, "captured"),
            refunded_micros=sums(debited, account_id, "refunded"),
            came_back_micros=sums(credited, account_id, "came_back") - sums(debited, account_id, "not_come_back"),
            repaid_micros=sums(credited, account_id, "repaid") - sums(debited, account_id, "not_repaid"),
            refunded_since_micros=gone_since.get(account_id, 0),
            oldest=credited[account_id].oldest if account_id in credited else None,
            **_waits(held_back[facts[account_id].id]),
        )
        for account_id in ids
    }


def _refunded_since(conn: Connection, account_ids: Sequence[int], up_to: dt.date) -> dict[int, int]:
    """What was refunded or undone after ``up_to``, less what came in after it: nothing, unless the day closed since."""
    since = transfers.c.business_date > up_to
    refunded = (
        select(transfers.c.debit_account_id, func.sum(transfers.c.amount_micros))
        .where(transfers.c.debit_account_id.in_(account_ids), transfers.c.reason.in_(_TAKEN), since)
        .group_by(transfers.c.debit_account_id)
    )
    gone = {account_id: int(micros) for account_id, micros in conn.execute(refunded)}
    if not gone:
        return {}
    came_in = (
        select(transfers.c.credit_account_id, func.sum(transfers.c.amount_micros))
        .where(transfers.c.credit_account_id.in_(list(gone)), since)
        .group_by(transfers.c.credit_account_id)
    )
    for account_id, micros in conn.execute(came_in):
        gone[account_id] = max(0, gone[account_id] - int(micros))
    return gone


def _waits(held_back: Sequence[Row[tuple[object, ...]]]) -> dict[str, Any]:
    for_a_person = [is_about_account(failed.state_detail) for failed in held_back if failed.retry_from is None]
    return {
        "account_refused": any(for_a_person),
        "waits_for_a_word": not all(for_a_person),
        "retry_from": max((failed.retry_from for failed in held_back if failed.retry_from is not None), default=None),
    }


def _if(*reasons: Reason) -> sa.Case[int]:
    return case((transfers.c.reason.in_([reason.value for reason in reasons]), transfers.c.amount_micros), else_=0)

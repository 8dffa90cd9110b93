"""Room 6, payouts: the cut. What each merchant is owed for the closed days becomes one payout, or waits.

Invariant: a payout is the redemptions and refunds of one merchant over a range of closed business days, and every
micro of them is paid, is a fee, or is carried to the next. Nothing that was sold is rewritten: the list is found
again by its range.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, case, func, select
from sqlalchemy.engine import Connection, Row

from settlement.business_day import open_date
from settlement.tables import (
    RunState,
    TransactionKind,
    TransactionState,
    bank_files,
    bank_transactions,
    own_payments,
    payouts,
    settlement_runs,
    undone_bookings,
)
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.db import Database
from wallet.ground.errors import NothingWaits
from wallet.ground.ids import new_id, new_reference
from wallet.ground.money import largest_transaction, share_bp, whole_minor
from wallet.merchants.merchants import Terms, find, terms_of
from wallet.tables.books import AccountKind, Reason, accounts, transfers
from wallet.tables.funding import withdrawals
from wallet.tables.merchants import BankFeeBearer, merchants

_BATCH = 500
_FIRST = UUID(int=0)

# Reasons of the bank (ISO 20022 external code sets, ExternalStatusReason1Code and ExternalReturnReason1Code) that lie
# in the creditor's account, its bank, or whoever holds it: the same again would only cost another fee. AC13, BE05 and
# BE07 are the debtor's by the letter; in a return, debtor and creditor have changed places. RVMC, RVNM and RVNA are
# what a verification of payee found: the same name would be found so again.
_ACCOUNT_REASONS = frozenset(
    "AC01 AC03 AC04 AC06 AC07 AC09 AC11 AC12 AC13 AC14 AC15 AG01 AG03 BE01 BE04 BE05 BE06 BE07 BE11 BE14 BE17 "
    "CNOR LEGL MD07 RC01 RC04 RC07 RR03 RR04 RVMC RVNA RVNM".split()
)
# Days from a try that failed to the next one: after so many, money waits for a word.
_NEXT_TRY_DAYS = (1, 3, 7)
# What takes back what an earlier payout may have paid: on early word of the bank that never came true.
_UNDONE = (Reason.PAYOUT_RETURNED_UNDONE, Reason.MERCHANT_REPAID_UNDONE)
_TAKEN = [reason.value for reason in (Reason.REFUND, *_UNDONE)]
_FAILED = (TransactionState.REJECTED.value, TransactionState.RETURNED.value)


class WaitReason(StrEnum):
    """The one reason why money is not paid tonight."""

    NOTHING_OWED = "nothing_owed"
    REFUNDS_EXCEED_SALES = "refunds_exceed_sales"
    ACCOUNT_REFUSED = "account_refused"
    RETRY_LATER = "retry_later"
    WAITS_FOR_A_WORD = "waits_for_a_word"
    BELOW_MINOR_UNIT = "below_minor_unit"
    BELOW_MINIMUM = "below_minimum"
    FEE_SHARE_TOO_HIGH = "fee_share_too_high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What happened on one merchant's payable account since its last payout, in micros."""

    carried_in_micros: int = 0
    captured_micros: int = 0
    refunded_micros: int = 0
    came_back_micros: int = 0
    # What it paid back of what it owed, or was forgiven.
    repaid_micros: int = 0
    # What was refunded since, beyond what came in since: the next payout takes it off, this one must leave it.
    refunded_since_micros: int = 0
    # The business date of the oldest credit among them.
    oldest: dt.date | None = None
    # The bank refused or gave back a payout to the account that the merchant still has: because of the account, or so
    # often that an operator decides, or it is tried again from this business date on.
    account_refused: bool = False
    waits_for_a_word: bool = False
    retry_from: dt.date | None = None

    @property
    def gross_micros(self) -> int:
        came_in = self.carried_in_micros + self.captured_micros + self.came_back_micros + self.repaid_micros
        return came_in - self.refunded_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay:
    """Pay now: ``net`` crosses the border; commission, bank fee, net and what is carried add up to the gross."""

    commission_micros: int
    bank_fee_micros: int
    net_micros: int
    carried_out_micros: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do not pay yet. ``until`` is the business date on which it will be paid at the latest, if time alone helps."""

    reason: WaitReason
    until: dt.date | None = None


def decide(owed: Owed, terms: Terms, *, bank_fee_micros: int, currency: str, business_date: dt.date) -> Pay | Wait:
    """What to do with ``owed`` at the end of ``business_date``: pure arithmetic.

    Commission is taken of what was captured less what was refunded. ``bank_fee_micros`` is what the bank charges
    for one transaction; the merchant bears it only if its terms say so, but the fee share looks at it either way. It
    bears it once for what it sold: nothing is charged for money that came back and is sent again. What was refunded
    since is carried over: paid out, it would be given away twice. What is more than one transaction carries is left for
    the next.
    """
    gross = owed.gross_micros
    if gross <= 0:
        return Wait(WaitReason.NOTHING_OWED if gross == 0 else WaitReason.REFUNDS_EXCEED_SALES)
    if owed.account_refused:
        return Wait(WaitReason.ACCOUNT_REFUSED)
    if owed.waits_for_a_word:
        return Wait(WaitReason.WAITS_FOR_A_WORD)
    if owed.retry_from is not None and business_date < owed.retry_from:
        return Wait(WaitReason.RETRY_LATER, owed.retry_from)
    commission = share_bp(max(0, owed.captured_micros - owed.refunded_micros), terms.commission_bp)
    fee = bank_fee_micros if terms.bank_fee is BankFeeBearer.MERCHANT and owed.captured_micros else 0
    left = gross - commission - fee
    still_there = left - owed.refunded_since_micros
    net = min(whole_minor(still_there, currency), largest_transaction(currency)) if still_there > 0 else 0
    if net == 0:
        return Wait(WaitReason.REFUNDS_EXCEED_SALES if still_there < 0 < left else WaitReason.BELOW_MINOR_UNIT)
    until = (owed.oldest or business_date) + dt.timedelta(days=terms.maximum_wait_days)
    if business_date < until:
        if net < terms.minimum_payout_micros:
            return Wait(WaitReason.BELOW_MINIMUM, until)
        if bank_fee_micros * 10_000 > terms.maximum_fee_share_bp * gross:
            return Wait(WaitReason.FEE_SHARE_TOO_HIGH, until)
    return Pay(commission_micros=commission, bank_fee_micros=fee, net_micros=net, carried_out_micros=left - net)


def candidates(
    conn: Connection,
    *,
    up_to: dt.date,
    after: UUID = _FIRST,
    only: UUID | None = None,
    limit: int = _BATCH,
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


def next_try(business_date: dt.date, *, tries: int, detail: str | None) -> dt.date | None:
    """From which business date a payout of ``business_date``, the last of ``tries`` that failed, may be sent again.

    ``detail`` is the bank's reason. None: when an operator says so (`try_again`), or to another account.
    """
    if is_about_account(detail) or tries > len(_NEXT_TRY_DAYS):
        return None
    return business_date + dt.timedelta(days=_NEXT_TRY_DAYS[tries - 1])


def is_about_account(detail: str | None) -> bool:
    """Whether the bank's reason, its code first, lies in the creditor's account or in whoever holds it."""
    return (detail or "").partition(" ")[0] in _ACCOUNT_REASONS


def plan_next_try(conn: Connection, payout_id: UUID, *, detail: str | None) -> None:
    """Say from when the money of a payout that has just failed may be sent again (`next_try`).

    What counts are the failures in a row, back to the last payout that was booked and did not come back; a return may
    take days, so payouts after this one tell nothing. Another account begins anew.
    """
    theirs = select(payouts.c.business_date).join(bank_transactions, bank_transactions.c.id == payouts.c.id)
    failed = conn.execute(
        theirs.add_columns(payouts.c.merchant_id, bank_transactions.c.creditor_iban).where(payouts.c.id == payout_id)
    ).one()
    earlier = and_(payouts.c.merchant_id == failed.merchant_id, payouts.c.business_date < failed.business_date)
    paid_date = conn.execute(
        theirs.where(earlier, bank_transactions.c.state == TransactionState.BOOKED.value)
        .order_by(payouts.c.business_date.desc())
        .limit(1)
    ).scalar_one_or_none()
    in_a_row = theirs.where(
        earlier,
        payouts.c.business_date > (paid_date or dt.date.min),
        bank_transactions.c.state.in_(_FAILED),
        bank_transactions.c.creditor_iban == failed.creditor_iban,
    )
    tries = 1 + conn.execute(select(func.count()).select_from(in_a_row.subquery())).scalar_one()
    conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.id == payout_id)
        .values(retry_from=next_try(failed.business_date, tries=tries, detail=detail))
    )


def try_again(conn: Connection, merchant_id: UUID) -> None:
    """An operator's word: what the bank refused or gave back is sent again with the next run, to the same account.

    If it fails again it waits for a word again. Raises `MerchantNotFound`, or `NothingWaits`.
    """
    find(conn, merchant_id)
    tonight = open_date(conn)
    freed = conn.execute(
        bank_transactions.update()
        .where(
            bank_transactions.c.id.in_(
                _held_back(tonight).with_only_columns(bank_transactions.c.id).where(merchants.c.id == merchant_id)
            )
        )
        .values(retry_from=tonight)
    )
    if not freed.rowcount:
        raise NothingWaits


def waiting_for_a_person(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    """Payouts that failed and are sent again only to another account, or when an operator says so.

    Each row is the merchant's, with the payout's ``state_detail``, ``state_since`` and ``amount_micros``.
    """
    failure = (bank_transactions.c.state_detail, bank_transactions.c.state_since, bank_transactions.c.amount_micros)
    waiting: sa.Select[tuple[object, ...]] = _held_back(None).with_only_columns(*merchants.c, *failure)
    return conn.execute(waiting.order_by(merchants.c.id, bank_transactions.c.id)).all()


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
    made, after = 0, _FIRST
    while True:
        with database.settle() as conn:
            if not _is_cutting(conn, run):
                return made
            batch = candidates(conn, up_to=run.business_date, after=after, lock=True)
            if not batch:
                break
            made += _cut_merchants(conn, run, batch, bank_fees_micros, at)
            after = batch[-1][0].id
    while True:
        with database.settle() as conn:
            if not _is_cutting(conn, run):
                return made
            asked_for = _cut_asked_for(conn, run, at)
            made += asked_for
            if asked_for == 0:
                return made


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
            if not _is_cutting(conn, run):
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


def _held_back(up_to: dt.date | None) -> sa.Select[tuple[object, ...]]:
    """Failed payouts to accounts that merchants still have, not to be sent again by ``up_to``; None: by themselves."""
    waits = bank_transactions.c.retry_from.is_(None)
    return (
        select(bank_transactions)
        .join(
            merchants,
            and_(
                merchants.c.id == bank_transactions.c.merchant_id, merchants.c.iban == bank_transactions.c.creditor_iban
            ),
        )
        .where(
            bank_transactions.c.state.in_(_FAILED),
            waits if up_to is None else sa.or_(waits, bank_transactions.c.retry_from > up_to),
        )
    )


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
    for failed in conn.execute(_held_back(up_to).where(merchants.c.id.in_([row.id for row in rows]))):
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


def _is_cutting(conn: Connection, run: Row[tuple[object, ...]]) -> bool:
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
        decision = decide(
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
        .limit(_BATCH)
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

"""Payout statements: every line behind one bank transaction, and what the bank would have cost one by one.

Invariant: the lines add up to the payout; the last rows of the CSV say so in figures anyone can check.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement import payouts as payout_room
from settlement.models import TransactionState, bank_transactions, payouts, settlement_runs
from wallet.clock import rfc3339
from wallet.errors import PayoutNotFound
from wallet.models import AccountKind, Reason, accounts, refunds, transfers, vouchers
from wallet.money import decimal_string

_COLUMNS = (
    *payouts.c,
    bank_transactions.c.state,
    bank_transactions.c.state_since,
    bank_transactions.c.state_detail,
    bank_transactions.c.end_to_end_id,
    bank_transactions.c.reference,
    bank_transactions.c.creditor_iban,
    bank_transactions.c.message_id,
    settlement_runs.c.execution_date,
)
_PAYOUTS = (
    select(*_COLUMNS)
    .join(bank_transactions, bank_transactions.c.id == payouts.c.id)
    .join(settlement_runs, settlement_runs.c.id == bank_transactions.c.run_id)
)


def find(conn: Connection, payout_id: UUID, *, merchant_id: UUID) -> Row[tuple[object, ...]]:
    """A merchant's payout with its bank transaction's state and references, or `PayoutNotFound`."""
    row = conn.execute(_PAYOUTS.where(payouts.c.id == payout_id, payouts.c.merchant_id == merchant_id)).one_or_none()
    if row is None:
        raise PayoutNotFound
    return row


def listing(
    conn: Connection, merchant_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """A merchant's payouts, newest first, from below payout ``before``."""
    query = _PAYOUTS.where(payouts.c.merchant_id == merchant_id).order_by(payouts.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(payouts.c.id < before)).all()


def purchase_count(conn: Connection, payout: Row[tuple[object, ...]]) -> int:
    """How many redeemed vouchers the payout pays: what the bank's fee is spread over."""
    account = payout_room.payable_account(payout.merchant_id, payout.currency)
    count: int = conn.execute(
        select(func.count())
        .select_from(transfers)
        .where(
            transfers.c.credit_account_id == account,
            transfers.c.reason == Reason.REDEEM.value,
            payout_room.in_range(payout.after_date, payout.business_date),
        )
    ).scalar_one()
    return count


def payout_of(conn: Connection, voucher_id: UUID) -> Row[tuple[object, ...]] | None:
    """The payout that a redeemed voucher is in now: if one came back, the one that paid it again. None before."""
    redeemed = conn.execute(
        select(accounts.c.owner_id, transfers.c.business_date)
        .join(accounts, accounts.c.id == transfers.c.credit_account_id)
        .where(
            transfers.c.reference == voucher_id,
            transfers.c.reason == Reason.REDEEM.value,
            accounts.c.kind == AccountKind.PAYABLE.value,
        )
    ).one_or_none()
    payout = None if redeemed is None else _covering(conn, redeemed.owner_id, redeemed.business_date)
    while payout is not None and payout.state in (
        TransactionState.REJECTED.value,
        TransactionState.RETURNED.value,
    ):
        came_back = conn.execute(
            select(transfers.c.business_date).where(
                transfers.c.reference == payout.id,
                transfers.c.reason.in_([Reason.PAYOUT_REJECTED.value, Reason.PAYOUT_RETURNED.value]),
            )
        ).scalar_one()
        again = _covering(conn, payout.merchant_id, came_back)
        if again is None:
            break
        payout = again
    return payout


def as_csv(conn: Connection, payout: Row[tuple[object, ...]], *, bank_fee_micros: int) -> Iterator[str]:
    """The statement as CSV (RFC 4180), line by line: every purchase and refund, then the totals."""
    yield _line("line", "date", "recorded_at", "kind", "reference", "resource", "amount", "currency")
    purchases = 0
    for number, line in enumerate(lines(conn, payout), start=1):
        purchases += line.reason == Reason.REDEEM.value
        yield _line(
            number,
            line.business_date,
            rfc3339(line.recorded_at),
            line.reason,
            line.reference,
            _inert(line.resource or ""),
            decimal_string(line.amount_micros, payout.currency),
            payout.currency,
        )
    totals = {
        "carried_in": payout.carried_in_micros,
        "commission": -payout.commission_micros,
        "bank_fee": -payout.bank_fee_micros,
        "carried_out": -payout.carried_out_micros,
        "paid": payout.net_micros,
        "bank_fee_if_paid_one_by_one": purchases * bank_fee_micros,
    }
    for kind, micros in totals.items():
        amount = decimal_string(micros, payout.currency)
        yield _line("", payout.business_date, "", kind, payout.reference, "", amount, payout.currency)


def lines(
    conn: Connection, payout: Row[tuple[object, ...]], *, after: int = 0, limit: int | None = None
) -> Iterator[Row[tuple[object, ...]]]:
    """The payout's lines with the ``voucher_id`` and ``resource`` each is about; see `settlement.payouts.lines`."""
    listed = payout_room.lines_query(payout, after=after).subquery()
    query = (
        select(listed, vouchers.c.id.label("voucher_id"), vouchers.c.resource)
        .outerjoin(refunds, refunds.c.id == listed.c.reference)
        .outerjoin(vouchers, vouchers.c.id == func.coalesce(refunds.c.voucher_id, listed.c.reference))
        .order_by(listed.c.id)
    )
    # Closed even when whoever reads stops half way: on PostgreSQL it is a cursor of the server.
    with conn.execution_options(yield_per=500).execute(query if limit is None else query.limit(limit)) as rows:
        yield from rows


def _covering(conn: Connection, merchant_id: UUID, business_date: object) -> Row[tuple[object, ...]] | None:
    return conn.execute(
        _PAYOUTS.where(
            payouts.c.merchant_id == merchant_id,
            payouts.c.business_date >= business_date,
            (payouts.c.after_date.is_(None)) | (payouts.c.after_date < business_date),
        )
    ).one_or_none()


def _line(*cells: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


# Where a cell may begin: at the start, or after what some spreadsheet takes for a separator or a quote, whatever
# this file quotes (in French, Excel splits at semicolons). A formula may also begin with a full-width sign.
_FORMULA = re.compile(r"(^|[;,|\"'])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def _inert(text: str) -> str:
    """A spreadsheet must not take a shopper's text for a formula (OWASP, CSV injection)."""
    return _FORMULA.sub(r"\1'", text)

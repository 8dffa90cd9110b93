"""A merchant's sales: the vouchers issued to it, whatever became of them, and how much each day brought.

Invariant: a merchant sees what is its own and knows a purse by its pseudonym only, never the shopper
(docs/design.md, Vouchers and orders). Days are business days, as on the payouts, and their totals are what the books
moved on them.
"""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import case, func, or_, select
from sqlalchemy.engine import Connection, Row

from wallet.ground.errors import VoucherNotFound
from wallet.keys.ring import Keyring
from wallet.tables.books import AccountKind, DayState, Reason, accounts, business_days, transfers
from wallet.tables.purchases import VoucherState, checkouts, vouchers


class SaleState(StrEnum):
    """What became of a sale. *Refunded*: all or part of what was captured went back."""

    HELD = "held"
    REDEEMED = "redeemed"
    REFUNDED = "refunded"
    RELEASED = "released"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesFilter:
    """Which sales. ``text`` is part of what was bought or of the merchant's order id, or a voucher's whole id;
    ``since`` and ``until`` are UTC dates of issue, both included."""

    text: str | None = None
    state: SaleState | None = None
    since: dt.date | None = None
    until: dt.date | None = None


EVERYTHING = SalesFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One sale; amounts in micros. ``order_id`` and ``description`` are its checkout's, if it was one."""

    id: UUID
    pseudonym: str
    currency: str
    state: SaleState
    amount_micros: int
    captured_micros: int | None
    refunded_micros: int
    resource: str | None
    order_id: str | None
    description: str | None
    issued_at: dt.datetime
    expires_at: dt.datetime
    hold_expires_at: dt.datetime
    ended_at: dt.datetime | None

    @property
    def refundable_micros(self) -> int:
        """What may still be given back."""
        return (self.captured_micros or 0) - self.refunded_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One business day: how many purchases were captured, and what they and the refunds of the day came to."""

    business_date: dt.date
    count: int = 0
    captured_micros: int = 0
    refunded_micros: int = 0


def listing(
    conn: Connection, keyring: Keyring, merchant_id: UUID, search: SalesFilter, *, before: UUID | None, limit: int
) -> list[Sale]:
    """The merchant's sales that match, newest first, from below voucher ``before``."""
    query = _SALES.where(vouchers.c.merchant_id == merchant_id, *_matching(search))
    if before is not None:
        query = query.where(vouchers.c.id < before)
    rows = conn.execute(query.order_by(vouchers.c.id.desc()).limit(limit)).all()
    return [_sale(row, keyring) for row in rows]


def find(conn: Connection, keyring: Keyring, merchant_id: UUID, voucher_id: UUID) -> Sale:
    """One of the merchant's sales; `VoucherNotFound` for anything else."""
    mine = (vouchers.c.id == voucher_id) & (vouchers.c.merchant_id == merchant_id)
    row = conn.execute(_SALES.where(mine)).one_or_none()
    if row is None:
        raise VoucherNotFound
    return _sale(row, keyring)


def days(conn: Connection, merchant_id: UUID, currency: str, *, count: int = 30) -> list[Day]:
    """The merchant's last ``count`` business dates up to the open one, oldest first, those without sales too."""
    last = conn.execute(
        select(business_days.c.business_date).where(business_days.c.state == DayState.OPEN.value)
    ).scalar_one_or_none()
    if last is None:
        return []  # the books were never opened
    first = last - dt.timedelta(days=count - 1)
    account = (
        select(accounts.c.id)
        .where(
            accounts.c.owner_id == merchant_id,
            accounts.c.kind == AccountKind.PAYABLE.value,
            accounts.c.currency == currency,
        )
        .scalar_subquery()
    )
    moved = sa.union_all(
        _moved(transfers.c.credit_account_id == account, Reason.REDEEM, first),
        _moved(transfers.c.debit_account_id == account, Reason.REFUND, first),
    ).subquery()
    is_sale = moved.c.reason == Reason.REDEEM.value
    rows = conn.execute(
        select(
            moved.c.business_date,
            func.sum(case((is_sale, moved.c.number), else_=0)).label("count"),
            func.sum(case((is_sale, moved.c.micros), else_=0)).label("captured"),
            func.sum(case((is_sale, 0), else_=moved.c.micros)).label("refunded"),
        ).group_by(moved.c.business_date)
    )
    found = {
        row.business_date: Day(
            business_date=row.business_date,
            count=int(row[1]),
            captured_micros=int(row.captured),
            refunded_micros=int(row.refunded),
        )
        for row in rows
    }
    dates = (first + dt.timedelta(days=number) for number in range(count))
    return [found.get(date, Day(business_date=date)) for date in dates]


_SALES = select(vouchers, checkouts.c.order_id, checkouts.c.description).outerjoin(
    checkouts, checkouts.c.voucher_id == vouchers.c.id
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _matching(search: SalesFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    text = (search.text or "").strip()
    if _UUID.fullmatch(text):
        conditions.append(vouchers.c.id == UUID(text))
    elif text:
        conditions.append(
            or_(
                vouchers.c.resource.icontains(text, autoescape=True),
                checkouts.c.order_id.icontains(text, autoescape=True),
            )
        )
    if search.state is not None:
        conditions += _IS[search.state]
    if search.since is not None:
        conditions.append(vouchers.c.issued_at >= _midnight(search.since))
    if search.until is not None and search.until < dt.date.max:
        conditions.append(vouchers.c.issued_at < _midnight(search.until + dt.timedelta(days=1)))
    return conditions


_IS = {
    SaleState.HELD: [vouchers.c.state == VoucherState.HELD.value],
    SaleState.REDEEMED: [vouchers.c.state == VoucherState.REDEEMED.value, vouchers.c.refunded_micros == 0],
    SaleState.REFUNDED: [vouchers.c.refunded_micros > 0],
    SaleState.RELEASED: [vouchers.c.state == VoucherState.RELEASED.value],
    SaleState.LAPSED: [vouchers.c.state == VoucherState.LAPSED.value],
}


def _midnight(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), dt.UTC)


def _moved(side: sa.ColumnElement[bool], reason: Reason, first: dt.date) -> sa.Select[tuple[object, ...]]:
    return (
        select(
            transfers.c.business_date,
            transfers.c.reason,
            func.count().label("number"),
            func.sum(transfers.c.amount_micros).label("micros"),
        )
        .where(side, transfers.c.business_date >= first, transfers.c.reason == reason.value)
        .group_by(transfers.c.business_date, transfers.c.reason)
    )


def _sale(row: Row[tuple[object, ...]], keyring: Keyring) -> Sale:
    return Sale(
        id=row.id,
        pseudonym=keyring.pseudonym(row.purse_id, row.merchant_id),
        currency=row.currency,
        state=SaleState.REFUNDED if row.refunded_micros else SaleState(row.state),
        amount_micros=row.amount_micros,
        captured_micros=row.captured_micros,
        refunded_micros=row.refunded_micros,
        resource=row.resource,
        order_id=row.order_id,
        description=row.description,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        hold_expires_at=row.hold_expires_at,
        ended_at=row.ended_at,
    )

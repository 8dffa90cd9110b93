"""History: what happened in a purse, found again, and everything the wallet knows about a shopper.

Invariant: it reads only. A line is one transfer of the purse, with the purchase behind it where there is one; the
balance after each line is that of the books, whatever was searched for. No secret, nor a hash of one, is in `my_data`.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.ground import sheets
from wallet.ground.clock import rfc3339
from wallet.ground.money import decimal_string
from wallet.keys.jws import b64url
from wallet.tables.books import AccountKind, Reason, accounts, transfers
from wallet.tables.funding import automatic_top_ups, top_ups, withdrawals
from wallet.tables.merchants import merchants
from wallet.tables.people import api_keys, identities, passkeys, sessions
from wallet.tables.purchases import confirmations, refunds, vouchers
from wallet.tables.purses import (
    devices,
    low_balance_alerts,
    member_caps,
    merchant_limits,
    purse_closings,
    purses,
    shoppers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for; what is None finds everything.

    ``text`` is looked for in the merchant's name and origin and in what was bought; a line whose reason is in
    ``reasons`` is found by it too (the words of a reason are the page's, in the reader's language). Dates are UTC
    dates, both ends included. Amounts are micros, whichever way they went.
    """

    text: str = ""
    reasons: Collection[Reason] = ()
    since: dt.date | None = None
    until: dt.date | None = None
    least_micros: int | None = None
    most_micros: int | None = None
    member_id: UUID | None = None


EVERYTHING = Search()


def lines(
    conn: Connection, purse_id: UUID, search: Search = EVERYTHING, *, before: int | None = None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """The purse's transfers that ``search`` finds, newest first, from below transfer number ``before``.

    Each row is that of `wallet.purses.history` with the purchase behind it: ``voucher_id``, ``voucher_state``,
    ``voucher_micros``, ``captured_micros``, ``refunded_micros``, ``resource``, ``merchant_id``, ``merchant_name``,
    ``merchant_origin``, ``member_id``, ``member_name``; all None where there is none.
    """
    return conn.execute(_found(purse_id, search, before=before).limit(limit)).all()


def as_csv(conn: Connection, purse_id: UUID, search: Search = EVERYTHING) -> Iterator[str]:
    """What ``search`` finds as CSV (RFC 4180), line by line, newest first."""
    yield sheets.line(
        "date", "recorded_at", "kind", "merchant", "what", "who", "amount", "balance_after", "currency", "voucher",
        "state", "reference",
    )  # fmt: skip
    with conn.execution_options(yield_per=500).execute(_found(purse_id, search)) as rows:
        for row in rows:
            yield sheets.line(
                row.business_date,
                rfc3339(row.recorded_at),
                row.reason,
                sheets.inert(row.merchant_name or ""),
                sheets.inert(row.resource or ""),
                sheets.inert(row.member_name or ""),
                decimal_string(int(row.signed_micros), row.currency),
                decimal_string(int(row.balance_after_micros), row.currency),
                row.currency,
                row.voucher_id or "",
                row.voucher_state or "",
                row.reference,
            )


def merchants_met(conn: Connection, purse_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """Whom the purse ever bought from, in order of name: ``id``, ``legal_name``, ``origin``."""
    met = select(vouchers.c.merchant_id).where(vouchers.c.purse_id == purse_id)
    return conn.execute(
        select(*merchants.c["id", "legal_name", "origin"])
        .where(merchants.c.id.in_(met))
        .order_by(merchants.c.legal_name, merchants.c.id)
    ).all()


def my_data(conn: Connection, shopper_id: UUID) -> dict[str, Any]:
    """Everything the wallet keeps about a shopper, ready for JSON (Regulation (EU) 2016/679, articles 15 and 20)."""
    mine = select(purses.c.id).where(purses.c.shopper_id == shopper_id)
    signs_in = select(identities.c.id).where(identities.c.shopper_id == shopper_id)
    shopper = conn.execute(select(shoppers).where(shoppers.c.id == shopper_id)).mappings().one()
    return {
        "shopper": _told(shopper, None),
        "sign_in": {
            "identities": _all(conn, select(*_IDENTITY).where(identities.c.shopper_id == shopper_id)),
            "passkeys": _all(conn, select(passkeys).where(passkeys.c.identity_id.in_(signs_in))),
            "sessions": _all(conn, select(*_SESSION).where(sessions.c.identity_id.in_(signs_in))),
            "confirmations": _all(conn, select(confirmations).where(confirmations.c.identity_id.in_(signs_in))),
        },
        "purses": [_purse(conn, row) for row in conn.execute(select(purses).where(purses.c.id.in_(mine))).mappings()],
    }


def _found(purse_id: UUID, search: Search, *, before: int | None = None) -> Select[tuple[object, ...]]:
    account_id = (
        select(accounts.c.id)
        .where(accounts.c.kind == AccountKind.PURSE.value, accounts.c.owner_id == purse_id)
        .scalar_subquery()
    )
    signed = case(
        (transfers.c.credit_account_id == account_id, transfers.c.amount_micros), else_=-transfers.c.amount_micros
    )
    line = (
        select(
            transfers.c.id,
            transfers.c.reason,
            transfers.c.reference,
            transfers.c.amount_micros,
            transfers.c.business_date,
            transfers.c.recorded_at,
            signed.label("signed_micros"),
            # A purse's transfers are written under its row's lock, so their numbers grow as its balance moves.
            sa.cast(func.sum(signed).over(order_by=transfers.c.id), sa.BigInteger).label("balance_after_micros"),
        )
        .where(or_(transfers.c.debit_account_id == account_id, transfers.c.credit_account_id == account_id))
        .subquery("line")
    )
    query = (
        select(
            line,
            purses.c.currency,
            vouchers.c.id.label("voucher_id"),
            vouchers.c.state.label("voucher_state"),
            vouchers.c.amount_micros.label("voucher_micros"),
            vouchers.c.captured_micros,
            vouchers.c.refunded_micros,
            vouchers.c.resource,
            merchants.c.id.label("merchant_id"),
            merchants.c.legal_name.label("merchant_name"),
            merchants.c.origin.label("merchant_origin"),
            identities.c.id.label("member_id"),
            identities.c.name.label("member_name"),
        )
        .select_from(line)
        .join(purses, purses.c.id == purse_id)
        .outerjoin(refunds, refunds.c.id == line.c.reference)
        .outerjoin(vouchers, vouchers.c.id == func.coalesce(refunds.c.voucher_id, line.c.reference))
        .outerjoin(merchants, merchants.c.id == vouchers.c.merchant_id)
        .outerjoin(identities, identities.c.id == vouchers.c.member_id)
        .where(*_conditions(line, search))
        .order_by(line.c.id.desc())
    )
    return query if before is None else query.where(line.c.id < before)


def _conditions(line: sa.Subquery, search: Search) -> Iterator[sa.ColumnElement[bool]]:
    # PostgreSQL takes no text with a zero in it.
    if text := search.text.replace("\0", "").strip():
        told = (merchants.c.legal_name, merchants.c.origin, vouchers.c.resource)
        yield or_(
            *(column.icontains(text, autoescape=True) for column in told),
            line.c.reason.in_([reason.value for reason in search.reasons]),
        )
    if search.since is not None:
        yield line.c.recorded_at >= _midnight(search.since)
    if search.until is not None and search.until < dt.date.max:
        yield line.c.recorded_at < _midnight(search.until + dt.timedelta(days=1))
    if search.least_micros is not None:
        yield line.c.amount_micros >= search.least_micros
    if search.most_micros is not None:
        yield line.c.amount_micros <= search.most_micros
    if search.member_id is not None:
        yield vouchers.c.member_id == search.member_id


def _midnight(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time.min, dt.UTC)


# --- my data -----------------------------------------------------------------------------------------------

# By name, so that a secret added to a table one day is not told with the rest.
_IDENTITY = identities.c["id", "kind", "identifier", "name", "locale", "created_at", "activated_at", "ended_at"]
_SESSION = sessions.c["id", "label", "began_at", "ends_at", "ended_at"]
_KEY = api_keys.c[
    "id", "kind", "label", "created_at", "revoked_at", "valid_until", "per_purchase_micros", "per_day_micros"
]
_VOUCHER = [column for column in vouchers.c if column.name != "fingerprint"]


def _purse(conn: Connection, row: RowMapping) -> dict[str, Any]:
    purse_id, currency = row["id"], row["currency"]
    bought = select(vouchers.c.id).where(vouchers.c.purse_id == purse_id)

    def every(query: Select[Any]) -> list[dict[str, Any]]:
        return _all(conn, query, currency)

    in_family = select(*_IDENTITY, member_caps.c.per_purchase_micros, member_caps.c.per_day_micros).outerjoin(
        member_caps, member_caps.c.identity_id == identities.c.id
    )
    purchases = select(*_VOUCHER, merchants.c.legal_name.label("merchant_name")).join(
        merchants, merchants.c.id == vouchers.c.merchant_id
    )
    return {
        **_told(row, currency),
        "devices": every(select(devices).where(devices.c.purse_id == purse_id)),
        "keys": every(select(*_KEY).where(api_keys.c.purse_id == purse_id)),
        "members": every(in_family.where(identities.c.purse_id == purse_id)),
        "merchant_limits": every(select(merchant_limits).where(merchant_limits.c.purse_id == purse_id)),
        "alert": every(select(low_balance_alerts).where(low_balance_alerts.c.purse_id == purse_id)),
        "automatic_top_up": every(select(automatic_top_ups).where(automatic_top_ups.c.purse_id == purse_id)),
        "closing": every(select(purse_closings).where(purse_closings.c.purse_id == purse_id)),
        "top_ups": every(select(top_ups).where(top_ups.c.purse_id == purse_id).order_by(top_ups.c.id)),
        "withdrawals": every(select(withdrawals).where(withdrawals.c.purse_id == purse_id).order_by(withdrawals.c.id)),
        "purchases": every(purchases.where(vouchers.c.purse_id == purse_id).order_by(vouchers.c.id)),
        "refunds": every(select(refunds).where(refunds.c.voucher_id.in_(bought)).order_by(refunds.c.id)),
        "transfers": [
            {
                "reason": line.reason,
                "reference": str(line.reference),
                "amount": decimal_string(int(line.signed_micros), currency),
                "balance_after": decimal_string(int(line.balance_after_micros), currency),
                "business_date": line.business_date.isoformat(),
                "recorded_at": rfc3339(line.recorded_at),
            }
            for line in conn.execute(_found(purse_id, EVERYTHING))
        ],
    }


def _all(conn: Connection, query: Select[Any], currency: str | None = None) -> list[dict[str, Any]]:
    return [_told(row, currency) for row in conn.execute(query).mappings()]


def _told(row: RowMapping, currency: str | None) -> dict[str, Any]:
    """A row as JSON says it: amounts as decimal strings without their ``_micros``, instants, bytes in base64url."""
    told: dict[str, Any] = {}
    for column, value in row.items():
        name = str(column)
        if name.endswith("_micros") and currency is not None:
            told[name.removesuffix("_micros")] = None if value is None else decimal_string(int(value), currency)
        elif isinstance(value, dt.datetime):
            told[name] = rfc3339(value)
        elif isinstance(value, dt.date):
            told[name] = value.isoformat()
        elif isinstance(value, bytes):
            told[name] = b64url(value)
        elif isinstance(value, UUID):
            told[name] = str(value)
        else:
            told[name] = value
    return told

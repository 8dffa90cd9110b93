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
from sqlalchemy import Select, func, or_, select
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.ground import sheets
from wallet.ground.clock import rfc3339
from wallet.ground.money import decimal_string
from wallet.keys.jws import b64url
from wallet.tables.books import AccountKind, Reason, accounts, closing_balances, transfers
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

    Each row has ``id``, ``reason``, ``reference``, ``signed_micros`` (negative: out of the purse),
    ``balance_after_micros``, ``business_date``, ``recorded_at``, and of the purchase behind it ``voucher_id``,
    ``voucher_state``, ``voucher_micros``, ``captured_micros``, ``refunded_micros``, ``resource``, ``merchant_id``,
    ``merchant_name``, ``merchant_origin``, ``member_id``, ``member_name``; all None where there is none.
    """
    return conn.execute(_found(purse_id, search, before=before, limit=limit)).all()


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


def _found(purse_id: UUID, search: Search, *, before: int | None = None, limit: int | None = None) -> Select[Any]:
    account_id = (
        select(accounts.c.id)
        .where(accounts.c.kind == AccountKind.PURSE.value, accounts.c.owner_id == purse_id)
        .scalar_subquery()
    )
    which, bought = [*_of_transfer(search)], [*_of_purchase(search)]
    if before is not None:
        from_date = select(transfers.c.business_date).where(transfers.c.id == before).scalar_subquery()
        which += [transfers.c.business_date <= from_date, transfers.c.id < before]
    line = _of_account(account_id, *which, limit=None if bought else limit)
    found = (
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
        .where(*bought)
        .order_by(*_newest_first(line))
        .limit(limit)
        .cte("found")
    )
    balance = _balance_after(purse_id, account_id, found)
    return (
        select(found, balance.c.balance_after_micros)
        .join(balance, balance.c.id == found.c.id)
        .order_by(*_newest_first(found))
    )


def _balance_after(purse_id: UUID, account_id: sa.ScalarSelect[int], found: sa.CTE) -> sa.Subquery:
    """The balance after each line, back to the oldest of ``found``: what is known of later, less what came in between.

    What is known is the next closing balance, or what the purse's row says now; so a page reads itself and the rest of
    a day, however long the purse has lived.
    """
    first = select(func.min(found.c.business_date)).scalar_subquery()
    last = select(func.max(found.c.business_date)).scalar_subquery()
    closing = (
        select(closing_balances.c.business_date, closing_balances.c.balance_micros)
        .where(closing_balances.c.account_id == account_id, closing_balances.c.business_date >= last)
        .order_by(closing_balances.c.business_date)
        .limit(1)
        .subquery("closing")
    )
    up_to = func.coalesce(select(closing.c.business_date).scalar_subquery(), sa.literal(dt.date.max, sa.Date))
    known = func.coalesce(
        select(closing.c.balance_micros).scalar_subquery(),
        select(purses.c.balance_micros).where(purses.c.id == purse_id).scalar_subquery(),
    )
    line = _of_account(account_id, transfers.c.business_date.between(first, up_to))
    since = func.sum(line.c.signed_micros).over(order_by=_newest_first(line)) - line.c.signed_micros
    return (
        select(line.c.id, sa.cast(known - since, sa.BigInteger).label("balance_after_micros"))
        .where(line.c.id >= select(func.min(found.c.id)).scalar_subquery())
        .subquery("balance")
    )


def _of_account(
    account_id: sa.ScalarSelect[int], *which: sa.ColumnElement[bool], limit: int | None = None
) -> sa.Subquery:
    """One account's transfers, or the newest of them; ``signed_micros`` is negative where they left it.

    Each side is read by its own index, which no database does when asked for both sides at once, newest first.
    """

    def side(account: sa.Column[int], sign: int) -> Select[Any]:
        # Times one or minus one on both sides: SQLite merges two sides in their order only if they are of one kind.
        signed = sa.literal_column(str(sign), sa.BigInteger) * transfers.c.amount_micros
        query = select(transfers, signed.label("signed_micros")).where(account == account_id, *which)
        return query if limit is None else select(query.order_by(*_newest_first(transfers)).limit(limit).subquery())

    return sa.union_all(side(transfers.c.debit_account_id, -1), side(transfers.c.credit_account_id, 1)).subquery("line")


def _newest_first(line: sa.FromClause) -> tuple[sa.ColumnElement[Any], ...]:
    # A purse's transfers are written under its row's lock, so their numbers grow as its balance moves, day by day.
    return line.c.business_date.desc(), line.c.id.desc()


def _of_purchase(search: Search) -> Iterator[sa.ColumnElement[bool]]:
    # PostgreSQL takes no text with a zero in it.
    if text := search.text.replace("\0", "").strip():
        told = (merchants.c.legal_name, merchants.c.origin, vouchers.c.resource)
        reasons = [reason.value for reason in search.reasons]
        yield or_(*(column.icontains(text, autoescape=True) for column in told), sa.column("reason").in_(reasons))
    if search.member_id is not None:
        yield vouchers.c.member_id == search.member_id


def _of_transfer(search: Search) -> Iterator[sa.ColumnElement[bool]]:
    if search.since is not None:
        yield transfers.c.recorded_at >= _midnight(search.since)
    if search.until is not None and search.until < dt.date.max:
        yield transfers.c.recorded_at < _midnight(search.until + dt.timedelta(days=1))
    if search.least_micros is not None:
        yield transfers.c.amount_micros >= search.least_micros
    if search.most_micros is not None:
        yield transfers.c.amount_micros <= search.most_micros


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

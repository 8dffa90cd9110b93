"""Limits: what may be spent from a purse, at once and in a day, whoever says so: the operator, the shopper (also by
merchant), and the shopper again for a paying key or a member of the family.

Invariant: all that are said bind, and none lifts another. They are read in the statement that looks at a purchase, and
a day's are compared under the purse's lock, so a limit set now holds for the very next purchase. Days are UTC days.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, case, func, select, true
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.ground.db import insert_into
from wallet.ground.errors import CapExceeded, MerchantNotFound, PurseNotFound
from wallet.tables.merchants import merchants
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import member_caps, merchant_limits, purses


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How much may be spent, in micros, until when, and with which merchants; ``None`` and an empty set bind nothing.

    Only a paying key's have an end and merchants.
    """

    per_purchase_micros: int | None = None
    per_day_micros: int | None = None
    valid_until: dt.datetime | None = None
    merchant_ids: frozenset[UUID] = frozenset()


NO_CAPS = Caps()


def by_operator(purse: RowMapping) -> Caps:
    """What the operator lets this row of `purses` spend."""
    return Caps(per_purchase_micros=purse["per_purchase_limit_micros"], per_day_micros=purse["per_day_limit_micros"])


def by_shopper(purse: RowMapping) -> Caps:
    """What the shopper lets this row of `purses` spend."""
    return Caps(per_purchase_micros=purse["own_per_purchase_micros"], per_day_micros=purse["own_per_day_micros"])


def of_member(conn: Connection, member_id: UUID) -> Caps:
    """What the shopper lets this member of the family spend."""
    said = conn.execute(
        select(member_caps.c.per_purchase_micros, member_caps.c.per_day_micros).where(
            member_caps.c.identity_id == member_id
        )
    ).one_or_none()
    return NO_CAPS if said is None else Caps(**said._mapping)


def stricter(one: Caps, other: Caps) -> Caps:
    """The amounts that are left where both bind."""
    return Caps(
        per_purchase_micros=_least(one.per_purchase_micros, other.per_purchase_micros),
        per_day_micros=_least(one.per_day_micros, other.per_day_micros),
    )


# What binds whoever pays from the purse: columns for a statement over `purses`, told ``purse`` and ``merchant``.
BINDING = (
    purses.c.per_purchase_limit_micros,
    purses.c.per_day_limit_micros,
    purses.c.own_per_purchase_micros,
    purses.c.own_per_day_micros,
    select(merchant_limits.c.per_day_micros)
    .where(merchant_limits.c.purse_id == bindparam("purse"), merchant_limits.c.merchant_id == bindparam("merchant"))
    .scalar_subquery()
    .label("at_merchant_micros"),
)


def check_purchase(binding: RowMapping, spender: Caps, *, merchant_id: UUID, micros: int) -> None:
    """Raise `CapExceeded` if so much is too much at once, by `BINDING` or by the spender's own caps."""
    cap = _least(binding["per_purchase_limit_micros"], binding["own_per_purchase_micros"], spender.per_purchase_micros)
    if cap is not None and micros > cap:
        raise CapExceeded("The amount is above the limit per purchase.")
    if spender.merchant_ids and merchant_id not in spender.merchant_ids:
        raise CapExceeded("This key may not pay that merchant.")


def check_day(
    conn: Connection,
    binding: RowMapping,
    spender: Caps,
    *,
    purse_id: UUID,
    merchant_id: UUID,
    api_key_id: UUID | None,
    member_id: UUID | None,
    micros: int,
    at: dt.datetime,
) -> None:
    """Raise `CapExceeded` if so much is too much on top of what was spent today: of the purse, by the spender (a
    member or a key), at the merchant. The purse's lock is held, so nothing slips in between.
    """
    purse_cap = _least(binding["per_day_limit_micros"], binding["own_per_day_micros"])
    merchant_cap = binding["at_merchant_micros"]
    if purse_cap is None and spender.per_day_micros is None and merchant_cap is None:
        return
    own = vouchers.c.api_key_id == api_key_id if member_id is None else vouchers.c.member_id == member_id
    at_merchant = vouchers.c.merchant_id == merchant_id
    today = conn.execute(spent_today(purse_id, at, purse=true(), spender=own, merchant=at_merchant)).one()
    for cap, before, whose in (
        (purse_cap, today.purse, "the limit per day"),
        (spender.per_day_micros, today.spender, "the limit per day"),
        (merchant_cap, today.merchant, "the limit per day at this merchant"),
    ):
        if cap is not None and int(before) + micros > cap:
            raise CapExceeded(f"The amount would go above {whose}.")


def spent_today(purse_id: UUID, at: dt.datetime, **whose: ColumnElement[bool]) -> Select[Any]:
    """What is held or was captured of the purse's vouchers of this UTC day, in micros: a column for each of ``whose``.

    A release, a lapse or a part captured on the same day makes room again; a refund does not.
    """
    spent = case(
        (vouchers.c.state == VoucherState.HELD.value, vouchers.c.amount_micros), else_=vouchers.c.captured_micros
    )
    return select(
        *(func.coalesce(func.sum(case((which, spent))), 0).label(name) for name, which in whose.items())
    ).where(
        vouchers.c.purse_id == purse_id,
        vouchers.c.issued_at >= at.replace(hour=0, minute=0, second=0, microsecond=0),
    )


def change_own(conn: Connection, purse_id: UUID, caps: Caps) -> None:
    """Set the shopper's limits; ``None`` takes one away, never the operator's. Raises `PurseNotFound`."""
    _change(conn, purse_id, own_per_purchase_micros=caps.per_purchase_micros, own_per_day_micros=caps.per_day_micros)


def change(conn: Connection, purse_id: UUID, caps: Caps) -> None:
    """Set the operator's limits; ``None`` takes a limit away. Raises `PurseNotFound`."""
    _change(
        conn, purse_id, per_purchase_limit_micros=caps.per_purchase_micros, per_day_limit_micros=caps.per_day_micros
    )


def put_member(conn: Connection, member_id: UUID, caps: Caps) -> None:
    """Set what a member may spend, for `wallet.people.members`, which knows whose member it is."""
    values = {"per_purchase_micros": caps.per_purchase_micros, "per_day_micros": caps.per_day_micros}
    conn.execute(
        insert_into(conn, member_caps)
        .values(identity_id=member_id, **values)
        .on_conflict_do_update(index_elements=["identity_id"], set_=values)
    )


def change_credit(conn: Connection, purse_id: UUID, *, credit_micros: int) -> None:
    """Let the purse go so far below zero. Raises `PurseNotFound`, or `CapExceeded` if it is further down already."""
    owed = purses.c.balance_micros + credit_micros >= 0
    changed = purses.update().where(purses.c.id == purse_id, owed).values(credit_limit_micros=credit_micros)
    if conn.execute(changed).rowcount:
        return
    if conn.execute(select(purses.c.id).where(purses.c.id == purse_id)).one_or_none() is None:
        raise PurseNotFound
    raise CapExceeded("The purse owes more than that already.")


def put_merchant(conn: Connection, purse_id: UUID, merchant_id: UUID, *, per_day_micros: int) -> None:
    """Let one merchant have at most ``per_day_micros`` of the purse in a UTC day; zero is nothing at all.

    Raises `PurseNotFound`, or `MerchantNotFound` for a merchant that is not there or sells in another currency.
    """
    currency = conn.execute(select(purses.c.currency).where(purses.c.id == purse_id)).scalar_one_or_none()
    if currency is None:
        raise PurseNotFound
    known = select(merchants.c.id).where(merchants.c.id == merchant_id, merchants.c.currency == currency)
    if conn.execute(known).one_or_none() is None:
        raise MerchantNotFound
    conn.execute(
        insert_into(conn, merchant_limits)
        .values(purse_id=purse_id, merchant_id=merchant_id, per_day_micros=per_day_micros)
        .on_conflict_do_update(index_elements=["purse_id", "merchant_id"], set_={"per_day_micros": per_day_micros})
    )


def clear_merchant(conn: Connection, purse_id: UUID, merchant_id: UUID) -> None:
    """Let the merchant have what the purse's own limits allow; where there was no limit, nothing changes."""
    conn.execute(
        merchant_limits.delete().where(
            merchant_limits.c.purse_id == purse_id, merchant_limits.c.merchant_id == merchant_id
        )
    )


def of_merchants(conn: Connection, purse_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The purse's limits by merchant, with each merchant's ``legal_name`` and ``origin``, in order of name."""
    return conn.execute(
        select(merchant_limits, merchants.c.legal_name, merchants.c.origin)
        .join(merchants, merchants.c.id == merchant_limits.c.merchant_id)
        .where(merchant_limits.c.purse_id == purse_id)
        .order_by(merchants.c.legal_name, merchants.c.id)
    ).all()


def _change(conn: Connection, purse_id: UUID, **micros: int | None) -> None:
    if not conn.execute(purses.update().where(purses.c.id == purse_id).values(**micros)).rowcount:
        raise PurseNotFound


def _least(*amounts: int | None) -> int | None:
    return min((amount for amount in amounts if amount is not None), default=None)

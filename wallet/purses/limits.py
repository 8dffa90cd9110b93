"""Limits: what a purse may spend, by purchase and by day: the operator's, and the shopper's own, also by merchant.

Invariant: a limit is a fact beside the purse, not a promise of this room: `wallet.purchases.vouchers` reads it under
the purse's lock when it issues, so a limit set now holds for the very next purchase. Days are UTC days.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.db import insert_into
from wallet.ground.errors import CapExceeded, MerchantNotFound, PurseNotFound
from wallet.tables.merchants import merchants
from wallet.tables.purses import merchant_limits, purses


def change_own(
    conn: Connection, purse_id: UUID, *, per_purchase_micros: int | None, per_day_micros: int | None
) -> None:
    """Set the shopper's limits, in micros; ``None`` takes one away, never the operator's. Raises `PurseNotFound`."""
    changed = conn.execute(
        purses.update()
        .where(purses.c.id == purse_id)
        .values(own_per_purchase_micros=per_purchase_micros, own_per_day_micros=per_day_micros)
    )
    if not changed.rowcount:
        raise PurseNotFound


def change(conn: Connection, purse_id: UUID, *, per_purchase_micros: int | None, per_day_micros: int | None) -> None:
    """Set the operator's limits, in micros; ``None`` takes a limit away. Raises `PurseNotFound`."""
    changed = conn.execute(
        purses.update()
        .where(purses.c.id == purse_id)
        .values(per_purchase_limit_micros=per_purchase_micros, per_day_limit_micros=per_day_micros)
    )
    if not changed.rowcount:
        raise PurseNotFound


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

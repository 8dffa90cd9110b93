"""Purses: open one, see it, freeze it, and say which devices may pay from it.

Invariant: a purse's balance is what its transfers say, never below its credit limit. What comes into it from outside
and leaves it again is in `wallet.funding`.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import names
from wallet.ground.db import insert_into
from wallet.ground.errors import (
    AlreadyExists,
    AmountNotWholeMinor,
    CurrencyMismatch,
    DeviceNotFound,
    PurseClosing,
    PurseNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money, check_listed, is_whole_minor
from wallet.purses import states
from wallet.purses.limits import Caps, by_operator, by_shopper
from wallet.purses.states import Deed
from wallet.tables.books import AccountKind, Reason
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import ENDING, PurseState, devices, purses, shoppers


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A purse as its shopper sees it. ``held`` is what vouchers not yet redeemed hold; ``available`` can be spent.

    ``credit_micros`` is how far below zero it may go. ``limits`` are the operator's, ``own_limits`` the shopper's;
    both bind.
    """

    id: UUID
    currency: str
    balance: Money
    held: Money
    available: Money
    credit_micros: int
    limits: Caps
    own_limits: Caps
    state: PurseState
    opened_at: dt.datetime

    @property
    def frozen(self) -> bool:
        """Whether nothing can be paid from it, for whatever reason."""
        return self.state is not PurseState.ACTIVE

    @property
    def is_ending(self) -> bool:
        """Whether it is being closed, or is closed."""
        return self.state in ENDING


def open_purse(
    conn: Connection,
    *,
    currency: str,
    email: str,
    name: str,
    locale: str,
    limits: Caps,
    credit_micros: int = 0,
    at: dt.datetime,
) -> UUID:
    """Open a purse for the shopper with this e-mail address, who is entered if new; answers the purse's id.

    Raises `CurrencyUnknown` or `CurrencyWithdrawn`.
    """
    check_listed(currency)
    purse_id = new_id()
    conn.execute(
        insert_into(conn, shoppers)
        .values(id=new_id(), email=email.lower(), name=name, name_key=names.key(name), locale=locale, created_at=at)
        .on_conflict_do_nothing(index_elements=["email"])
    )
    conn.execute(
        purses.insert().values(
            id=purse_id,
            shopper_id=select(shoppers.c.id).where(shoppers.c.email == email.lower()).scalar_subquery(),
            currency=currency,
            state=PurseState.ACTIVE.value,
            balance_micros=0,
            credit_limit_micros=credit_micros,
            per_purchase_limit_micros=limits.per_purchase_micros,
            per_day_limit_micros=limits.per_day_micros,
            opened_at=at,
        )
    )
    ledger.open_currency(conn, currency)
    ledger.open_account(conn, AccountKind.PURSE, currency, purse_id)
    return purse_id


def view(conn: Connection, purse_id: UUID) -> View:
    """The purse now, or `PurseNotFound`."""
    row = conn.execute(
        select(purses, held_micros(purse_id).label("held_micros")).where(purses.c.id == purse_id)
    ).one_or_none()
    if row is None:
        raise PurseNotFound
    return View(
        id=row.id,
        currency=row.currency,
        balance=Money(row.balance_micros, row.currency),
        held=Money(int(row.held_micros), row.currency),
        available=Money(row.balance_micros + row.credit_limit_micros, row.currency),
        credit_micros=row.credit_limit_micros,
        limits=by_operator(row._mapping),
        own_limits=by_shopper(row._mapping),
        state=PurseState(row.state),
        opened_at=row.opened_at,
    )


def of_shopper(conn: Connection, shopper_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The shopper's purses, the first one opened first."""
    return conn.execute(select(purses).where(purses.c.shopper_id == shopper_id).order_by(purses.c.id)).all()


def held_micros(purse_id: object) -> sa.ScalarSelect[int]:
    """What the purse's unredeemed vouchers hold, in micros, as an SQL expression."""
    return (
        select(func.coalesce(func.sum(vouchers.c.amount_micros), 0))
        .where(vouchers.c.purse_id == purse_id, vouchers.c.state == VoucherState.HELD.value)
        .scalar_subquery()
    )


def check_kept(conn: Connection, purse_id: UUID) -> None:
    """Raise `PurseClosing` where nothing more is to come into the purse: it is being closed, or is closed."""
    if conn.execute(select(purses.c.id).where(purses.c.id == purse_id, purses.c.state.in_(ENDING))).first() is not None:
        raise PurseClosing


def take_back(conn: Connection, posting: Posting, *, at: dt.datetime) -> int:
    """Post what the bank took back: out of a purse as far as that reaches, the rest as the operator's loss.

    Answers that loss, in micros; where the posting takes from no purse there is none. Raises `PurseFrozen` for a purse
    that holds some of it and is not active.
    """
    taken = posting.amount_micros
    if ledger.MOVEMENTS[posting.reason][0] is AccountKind.PURSE:
        # Locked: what is spent in this very moment would be missing.
        mine = select(purses.c.balance_micros).where(purses.c.id == posting.purse_id).with_for_update(key_share=True)
        taken = max(0, min(taken, conn.execute(mine).scalar_one()))
    lost = posting.amount_micros - taken
    for reason, micros in ((posting.reason, taken), (Reason.LOSS, lost)):
        if micros:
            ledger.post(conn, replace(posting, reason=reason, amount_micros=micros), recorded_at=at)
    return lost


def freeze(conn: Connection, purse_id: UUID, *, by_operator: bool = False) -> None:
    """Stop paying from the purse, at once. Freezing a frozen purse changes nothing but who may free it.

    Raises `PurseNotFound`.
    """
    states.move(conn, purse_id, Deed.FREEZE_BY_OPERATOR if by_operator else Deed.FREEZE)


def unfreeze(conn: Connection, purse_id: UUID, *, by_operator: bool = False) -> None:
    """Let the purse pay again.

    Raises `PurseNotFound`; `PurseClosing`: that one stays frozen for good; or `FrozenByOperator` for its shopper.
    """
    states.move(conn, purse_id, Deed.UNFREEZE_BY_OPERATOR if by_operator else Deed.UNFREEZE)


def add_device(
    conn: Connection, purse_id: UUID, *, public_key: bytes, label: str, at: dt.datetime
) -> Row[tuple[object, ...]]:
    """Let the holder of an Ed25519 key (32 bytes) sign orders for this purse; `AlreadyExists` if it may already."""
    row = conn.execute(
        insert_into(conn, devices)
        .values(id=new_id(), purse_id=purse_id, public_key=public_key, label=label, added_at=at)
        .on_conflict_do_nothing(index_elements=["purse_id", "public_key"])
        .returning(devices)
    ).one_or_none()
    if row is None:
        raise AlreadyExists("This purse knows that device key already, or revoked it before.")
    return row


def devices_of(conn: Connection, purse_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The purse's devices, oldest first, revoked ones included."""
    return conn.execute(select(devices).where(devices.c.purse_id == purse_id).order_by(devices.c.id)).all()


def revoke_device(conn: Connection, purse_id: UUID, device_id: UUID, *, at: dt.datetime) -> None:
    """Take no more orders from a device; one revoked before stays so. Raises `DeviceNotFound`."""
    mine = (devices.c.id == device_id) & (devices.c.purse_id == purse_id)
    if conn.execute(select(devices.c.id).where(mine)).one_or_none() is None:
        raise DeviceNotFound
    conn.execute(devices.update().where(mine, devices.c.revoked_at.is_(None)).values(revoked_at=at))


def check_for_the_bank(conn: Connection, purse_id: UUID, amount: Money) -> None:
    """Raise unless the purse is there and a bank can move ``amount`` into it or out of it.

    Raises `PurseNotFound`, `CurrencyMismatch`, or `AmountNotWholeMinor`.
    """
    currency = conn.execute(select(purses.c.currency).where(purses.c.id == purse_id)).scalar_one_or_none()
    if currency is None:
        raise PurseNotFound
    if currency != amount.currency:
        raise CurrencyMismatch(f"This purse is in {currency}.")
    if not is_whole_minor(amount.micros, amount.currency):
        raise AmountNotWholeMinor

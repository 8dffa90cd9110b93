"""Merchants: who is paid, where, and on which terms.

Invariant: a merchant has one currency, one IBAN that a bank would accept, and one origin, which is the audience
of the vouchers issued to it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.books import ledger
from wallet.ground import names
from wallet.ground.db import insert_into
from wallet.ground.errors import AlreadyExists, MerchantNotFound
from wallet.ground.iban import valid_iban
from wallet.ground.ids import new_id
from wallet.ground.money import check_listed
from wallet.tables.books import AccountKind
from wallet.tables.merchants import BankFeeBearer, MerchantState, merchants


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a merchant is paid.

    ``commission_bp`` ten-thousandths of what is captured go to the operator. A payout waits while it is below
    ``minimum_payout_micros`` or while the bank's fee is more than ``maximum_fee_share_bp`` ten-thousandths of it,
    but no longer than ``maximum_wait_days`` days after the oldest unpaid redemption. ``bank_fee`` says who bears
    the bank's fee.
    """

    commission_bp: int = 0
    minimum_payout_micros: int = 0
    maximum_wait_days: int = 7
    maximum_fee_share_bp: int = 10_000
    bank_fee: BankFeeBearer = BankFeeBearer.OPERATOR


def register(
    conn: Connection,
    *,
    legal_name: str,
    iban: str,
    origin: str,
    currency: str,
    email: str,
    terms: Terms,
    at: dt.datetime,
) -> UUID:
    """Take on a merchant; answers its id.

    Raises `IbanInvalid`, `CurrencyUnknown`, `CurrencyWithdrawn`, or `AlreadyExists` for an origin and currency.
    """
    check_listed(currency)
    merchant_id = new_id()
    registered = conn.execute(
        insert_into(conn, merchants)
        .values(
            id=merchant_id,
            legal_name=legal_name,
            name_key=names.key(legal_name),
            email=email,
            origin=origin,
            iban=valid_iban(iban, currency=currency),
            currency=currency,
            state=MerchantState.ACTIVE.value,
            commission_bp=terms.commission_bp,
            minimum_payout_micros=terms.minimum_payout_micros,
            maximum_wait_days=terms.maximum_wait_days,
            maximum_fee_share_bp=terms.maximum_fee_share_bp,
            bank_fee=terms.bank_fee.value,
            created_at=at,
        )
        .on_conflict_do_nothing(index_elements=["origin", "currency"])
        .returning(merchants.c.id)
    ).one_or_none()
    if registered is None:
        raise AlreadyExists("A merchant with this origin and currency exists already.")
    ledger.open_currency(conn, currency)
    ledger.open_account(conn, AccountKind.PAYABLE, currency, merchant_id)
    return merchant_id


def find(conn: Connection, merchant_id: UUID) -> Row[tuple[object, ...]]:
    """One merchant's row, or `MerchantNotFound`."""
    row = conn.execute(select(merchants).where(merchants.c.id == merchant_id)).one_or_none()
    if row is None:
        raise MerchantNotFound
    return row


def listing(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    """Every merchant, in the order they came."""
    return conn.execute(select(merchants).order_by(merchants.c.id)).all()


def set_state(conn: Connection, merchant_id: UUID, state: MerchantState) -> None:
    """Suspend a merchant (nobody can buy from it; what it was promised stands) or let it sell again."""
    _change(conn, merchant_id, state=state.value)


def change_iban(conn: Connection, merchant_id: UUID, iban: str) -> None:
    """Pay the merchant elsewhere from the next cut on. Raises `IbanInvalid` or `MerchantNotFound`."""
    _change(conn, merchant_id, iban=valid_iban(iban, currency=find(conn, merchant_id).currency))


def rename(conn: Connection, merchant_id: UUID, legal_name: str) -> None:
    """Pay the merchant under this name from the next cut on: its bank may have it under another. `MerchantNotFound`."""
    _change(conn, merchant_id, legal_name=legal_name, name_key=names.key(legal_name))


def write_about_sales(conn: Connection, merchant_id: UUID, *, wanted: bool) -> None:
    """Send the merchant a letter for each checkout, paid or not; or none."""
    _change(conn, merchant_id, sales_by_mail=wanted)


def change_terms(conn: Connection, merchant_id: UUID, terms: Terms) -> None:
    """Pay the merchant on other terms from the next cut on, for everything not yet in a payout."""
    _change(
        conn,
        merchant_id,
        commission_bp=terms.commission_bp,
        minimum_payout_micros=terms.minimum_payout_micros,
        maximum_wait_days=terms.maximum_wait_days,
        maximum_fee_share_bp=terms.maximum_fee_share_bp,
        bank_fee=terms.bank_fee.value,
    )


def set_refund_limit(conn: Connection, merchant_id: UUID, limit_micros: int | None) -> None:
    """How far below zero refunds may take what is owed to it; None: as far as the wallet's setting says."""
    _change(conn, merchant_id, refund_limit_micros=limit_micros)


def lock(conn: Connection, merchant_id: UUID) -> Row[tuple[object, ...]]:
    """Its row, which nobody else locks until the transaction ends; or `MerchantNotFound`.

    Its payable account has no row with a balance: who spends of it (a refund, the cut) or forgives a debt takes turns
    here. Purchases, which only refer to the row, do not wait.
    """
    row = conn.execute(
        select(merchants).where(merchants.c.id == merchant_id).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise MerchantNotFound
    return row


def _change(conn: Connection, merchant_id: UUID, **columns: object) -> None:
    if not conn.execute(merchants.update().where(merchants.c.id == merchant_id).values(**columns)).rowcount:
        raise MerchantNotFound


def terms_of(row: Row[tuple[object, ...]]) -> Terms:
    """The terms in a merchant's row."""
    return Terms(
        commission_bp=row.commission_bp,
        minimum_payout_micros=row.minimum_payout_micros,
        maximum_wait_days=row.maximum_wait_days,
        maximum_fee_share_bp=row.maximum_fee_share_bp,
        bank_fee=BankFeeBearer(row.bank_fee),
    )

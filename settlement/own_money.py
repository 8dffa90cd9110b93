"""The operator's own money: put in, taken out, owed by merchants below zero and paid back, or given up.

Invariant: nothing leaves but what is the operator's own. What is taken out is at most what the account holds that it
is taken from, and never so much that the bank would hold less than is owed to shoppers and merchants; a debt is written
off only as far as the merchant is below zero. Money that is announced moves nothing: only the bank's booking does.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from settlement.models import TransactionKind, bank_transactions, own_payments
from wallet import ledger, merchants, safeguarding
from wallet.errors import (
    AmountInvalid,
    AmountNotWholeMinor,
    CurrencyMismatch,
    DebtExceeded,
    OwnAccountMissing,
    OwnMoneyExceeded,
)
from wallet.ids import new_id, new_reference
from wallet.ledger import Posting
from wallet.models import AccountKind, AnnouncementKind, Reason, accounts, announcements
from wallet.money import Money, is_whole_minor, whole_minor
from wallet.settings import Settings

# Where what is taken out comes from, and by which movement.
_SOURCES: Mapping[TransactionKind, tuple[AccountKind, Reason]] = {
    TransactionKind.EQUITY: (AccountKind.EQUITY, Reason.EQUITY_TAKEN),
    TransactionKind.INCOME: (AccountKind.FEE_INCOME, Reason.INCOME_TAKEN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The operator's own account."""

    name: str
    iban: str


def account_of(settings: Settings) -> Account | None:
    """The operator's own account as it is set, or None."""
    if settings.own_iban is None:
        return None
    return Account(name=settings.operator_name, iban=settings.own_iban)


def announce_equity(conn: Connection, amount: Money, *, at: dt.datetime) -> Row[tuple[object, ...]]:
    """Announce money that the operator puts in; answers the row, whose ``reference`` its transfer must carry.

    Raises `AmountNotWholeMinor`.
    """
    ledger.open_currency(conn, amount.currency)
    return _announce(conn, AnnouncementKind.EQUITY, None, amount, at)


def announce_repayment(
    conn: Connection, merchant_id: UUID, amount: Money, *, at: dt.datetime
) -> Row[tuple[object, ...]]:
    """Announce money that a merchant pays back, or pays in so that it can refund; answers the row with its reference.

    Raises `MerchantNotFound`, `CurrencyMismatch` or `AmountNotWholeMinor`.
    """
    currency = merchants.find(conn, merchant_id).currency
    if amount.currency != currency:
        raise CurrencyMismatch(f"This merchant is paid in {currency}.")
    return _announce(conn, AnnouncementKind.REPAYMENT, merchant_id, amount, at)


def announced(conn: Connection, *, limit: int, merchant_id: UUID | None = None) -> Sequence[Row[tuple[object, ...]]]:
    """Announcements of the operator's own money, or of a merchant's repayments, newest first."""
    of_whom = (
        announcements.c.merchant_id.is_(None) if merchant_id is None else announcements.c.merchant_id == merchant_id
    )
    return conn.execute(select(announcements).where(of_whom).order_by(announcements.c.id.desc()).limit(limit)).all()


def take_out(
    conn: Connection,
    kind: TransactionKind,
    amount: Money,
    *,
    to: Account | None,
    why: str,
    bank_fees_micros: Mapping[str, int],
    at: dt.datetime,
) -> Row[tuple[object, ...]]:
    """Take commission (``income``) or money that was put in (``equity``) out, to the operator's own account ``to``.

    The next run puts it into a bank file; until the bank books it, it is in transit. Locks the equity account's row, so
    that two at once take turns. Raises `OwnAccountMissing`, `AmountNotWholeMinor`, `IbanInvalid` (one that a bank would
    not pay in this currency) or `OwnMoneyExceeded`.
    """
    if to is None:
        raise OwnAccountMissing
    _check_whole(amount)
    _, reason = _SOURCES[kind]
    conn.execute(
        select(accounts.c.id)
        .where(accounts.c.kind == AccountKind.EQUITY.value, accounts.c.currency == amount.currency)
        .with_for_update(key_share=True)
    )
    most = takeable_micros(conn, kind, amount.currency, bank_fees_micros)
    if amount.micros > most:
        raise OwnMoneyExceeded(f"At most {Money(most, amount.currency)} {amount.currency} can be taken out now.")
    row = conn.execute(
        own_payments.insert()
        .values(
            id=new_id(),
            kind=kind.value,
            currency=amount.currency,
            amount_micros=amount.micros,
            creditor_name=to.name,
            creditor_iban=merchants.valid_iban(to.iban, currency=amount.currency),
            why=why,
            requested_at=at,
        )
        .returning(own_payments)
    ).one()
    posting = Posting(reason=reason, currency=amount.currency, amount_micros=amount.micros, reference=row.id)
    ledger.post(conn, posting, recorded_at=at)
    return row


def takeable_micros(conn: Connection, kind: TransactionKind, currency: str, bank_fees_micros: Mapping[str, int]) -> int:
    """The most that could be taken out now, in whole minor units: the bank's fee for the payment itself stays."""
    source, _ = _SOURCES[kind]
    free = safeguarding.position(conn, currency).free_micros - bank_fees_micros.get(currency, 0)
    return whole_minor(max(0, min(ledger.balance_micros(conn, source, currency), free)), currency)


def listing(conn: Connection, *, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """What was taken out and sent back, newest first, from below ``before``; ``state`` is None until a run cuts it."""
    query = (
        select(own_payments, bank_transactions.c.state, bank_transactions.c.state_detail)
        .outerjoin(bank_transactions, bank_transactions.c.id == own_payments.c.id)
        .order_by(own_payments.c.id.desc())
        .limit(limit)
    )
    return conn.execute(query if before is None else query.where(own_payments.c.id < before)).all()


def write_off(conn: Connection, merchant_id: UUID, amount: Money, *, at: dt.datetime) -> UUID:
    """Give up ``amount`` of what a merchant below zero owes: the operator's loss. Answers the id that it is known by.

    Locks the merchant. Raises `MerchantNotFound`, `CurrencyMismatch` or `DebtExceeded`.
    """
    merchant = merchants.lock(conn, merchant_id)
    if amount.currency != merchant.currency:
        raise CurrencyMismatch(f"This merchant is paid in {merchant.currency}.")
    _check_some(amount)
    owed = max(0, -ledger.balance_micros(conn, AccountKind.PAYABLE, merchant.currency, merchant_id))
    if amount.micros > owed:
        raise DebtExceeded(f"The merchant owes {Money(owed, merchant.currency)} {merchant.currency}.")
    loss_id = new_id()
    posting = Posting(
        reason=Reason.WRITTEN_OFF,
        currency=merchant.currency,
        amount_micros=amount.micros,
        reference=loss_id,
        merchant_id=merchant_id,
    )
    ledger.post(conn, posting, recorded_at=at)
    return loss_id


def _announce(
    conn: Connection, kind: AnnouncementKind, merchant_id: UUID | None, amount: Money, at: dt.datetime
) -> Row[tuple[object, ...]]:
    _check_whole(amount)
    return conn.execute(
        announcements.insert()
        .values(
            id=new_id(),
            kind=kind.value,
            merchant_id=merchant_id,
            currency=amount.currency,
            amount_micros=amount.micros,
            reference=new_reference(),
            announced_at=at,
        )
        .returning(announcements)
    ).one()


def _check_whole(amount: Money) -> None:
    _check_some(amount)
    if not is_whole_minor(amount.micros, amount.currency):
        raise AmountNotWholeMinor


def _check_some(amount: Money) -> None:
    if amount.micros <= 0:
        raise AmountInvalid("An amount above zero is needed.")

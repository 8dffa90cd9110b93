"""The operator's own money: put in, taken out, owed by merchants below zero and paid back, or given up.

Invariant: nothing leaves but what is the operator's own. What is taken out is at most what the account holds that it
is taken from, and never so much that the bank would hold less than is owed to shoppers and merchants; a debt is written
off only as far as the merchant is below zero. Money that is announced moves nothing: only the bank's booking does.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement.tables import EntryMatch, TransactionKind, bank_transactions, own_payments, statement_entries
from wallet.books import ledger, safeguarding
from wallet.books.ledger import Posting
from wallet.ground.errors import (
    AmountInvalid,
    AmountNotWholeMinor,
    CurrencyMismatch,
    DebtExceeded,
    OwnAccountMissing,
    OwnMoneyExceeded,
)
from wallet.ground.iban import valid_iban
from wallet.ground.ids import new_id, new_reference
from wallet.ground.money import Money, is_whole_minor, whole_minor
from wallet.merchants import merchants
from wallet.settings import Settings
from wallet.tables.books import AccountKind, Reason, accounts, transfers
from wallet.tables.funding import AnnouncementKind, announcements

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
    """Announcements of the operator's own money, or of a merchant's repayments, newest first.

    Each has what has come under its reference, ``arrived_micros`` (0: it is awaited), and the day of the last of it,
    ``arrived_on``; ``only_notified`` says whether no statement tells some of that yet.
    """
    of_whom = (
        announcements.c.merchant_id.is_(None) if merchant_id is None else announcements.c.merchant_id == merchant_id
    )
    last = select(announcements).where(of_whom).order_by(announcements.c.id.desc()).limit(limit).subquery()
    arrived = _arrived(select(last.c.reference))
    columns = (
        sa.cast(func.coalesce(arrived.c.micros, 0), sa.BigInteger).label("arrived_micros"),
        arrived.c.day.label("arrived_on"),
        (func.coalesce(arrived.c.early, 0) > 0).label("only_notified"),
    )
    query = select(last, *columns).outerjoin(arrived, arrived.c.reference == last.c.reference)
    return conn.execute(query.order_by(last.c.id.desc())).all()


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
            creditor_iban=valid_iban(to.iban, currency=amount.currency),
            why=why,
            requested_at=at,
        )
        .returning(own_payments)
    ).one()
    posting = Posting(reason=reason, currency=amount.currency, amount_micros=amount.micros, reference=row.id)
    ledger.post(conn, posting, recorded_at=at)
    return row


def to_own_account(
    conn: Connection, settings: Settings, kind: TransactionKind, amount: Money, *, why: str, at: dt.datetime
) -> tuple[Row[tuple[object, ...]], str]:
    """`take_out` as the operator's account and the bank's fees are set; answers the row, and its line for the log."""
    row = take_out(conn, kind, amount, to=account_of(settings), why=why, bank_fees_micros=settings.bank_fees, at=at)
    return row, f"{kind.value} {amount} {amount.currency}: {why}"


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


def _arrived(references: sa.Select[tuple[str]]) -> sa.Subquery:
    """What was booked as announced under each of these references, by its first word or by another that knew more."""
    word, fact = statement_entries.alias("word"), statement_entries.alias("fact")
    by = sa.and_(transfers.c.reference == fact.c.id, transfers.c.reason == fact.c.match)
    booked = (
        select(
            word.c.reference,
            fact.c.id,
            fact.c.amount_micros,
            fact.c.booked_in,
            func.coalesce(fact.c.booking_date, transfers.c.business_date).label("day"),
        )
        .join(fact, fact.c.id == func.coalesce(word.c.same_as, word.c.id))
        .join(transfers, by)
        .where(
            word.c.reference.in_(references),
            fact.c.match.in_([EntryMatch.EQUITY_PAID_IN.value, EntryMatch.MERCHANT_REPAID.value]),
        )
        .distinct()
        .subquery("booked")
    )
    return (
        select(
            booked.c.reference,
            func.sum(booked.c.amount_micros).label("micros"),
            func.max(booked.c.day).label("day"),
            func.sum(sa.case((booked.c.booked_in.is_(None), 1), else_=0)).label("early"),
        )
        .group_by(booked.c.reference)
        .subquery("arrived")
    )


def _check_whole(amount: Money) -> None:
    _check_some(amount)
    if not is_whole_minor(amount.micros, amount.currency):
        raise AmountNotWholeMinor


def _check_some(amount: Money) -> None:
    if amount.micros <= 0:
        raise AmountInvalid("An amount above zero is needed.")

"""The books: double entry, and the only writer of transfers and of purse balances.

Invariant: a transfer debits one account and credits another by the same positive amount, so the books balance by
construction; its reason alone decides which kinds of account those are, so nothing can be posted sideways; and a
purse's row moves in the same statement sequence as its transfers, guarded in the UPDATE itself.

A balance is credits minus debits: what the wallet owes (purses, held, payables) is positive, what it owns (bank)
negative. Only purses keep a running balance; every other account is its last closing balance plus what came since,
so that no row is written by two shoppers' purchases.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Connection

from wallet.ground.db import insert_into
from wallet.ground.errors import InsufficientFunds, PurseFrozen, PurseNotFound
from wallet.ground.money import EXPONENTS, minor_unit_micros
from wallet.tables.books import AccountKind, DayState, Reason, accounts, business_days, closing_balances, transfers
from wallet.tables.books import currencies as currency_table
from wallet.tables.purses import ENDING, PurseState, purses

NOBODY = UUID(int=0)

# docs/design.md, The books: the debit side and the credit side of every movement.
MOVEMENTS: dict[Reason, tuple[AccountKind, AccountKind]] = {
    Reason.TOP_UP: (AccountKind.BANK, AccountKind.PURSE),
    Reason.CARD_TOP_UP: (AccountKind.CARD_CLEARING, AccountKind.PURSE),
    Reason.AUTHORIZE: (AccountKind.PURSE, AccountKind.HELD),
    Reason.REDEEM: (AccountKind.HELD, AccountKind.PAYABLE),
    Reason.REDEEM_REST: (AccountKind.HELD, AccountKind.PURSE),
    Reason.RELEASE: (AccountKind.HELD, AccountKind.PURSE),
    Reason.LAPSE: (AccountKind.HELD, AccountKind.PURSE),
    Reason.REFUND: (AccountKind.PAYABLE, AccountKind.PURSE),
    Reason.PAYOUT: (AccountKind.PAYABLE, AccountKind.IN_TRANSIT),
    Reason.COMMISSION: (AccountKind.PAYABLE, AccountKind.FEE_INCOME),
    Reason.BANK_FEE_SHARE: (AccountKind.PAYABLE, AccountKind.FEE_INCOME),
    Reason.PAYOUT_BOOKED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.PAYOUT_REJECTED: (AccountKind.IN_TRANSIT, AccountKind.PAYABLE),
    Reason.PAYOUT_RETURNED: (AccountKind.BANK, AccountKind.PAYABLE),
    Reason.WITHDRAWAL: (AccountKind.PURSE, AccountKind.IN_TRANSIT),
    Reason.WITHDRAWAL_BOOKED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.WITHDRAWAL_REJECTED: (AccountKind.IN_TRANSIT, AccountKind.PURSE),
    Reason.WITHDRAWAL_RETURNED: (AccountKind.BANK, AccountKind.PURSE),
    Reason.BANK_FEE: (AccountKind.BANK_FEES, AccountKind.BANK),
    Reason.EQUITY_PAID_IN: (AccountKind.BANK, AccountKind.EQUITY),
    Reason.EQUITY_TAKEN: (AccountKind.EQUITY, AccountKind.IN_TRANSIT),
    Reason.EQUITY_BOOKED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.EQUITY_REJECTED: (AccountKind.IN_TRANSIT, AccountKind.EQUITY),
    Reason.EQUITY_RETURNED: (AccountKind.BANK, AccountKind.EQUITY),
    Reason.INCOME_TAKEN: (AccountKind.FEE_INCOME, AccountKind.IN_TRANSIT),
    Reason.INCOME_BOOKED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.INCOME_REJECTED: (AccountKind.IN_TRANSIT, AccountKind.FEE_INCOME),
    Reason.INCOME_RETURNED: (AccountKind.BANK, AccountKind.FEE_INCOME),
    Reason.SENT_BACK: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.SENT_BACK_BOOKED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.SENT_BACK_REJECTED: (AccountKind.IN_TRANSIT, AccountKind.BANK),
    Reason.MERCHANT_REPAID: (AccountKind.BANK, AccountKind.PAYABLE),
    Reason.WRITTEN_OFF: (AccountKind.LOSSES, AccountKind.PAYABLE),
    Reason.TOP_UP_REVERSED: (AccountKind.PURSE, AccountKind.BANK),
    Reason.LOSS: (AccountKind.LOSSES, AccountKind.BANK),
    Reason.PAYOUT_BOOKED_UNDONE: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.PAYOUT_RETURNED_UNDONE: (AccountKind.PAYABLE, AccountKind.BANK),
    Reason.WITHDRAWAL_BOOKED_UNDONE: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.WITHDRAWAL_RETURNED_UNDONE: (AccountKind.PURSE, AccountKind.BANK),
    Reason.EQUITY_PAID_IN_UNDONE: (AccountKind.EQUITY, AccountKind.BANK),
    Reason.EQUITY_BOOKED_UNDONE: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.EQUITY_RETURNED_UNDONE: (AccountKind.EQUITY, AccountKind.BANK),
    Reason.INCOME_BOOKED_UNDONE: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.INCOME_RETURNED_UNDONE: (AccountKind.FEE_INCOME, AccountKind.BANK),
    Reason.SENT_BACK_BOOKED_UNDONE: (AccountKind.BANK, AccountKind.IN_TRANSIT),
    Reason.BANK_FEE_UNDONE: (AccountKind.BANK, AccountKind.BANK_FEES),
    Reason.MERCHANT_REPAID_UNDONE: (AccountKind.PAYABLE, AccountKind.BANK),
    Reason.TOP_UP_REVERSED_UNDONE: (AccountKind.BANK, AccountKind.PURSE),
    Reason.LOSS_UNDONE: (AccountKind.BANK, AccountKind.LOSSES),
}


def undoing(reason: Reason) -> Reason:
    """What takes back a movement that the bank's word alone made, account for account the other way."""
    return Reason.TOP_UP_REVERSED if reason is Reason.TOP_UP else Reason(f"{reason.value}_undone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One transfer to write. ``reference`` is the thing it is about: a voucher, a refund, a payout, an entry.

    ``purse_id`` and ``merchant_id`` name whose purse or payable account, where the reason has one.
    ``closes_purse`` lets a withdrawal leave a purse that is closing or closed; what the bank took back
    may always leave such a one, and nothing else.
    """

    reason: Reason
    currency: str
    amount_micros: int
    reference: UUID
    purse_id: UUID | None = None
    merchant_id: UUID | None = None
    closes_purse: bool = False


def post(conn: Connection, posting: Posting, *, recorded_at: dt.datetime) -> int | None:
    """Write one transfer on the open business day; answers the purse's balance after it, in micros, if it has one.

    A debit of a purse takes its row's lock and holds only while the purse is active and stays within its credit
    limit (a withdrawal, and what the bank took back: at or above zero, since credit is lent for purchases): otherwise
    `PurseNotFound`, `PurseFrozen` or `InsufficientFunds`, and nothing is written.
    """
    debit, credit = MOVEMENTS[posting.reason]
    balance = None
    if debit is AccountKind.PURSE:
        balance = _take_from_purse(conn, posting)
    elif credit is AccountKind.PURSE:
        balance = conn.execute(
            _GIVE, {"purse": posting.purse_id, "of_currency": posting.currency, "amount": posting.amount_micros}
        ).scalar_one()
    conn.execute(_INSERT, _row(posting, recorded_at))
    return balance


def post_all(conn: Connection, postings: Sequence[Posting], *, recorded_at: dt.datetime) -> None:
    """Write many transfers, none of which debits a purse. Purses are credited in order of id: no deadlock."""
    credits: defaultdict[UUID, int] = defaultdict(int)
    for posting in postings:
        debit, credit = MOVEMENTS[posting.reason]
        if debit is AccountKind.PURSE:
            raise ValueError(f"{posting.reason} debits a purse and is posted by itself")
        if credit is AccountKind.PURSE and posting.purse_id is not None:
            credits[posting.purse_id] += posting.amount_micros
    if credits:
        conn.execute(_GIVE_MANY, [{"purse": purse, "amount": credits[purse]} for purse in sorted(credits)])
    if postings:
        conn.execute(_INSERT, [_row(posting, recorded_at) for posting in postings])


def open_account(conn: Connection, kind: AccountKind, currency: str, owner: UUID = NOBODY) -> None:
    """Make sure the account exists."""
    conn.execute(
        insert_into(conn, accounts)
        .values(kind=kind.value, currency=currency, owner_id=owner)
        .on_conflict_do_nothing(index_elements=["owner_id", "kind", "currency"])
    )


def open_currency(conn: Connection, currency: str) -> None:
    """Make sure the wallet's own accounts in ``currency`` exist, and that its minor units are kept.

    Raises `CurrencyUnknown`.
    """
    minor_unit_micros(currency)
    conn.execute(
        insert_into(conn, currency_table)
        .values(code=currency, exponent=EXPONENTS[currency])
        .on_conflict_do_nothing(index_elements=["code"])
    )
    for kind in AccountKind:
        if kind not in (AccountKind.PURSE, AccountKind.PAYABLE):
            open_account(conn, kind, currency)


def open_first_day(conn: Connection, business_date: dt.date, *, opened_at: dt.datetime) -> None:
    """Open the books on ``business_date`` if they never were."""
    if conn.execute(select(func.count()).select_from(business_days)).scalar_one() == 0:
        conn.execute(
            business_days.insert().values(business_date=business_date, state=DayState.OPEN.value, opened_at=opened_at)
        )


def balance_micros(conn: Connection, kind: AccountKind, currency: str, owner: UUID = NOBODY) -> int:
    """Credits minus debits of one account, to this moment; 0 for an account that was never opened."""
    account_id = conn.execute(
        select(accounts.c.id).where(
            accounts.c.kind == kind.value, accounts.c.currency == currency, accounts.c.owner_id == owner
        )
    ).scalar_one_or_none()
    if account_id is None:
        return 0
    closing = conn.execute(
        select(closing_balances.c.business_date, closing_balances.c.balance_micros)
        .where(closing_balances.c.account_id == account_id)
        .order_by(closing_balances.c.business_date.desc())
        .limit(1)
    ).one_or_none()
    since = closing.business_date if closing else dt.date.min
    movement = select(
        select(func.coalesce(func.sum(transfers.c.amount_micros), 0))
        .where(transfers.c.credit_account_id == account_id, transfers.c.business_date > since)
        .scalar_subquery()
        - select(func.coalesce(func.sum(transfers.c.amount_micros), 0))
        .where(transfers.c.debit_account_id == account_id, transfers.c.business_date > since)
        .scalar_subquery()
    )
    return (closing.balance_micros if closing else 0) + int(conn.execute(movement).scalar_one())


def currencies(conn: Connection) -> Iterable[str]:
    """Every currency the books have accounts in, in alphabetical order."""
    return conn.execute(select(accounts.c.currency).distinct().order_by(accounts.c.currency)).scalars().all()


def _row(posting: Posting, recorded_at: dt.datetime) -> dict[str, object]:
    debit, credit = MOVEMENTS[posting.reason]
    return {
        "debit_kind": debit.value,
        "debit_owner": _owner(debit, posting),
        "credit_kind": credit.value,
        "credit_owner": _owner(credit, posting),
        "posting_currency": posting.currency,
        "amount": posting.amount_micros,
        "posting_reason": posting.reason.value,
        "about": posting.reference,
        "at": recorded_at,
    }


def _owner(kind: AccountKind, posting: Posting) -> UUID:
    owner = {AccountKind.PURSE: posting.purse_id, AccountKind.PAYABLE: posting.merchant_id}.get(kind, NOBODY)
    if owner is None:
        raise ValueError(f"{posting.reason} needs to know whose {kind} account")
    return owner


def _take_from_purse(conn: Connection, posting: Posting) -> int:
    facts = {"purse": posting.purse_id, "of_currency": posting.currency, "amount": posting.amount_micros}
    take = _TAKE
    if posting.reason in _TAKEN_BACK:
        take = _TAKE_BACK
    elif posting.reason is Reason.WITHDRAWAL:
        take = _TAKE_LAST if posting.closes_purse else _TAKE_OWN
    balance: int | None = conn.execute(take, facts).scalar_one_or_none()
    if balance is not None:
        return balance
    state = conn.execute(
        select(purses.c.state).where(purses.c.id == posting.purse_id, purses.c.currency == posting.currency)
    ).scalar_one_or_none()
    if state is None:
        raise PurseNotFound
    if state != PurseState.ACTIVE.value:
        raise PurseFrozen
    raise InsufficientFunds


_TAKE = (
    purses.update()
    .where(
        purses.c.id == bindparam("purse"),
        purses.c.currency == bindparam("of_currency"),
        purses.c.state == PurseState.ACTIVE.value,
        purses.c.balance_micros - bindparam("amount") >= -purses.c.credit_limit_micros,
    )
    .values(balance_micros=purses.c.balance_micros - bindparam("amount"))
    .returning(purses.c.balance_micros)
)
# The bank took it back from us, whether or not the purse is being closed meanwhile.
_TAKEN_BACK = frozenset({Reason.TOP_UP_REVERSED, Reason.WITHDRAWAL_RETURNED_UNDONE})
_TAKE_OWN = _TAKE.where(purses.c.balance_micros >= bindparam("amount"))
_TAKE_WHAT_IS_THERE = (
    purses.update()
    .where(
        purses.c.id == bindparam("purse"),
        purses.c.currency == bindparam("of_currency"),
        purses.c.balance_micros >= bindparam("amount"),
    )
    .values(balance_micros=purses.c.balance_micros - bindparam("amount"))
    .returning(purses.c.balance_micros)
)
_TAKE_LAST = _TAKE_WHAT_IS_THERE.where(purses.c.state.in_(ENDING))
_TAKE_BACK = _TAKE_WHAT_IS_THERE.where(purses.c.state.in_((PurseState.ACTIVE.value, *ENDING)))
_GIVE_MANY = (
    purses.update()
    .where(purses.c.id == bindparam("purse"))
    .values(balance_micros=purses.c.balance_micros + bindparam("amount"))
)
_GIVE = _GIVE_MANY.where(purses.c.currency == bindparam("of_currency")).returning(purses.c.balance_micros)


def _account(side: str) -> sa.ScalarSelect[int]:
    return (
        select(accounts.c.id)
        .where(
            accounts.c.owner_id == bindparam(f"{side}_owner"),
            accounts.c.kind == bindparam(f"{side}_kind"),
            accounts.c.currency == bindparam("posting_currency"),
        )
        .scalar_subquery()
    )


# The open day is read by the INSERT itself, after the lock that `Database.write` took: never a day just closed.
# inline: nobody asks for the number that it was given.
_INSERT = (
    transfers.insert()
    .inline()
    .values(
        debit_account_id=_account("debit"),
        credit_account_id=_account("credit"),
        amount_micros=bindparam("amount"),
        reason=bindparam("posting_reason"),
        reference=bindparam("about"),
        business_date=select(business_days.c.business_date)
        .where(business_days.c.state == DayState.OPEN.value)
        .scalar_subquery(),
        recorded_at=bindparam("at"),
    )
)

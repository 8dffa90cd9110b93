"""Safeguarding: what is owed to shoppers and merchants, against what is in the bank to pay it with.

Invariant: what is owed is only ever covered by money; what the operator lends (to purses on credit, to merchants below
zero), pays (the bank's fees) or gives up (losses) comes out of its own money, and where that does not suffice, the
difference is named: it is missing.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from wallet.books import ledger
from wallet.tables.books import AccountKind, accounts, closing_balances, transfers
from wallet.tables.merchants import merchants
from wallet.tables.purses import purses


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One currency now, in micros. ``purses`` and ``payable`` are those above zero, ``lent`` is what others are below.

    ``own``: what the operator put in and earned, less what it spent, gave up and lent.
    """

    currency: str
    purses_micros: int
    held_micros: int
    payable_micros: int
    in_transit_micros: int
    bank_micros: int
    card_clearing_micros: int
    equity_micros: int
    fee_income_micros: int
    bank_fees_micros: int
    losses_micros: int
    lent_micros: int

    @property
    def owed_micros(self) -> int:
        """What must be there for others, or is on its way out."""
        return self.purses_micros + self.held_micros + self.payable_micros + self.in_transit_micros

    @property
    def own_micros(self) -> int:
        """What is the operator's: below zero, it spent what belongs to others."""
        earned = self.equity_micros + self.fee_income_micros
        return earned - self.bank_fees_micros - self.losses_micros - self.lent_micros

    @property
    def short_micros(self) -> int:
        """How much is missing of what is owed, or 0. What card acquirers are yet to pay counts as there."""
        return max(0, self.owed_micros - self.bank_micros - self.card_clearing_micros)

    @property
    def free_micros(self) -> int:
        """What could leave the bank account without touching what is owed to others."""
        return max(0, min(self.own_micros, self.bank_micros - self.owed_micros))


def positions(conn: Connection) -> Sequence[Position]:
    """Every currency that has accounts, in alphabetical order."""
    purses_up, purses_down = _purses(conn)
    payable_up, payable_down = _payables(conn)
    return [
        Position(
            currency=currency,
            purses_micros=purses_up.get(currency, 0),
            held_micros=ledger.balance_micros(conn, AccountKind.HELD, currency),
            payable_micros=payable_up.get(currency, 0),
            in_transit_micros=ledger.balance_micros(conn, AccountKind.IN_TRANSIT, currency),
            bank_micros=-ledger.balance_micros(conn, AccountKind.BANK, currency),
            card_clearing_micros=-ledger.balance_micros(conn, AccountKind.CARD_CLEARING, currency),
            equity_micros=ledger.balance_micros(conn, AccountKind.EQUITY, currency),
            fee_income_micros=ledger.balance_micros(conn, AccountKind.FEE_INCOME, currency),
            bank_fees_micros=-ledger.balance_micros(conn, AccountKind.BANK_FEES, currency),
            losses_micros=-ledger.balance_micros(conn, AccountKind.LOSSES, currency),
            lent_micros=purses_down.get(currency, 0) + payable_down.get(currency, 0),
        )
        for currency in ledger.currencies(conn)
    ]


def position(conn: Connection, currency: str) -> Position:
    """One currency; all zero where it has no accounts."""
    nothing = {f"{name}_micros": 0 for name in _PARTS}
    found = (each for each in positions(conn) if each.currency == currency)
    return next(found, Position(currency=currency, **nothing))


def merchants_below_zero(conn: Connection, currency: str, *, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """The merchants that owe most, with their balances as ``micros``."""
    each = _each_payable()
    # PostgreSQL's sum of integers is a decimal.
    micros = sa.cast(each.c.micros, sa.BigInteger).label("micros")
    return conn.execute(
        select(merchants, micros)
        .join(each, each.c.owner_id == merchants.c.id)
        .where(each.c.currency == currency, each.c.micros < 0)
        .order_by(each.c.micros, merchants.c.id)
        .limit(limit)
    ).all()


_PARTS = (
    *("purses", "held", "payable", "in_transit", "bank", "card_clearing"),
    *("equity", "fee_income", "bank_fees", "losses", "lent"),
)


def _purses(conn: Connection) -> tuple[dict[str, int], dict[str, int]]:
    balance = purses.c.balance_micros
    return _above_and_below(conn, select(purses.c.currency, balance.label("micros")).subquery())


def _payables(conn: Connection) -> tuple[dict[str, int], dict[str, int]]:
    return _above_and_below(conn, _each_payable())


def _each_payable() -> sa.Subquery:
    closing = closing_balances.alias("closing")
    last = (
        select(closing.c.account_id, func.max(closing.c.business_date).label("business_date"))
        .group_by(closing.c.account_id)
        .subquery("last")
    )
    # Everything up to an account's last closing balance is in it: only what came after is added up.
    since = func.coalesce(last.c.business_date, sa.literal(dt.date.min, sa.Date))

    def moved(side: sa.Column[int]) -> sa.ScalarSelect[int]:
        return (
            select(func.coalesce(func.sum(transfers.c.amount_micros), 0))
            .where(side == accounts.c.id, transfers.c.business_date > since)
            .scalar_subquery()
        )

    balance = (
        func.coalesce(closing_balances.c.balance_micros, 0)
        + moved(transfers.c.credit_account_id)
        - moved(transfers.c.debit_account_id)
    )
    return (
        select(accounts.c.owner_id, accounts.c.currency, balance.label("micros"))
        .outerjoin(last, last.c.account_id == accounts.c.id)
        .outerjoin(
            closing_balances,
            (closing_balances.c.account_id == last.c.account_id)
            & (closing_balances.c.business_date == last.c.business_date),
        )
        .where(accounts.c.kind == AccountKind.PAYABLE.value)
        .subquery()
    )


def _above_and_below(conn: Connection, each: sa.Subquery) -> tuple[dict[str, int], dict[str, int]]:
    micros = each.c.micros
    above = func.sum(sa.case((micros > 0, micros), else_=0)).label("above")
    below = func.sum(sa.case((micros < 0, -micros), else_=0)).label("below")
    rows = conn.execute(select(each.c.currency, above, below).group_by(each.c.currency)).all()
    return {row.currency: int(row.above) for row in rows}, {row.currency: int(row.below) for row in rows}

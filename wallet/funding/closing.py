"""Closing a purse: it pays nothing any more, and what is in it, or comes back to it, goes to its shopper's account.

Invariant: a purse that is closing or closed is never freed again (`wallet.purses.states`), and only its own closing
takes money out of it, whole minor units to the account that the shopper named. It is closed when nothing is
held and less than a minor unit is left; what comes back later still (a refund) is sent after it. Each sending costs the
operator a fee: so what is less than a withdrawal must be waits until nothing more is held, and once the purse is closed
it goes only once a month.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, false, or_, select
from sqlalchemy.engine import Connection, Row

from wallet.books import ledger
from wallet.funding import automatic
from wallet.funding.withdrawals import withdraw
from wallet.ground.db import Database
from wallet.ground.errors import NotFound, ValidationFailed
from wallet.ground.iban import valid_iban
from wallet.ground.money import Money, largest_transaction, minor_unit_micros, whole_minor
from wallet.purses import alerts, purses, states
from wallet.purses.states import Deed
from wallet.tables.books import Reason, transfers
from wallet.tables.funding import withdrawals
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import PurseState, purse_closings
from wallet.tables.purses import purses as purse_table

# ISO 20022 names are at most 70 characters in SEPA (EPC115-06, AT-E001).
_LONGEST_NAME = 70
# So long what is small waits after the last that was sent.
_SELDOM = dt.timedelta(days=30)


def begin(conn: Connection, purse_id: UUID, *, iban: str, name: str, at: dt.datetime) -> None:
    """Freeze the purse for good and send what is in it to ``iban``; cannot be undone.

    Its alert and its automatic top-up end. Raises `PurseNotFound`, `IbanInvalid`, `ValidationFailed` about
    ``name``, `PurseClosing` when it was begun before, or `PurseFrozen`: whoever froze it may have had a reason.
    """
    view = purses.view(conn, purse_id)
    creditor_iban, name = valid_iban(iban, currency=view.currency), _name(name)
    states.move(conn, purse_id, Deed.BEGIN_CLOSING)
    conn.execute(
        purse_closings.insert().values(
            purse_id=purse_id, creditor_name=name, creditor_iban=creditor_iban, requested_at=at
        )
    )
    alerts.clear(conn, purse_id)
    automatic.clear(conn, purse_id)
    _advance(conn, purse_id, at, minimum_micros=0)


def redirect(conn: Connection, purse_id: UUID, *, iban: str, name: str, at: dt.datetime) -> None:
    """Send what is left to another account: at once if the bank refused the first one, else when it is due.

    Raises `NotFound` unless the purse is being closed, `IbanInvalid`, or `ValidationFailed` about ``name``.
    """
    before = find(conn, purse_id)
    if before is None:
        raise NotFound("The purse is not being closed.")
    creditor_iban = valid_iban(iban, currency=purses.view(conn, purse_id).currency)
    conn.execute(
        purse_closings.update()
        .where(purse_closings.c.purse_id == purse_id)
        .values(creditor_iban=creditor_iban, creditor_name=_name(name))
    )
    if before.refused:
        _advance(conn, purse_id, at, minimum_micros=0)


def find(conn: Connection, purse_id: UUID) -> Row[tuple[object, ...]] | None:
    """The purse's closing with ``refused``, whether the bank sent money to that account back; None if there is none."""
    query = select(purse_closings, _REFUSED.label("refused")).where(purse_closings.c.purse_id == purse_id)
    return conn.execute(query).one_or_none()


def advance_due(database: Database, *, minimum_micros: Callable[[str], int], at: dt.datetime) -> int:
    """Send what came back to purses that are being closed, and close those that are empty; answers how many moved.

    ``minimum_micros`` is the least that can be withdrawn in a currency: what is less is gathered.
    """
    with database.read() as conn:
        minimums = {currency: minimum_micros(currency) for currency in ledger.currencies(conn)}
        due = conn.execute(_due(minimums, at)).all()
    for row in due:
        with database.write() as conn:
            _advance(conn, row.purse_id, at, minimum_micros=minimums[row.currency])
    return len(due)


# An account that the bank refused is not tried again: every try would cost a fee and come back.
_REFUSED = (
    select(withdrawals.c.id)
    .join(transfers, transfers.c.reference == withdrawals.c.id)
    .where(
        withdrawals.c.purse_id == purse_closings.c.purse_id,
        withdrawals.c.creditor_iban == purse_closings.c.creditor_iban,
        transfers.c.reason.in_([Reason.WITHDRAWAL_REJECTED.value, Reason.WITHDRAWAL_RETURNED.value]),
    )
    .correlate(purse_closings)
    .exists()
)
_HOLDS = exists().where(vouchers.c.purse_id == purse_table.c.id, vouchers.c.state == VoucherState.HELD.value)
_CAME_BACK = (
    select(transfers.c.id)
    .where(
        transfers.c.reference == withdrawals.c.id,
        transfers.c.reason.in_([Reason.WITHDRAWAL_REJECTED.value, Reason.WITHDRAWAL_RETURNED.value]),
    )
    .correlate(withdrawals)
    .exists()
)


def _gathers(at: dt.datetime) -> ColumnElement[bool]:
    """Whether more may come soon, or some went not long ago: then what is small waits."""
    lately = (
        select(withdrawals.c.id)
        .where(withdrawals.c.purse_id == purse_table.c.id, withdrawals.c.requested_at > at - _SELDOM, ~_CAME_BACK)
        .correlate(purse_table)
        .exists()
    )
    return or_(_HOLDS, and_(purse_table.c.state == PurseState.CLOSED.value, lately))


def _due(minimums: Mapping[str, int], at: dt.datetime) -> Select[tuple[object, ...]]:
    """The purses being closed with something to send and somewhere to send it, or with nothing left to wait for."""
    has_some = _holds_at_least({currency: minor_unit_micros(currency) for currency in minimums})
    is_worth_it = has_some & or_(_holds_at_least(minimums), ~_gathers(at))
    is_empty = ~has_some & (purse_table.c.balance_micros >= 0) & ~_HOLDS
    return (
        select(purse_closings.c.purse_id, purse_table.c.currency)
        .join(purse_table, purse_table.c.id == purse_closings.c.purse_id)
        .where(
            or_(is_worth_it & ~_REFUSED, is_empty & (purse_table.c.state == PurseState.CLOSING.value)),
        )
        .order_by(purse_closings.c.purse_id)
    )


def _holds_at_least(amounts: Mapping[str, int]) -> ColumnElement[bool]:
    return or_(
        false(),  # before there is any currency
        *(
            (purse_table.c.currency == currency) & (purse_table.c.balance_micros >= micros)
            for currency, micros in amounts.items()
        ),
    )


def _advance(conn: Connection, purse_id: UUID, at: dt.datetime, *, minimum_micros: int) -> None:
    # The purse's row is locked, so the balance is the one that is sent; closing as it is, it only grows meanwhile.
    row = conn.execute(
        select(purse_table.c.balance_micros, purse_table.c.currency, purse_table.c.state)
        .where(purse_table.c.id == purse_id)
        .with_for_update()
    ).one()
    closing = conn.execute(
        select(purse_closings, _REFUSED.label("refused"), _HOLDS.label("holds"), _gathers(at).label("gathers"))
        .join(purse_table, purse_table.c.id == purse_closings.c.purse_id)
        .where(purse_closings.c.purse_id == purse_id)
    ).one()
    left = row.balance_micros
    waits = closing.refused or (closing.gathers and left < minimum_micros)
    while (whole := whole_minor(max(left, 0), row.currency)) and not waits:
        whole = min(whole, largest_transaction(row.currency))
        withdraw(
            conn,
            purse_id,
            Money(whole, row.currency),
            iban=closing.creditor_iban,
            name=closing.creditor_name,
            minimum_micros=0,
            at=at,
            closes_purse=True,
        )
        left -= whole
    is_empty = 0 <= left < minor_unit_micros(row.currency) and not closing.holds
    if is_empty and row.state == PurseState.CLOSING.value:
        states.move(conn, purse_id, Deed.CLOSE)
        conn.execute(purse_closings.update().where(purse_closings.c.purse_id == purse_id).values(closed_at=at))


def _name(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= _LONGEST_NAME:
        raise ValidationFailed(errors={"name": [f"1 to {_LONGEST_NAME} characters."]})
    return text

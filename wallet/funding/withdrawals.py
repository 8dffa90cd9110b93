"""Withdrawals: money out of a purse, back to its shopper's bank account, at par.

Invariant: what leaves a purse for the bank is a whole number of minor units, leaves it at once, and is never credit.
"""

import datetime as dt
from uuid import UUID

from sqlalchemy.engine import Connection, Row

from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground.errors import WithdrawalTooSmall
from wallet.ground.iban import valid_iban
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import purses
from wallet.tables.books import Reason
from wallet.tables.funding import withdrawals


def withdraw(
    conn: Connection,
    purse_id: UUID,
    amount: Money,
    *,
    iban: str,
    name: str,
    minimum_micros: int,
    at: dt.datetime,
    closes_purse: bool = False,
) -> Row[tuple[object, ...]]:
    """Take money out of the purse at par, to be sent to ``iban`` by the next settlement run; answers its row.

    Raises `PurseNotFound`, `CurrencyMismatch`, `AmountNotWholeMinor`, `WithdrawalTooSmall` below ``minimum_micros``,
    since each withdrawal costs the operator the bank's fee, `IbanInvalid`, `PurseFrozen`, or `InsufficientFunds`:
    credit is for purchases and cannot be withdrawn. ``closes_purse`` is for `wallet.funding.closing` alone: out of a
    purse that is being closed, and of no other; and everything, whatever its size, because redemption at par is a
    right.
    """
    purses.check_for_the_bank(conn, purse_id, amount)
    if amount.micros < minimum_micros and not closes_purse:
        least = Money(minimum_micros, amount.currency)
        raise WithdrawalTooSmall(
            f"The least that can be withdrawn is {least} {least.currency}; closing the purse takes everything out."
        )
    row = conn.execute(
        withdrawals.insert()
        .values(
            id=new_id(),
            purse_id=purse_id,
            currency=amount.currency,
            amount_micros=amount.micros,
            creditor_name=name,
            creditor_iban=valid_iban(iban, currency=amount.currency),
            requested_at=at,
        )
        .returning(withdrawals)
    ).one()
    ledger.post(
        conn,
        Posting(
            reason=Reason.WITHDRAWAL,
            currency=amount.currency,
            amount_micros=amount.micros,
            reference=row.id,
            purse_id=purse_id,
            closes_purse=closes_purse,
        ),
        recorded_at=at,
    )
    return row

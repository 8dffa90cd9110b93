"""What small payments save: for each payout, the bank's fees one by one against the fees that were taken.

Invariant: the purchases counted are those of the payout's statement; what the bank would have charged is its fee at
the cut, once for each of them. Payouts from before that fee was kept are left out: nothing is said of them.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import Connection

from settlement.payouts.owed import payable_account
from settlement.tables import payouts
from wallet.tables.books import Reason, transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """One payout; money in micros. ``fee_micros`` is commission and bank fee, ``one_by_one_micros`` the bank's fees."""

    payout_id: UUID
    business_date: dt.date
    purchases: int
    fee_micros: int
    one_by_one_micros: int

    @property
    def saved_micros(self) -> int:
        """Below zero where the fees taken were more than the bank's."""
        return self.one_by_one_micros - self.fee_micros


def by_payout(conn: Connection, merchant_id: UUID, currency: str, *, limit: int = 30) -> Sequence[Saving]:
    """The merchant's last ``limit`` payouts, oldest first."""
    last = (
        select(payouts)
        .where(
            payouts.c.merchant_id == merchant_id,
            payouts.c.currency == currency,
            payouts.c.bank_fee_each_micros.is_not(None),
        )
        .order_by(payouts.c.business_date.desc())
        .limit(limit)
        .subquery()
    )
    rows = conn.execute(
        select(
            last.c.id,
            last.c.business_date,
            last.c.commission_micros,
            last.c.bank_fee_micros,
            last.c.bank_fee_each_micros,
            func.count(transfers.c.id),
        )
        .select_from(last)
        .outerjoin(
            transfers,
            and_(
                transfers.c.credit_account_id == payable_account(merchant_id, currency),
                transfers.c.reason == Reason.REDEEM.value,
                or_(last.c.after_date.is_(None), transfers.c.business_date > last.c.after_date),
                transfers.c.business_date <= last.c.business_date,
            ),
        )
        .group_by(
            last.c.id,
            last.c.business_date,
            last.c.commission_micros,
            last.c.bank_fee_micros,
            last.c.bank_fee_each_micros,
        )
        .order_by(last.c.business_date)
    )
    return [
        Saving(
            payout_id=payout_id,
            business_date=business_date,
            purchases=purchases,
            fee_micros=commission + bank_fee,
            one_by_one_micros=purchases * bank_fee_each,
        )
        for payout_id, business_date, commission, bank_fee, bank_fee_each, purchases in rows
    ]

"""When money that the bank sent back, or never sent, is tried again."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import and_, func, select
from sqlalchemy.engine import Connection, Row

from settlement.business_day import open_date
from settlement.tables import (
    TransactionState,
    bank_transactions,
    payouts,
)
from wallet.ground.errors import NothingWaits
from wallet.merchants.merchants import find
from wallet.tables.merchants import merchants

# Reasons of the bank (ISO 20022 external code sets, ExternalStatusReason1Code and ExternalReturnReason1Code) that lie
# in the creditor's account, its bank, or whoever holds it: the same again would only cost another fee. AC13, BE05 and
# BE07 are the debtor's by the letter; in a return, debtor and creditor have changed places. RVMC, RVNM and RVNA are
# what a verification of payee found: the same name would be found so again.
_ACCOUNT_REASONS = frozenset(
    "AC01 AC03 AC04 AC06 AC07 AC09 AC11 AC12 AC13 AC14 AC15 AG01 AG03 BE01 BE04 BE05 BE06 BE07 BE11 BE14 BE17 "
    "CNOR LEGL MD07 RC01 RC04 RC07 RR03 RR04 RVMC RVNA RVNM".split()
)
# Days from a try that failed to the next one: after so many, money waits for a word.
_NEXT_TRY_DAYS = (1, 3, 7)


def next_try(business_date: dt.date, *, tries: int, detail: str | None) -> dt.date | None:
    """From which business date a payout of ``business_date``, the last of ``tries`` that failed, may be sent again.

    ``detail`` is the bank's reason. None: when an operator says so (`try_again`), or to another account.
    """
    if is_about_account(detail) or tries > len(_NEXT_TRY_DAYS):
        return None
    return business_date + dt.timedelta(days=_NEXT_TRY_DAYS[tries - 1])


def is_about_account(detail: str | None) -> bool:
    """Whether the bank's reason, its code first, lies in the creditor's account or in whoever holds it."""
    return (detail or "").partition(" ")[0] in _ACCOUNT_REASONS


def plan_next_try(conn: Connection, payout_id: UUID, *, detail: str | None) -> None:
    """Say from when the money of a payout that has just failed may be sent again (`next_try`).

    What counts are the failures in a row, back to the last payout that was booked and did not come back; a return may
    take days, so payouts after this one tell nothing. Another account begins anew.
    """
    theirs = select(payouts.c.business_date).join(bank_transactions, bank_transactions.c.id == payouts.c.id)
    failed = conn.execute(
        theirs.add_columns(payouts.c.merchant_id, bank_transactions.c.creditor_iban).where(payouts.c.id == payout_id)
    ).one()
    earlier = and_(payouts.c.merchant_id == failed.merchant_id, payouts.c.business_date < failed.business_date)
    paid_date = conn.execute(
        theirs.where(earlier, bank_transactions.c.state == TransactionState.BOOKED.value)
        .order_by(payouts.c.business_date.desc())
        .limit(1)
    ).scalar_one_or_none()
    in_a_row = theirs.where(
        earlier,
        payouts.c.business_date > (paid_date or dt.date.min),
        bank_transactions.c.state.in_(_FAILED),
        bank_transactions.c.creditor_iban == failed.creditor_iban,
    )
    tries = 1 + conn.execute(select(func.count()).select_from(in_a_row.subquery())).scalar_one()
    conn.execute(
        bank_transactions.update()
        .where(bank_transactions.c.id == payout_id)
        .values(retry_from=next_try(failed.business_date, tries=tries, detail=detail))
    )


def try_again(conn: Connection, merchant_id: UUID) -> None:
    """An operator's word: what the bank refused or gave back is sent again with the next run, to the same account.

    If it fails again it waits for a word again. Raises `MerchantNotFound`, or `NothingWaits`.
    """
    find(conn, merchant_id)
    tonight = open_date(conn)
    freed = conn.execute(
        bank_transactions.update()
        .where(
            bank_transactions.c.id.in_(
                held_back_query(tonight).with_only_columns(bank_transactions.c.id).where(merchants.c.id == merchant_id)
            )
        )
        .values(retry_from=tonight)
    )
    if not freed.rowcount:
        raise NothingWaits


_FAILED = (TransactionState.REJECTED.value, TransactionState.RETURNED.value)


def waiting_for_a_person(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    """Payouts that failed and are sent again only to another account, or when an operator says so.

    Each row is the merchant's, with the payout's ``state_detail``, ``state_since`` and ``amount_micros``.
    """
    failure = (bank_transactions.c.state_detail, bank_transactions.c.state_since, bank_transactions.c.amount_micros)
    waiting: sa.Select[tuple[object, ...]] = held_back_query(None).with_only_columns(*merchants.c, *failure)
    return conn.execute(waiting.order_by(merchants.c.id, bank_transactions.c.id)).all()


def held_back_query(up_to: dt.date | None) -> sa.Select[tuple[object, ...]]:
    """Failed payouts to accounts that merchants still have, not to be sent again by ``up_to``; None: by themselves."""
    waits = bank_transactions.c.retry_from.is_(None)
    return (
        select(bank_transactions)
        .join(
            merchants,
            and_(
                merchants.c.id == bank_transactions.c.merchant_id, merchants.c.iban == bank_transactions.c.creditor_iban
            ),
        )
        .where(
            bank_transactions.c.state.in_(_FAILED),
            waits if up_to is None else sa.or_(waits, bank_transactions.c.retry_from > up_to),
        )
    )

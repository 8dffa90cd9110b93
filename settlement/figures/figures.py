"""Figures: the wallet at a glance, for its operators: what moves, what it saves, what is late.

Invariant: everything here is read from the rows of other rooms and nothing is kept; a figure that costs a look at
many rows says for which days it is.
"""

import datetime as dt
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.engine import Connection

from settlement.tables import (
    RunState,
    TransactionKind,
    TransactionState,
    audits,
    bank_messages,
    bank_transactions,
    breaks,
    refused_messages,
    settlement_runs,
)
from wallet.tables.books import AccountKind, DayState, Reason, accounts, business_days, transfers
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.telling import DeliveryState, mails, webhook_deliveries

# A night comes after a day; its run takes its time.
_AUDITED_EACH = dt.timedelta(hours=26)
# What the scheduler does every minute is late after this.
_PATIENCE = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One business day: purchases that were redeemed, and the bank transactions that its run made of them."""

    business_date: dt.date
    purchases: int
    bank_transactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What aggregation saved of the bank's fees over some days, in micros; below zero where it cost."""

    currency: str
    purchases: int
    payouts: int
    saved_micros: int


@dataclass(slots=True)
class Health:
    """What waits, what is late (what and since when), when the bank last spoke, and the disk of its folder."""

    late: list[tuple[str, dt.datetime]] = field(default_factory=list)
    mails_pending: int = 0
    mails_failed: int = 0
    webhooks_pending: int = 0
    webhooks_failed: int = 0
    open_breaks: int = 0
    refused_messages: int = 0
    unknown_payments: int = 0
    to_release_payments: int = 0
    last_bank_message_at: dt.datetime | None = None
    last_run_at: dt.datetime | None = None
    free_bytes: int | None = None
    folder_bytes: int | None = None
    files_to_bank: int | None = None
    files_from_bank: int | None = None


def days(conn: Connection, *, since: dt.date, up_to: dt.date) -> Sequence[Day]:
    """Each day from ``since`` to ``up_to``, oldest first, quiet ones too."""
    bought: Counter[dt.date] = Counter()
    for (date, _), count in _purchases(conn, since).items():
        bought[date] += count
    made: Counter[dt.date] = Counter()
    for (date, _, _), count in _transactions(conn, since).items():
        made[date] += count
    dates = [since + dt.timedelta(days=n) for n in range((up_to - since).days + 1)]
    return [Day(business_date=each, purchases=bought[each], bank_transactions=made[each]) for each in dates]


def saved(conn: Connection, bank_fees_micros: Mapping[str, int], *, since: dt.date) -> Sequence[Saved]:
    """Of the days since then that were settled: the bank's fee for each purchase, less its fee for each payout."""
    settled = set(
        conn.execute(
            select(settlement_runs.c.business_date).where(
                settlement_runs.c.business_date >= since, settlement_runs.c.state == RunState.SUBMITTED.value
            )
        ).scalars()
    )
    bought: Counter[str] = Counter()
    for (date, currency), count in _purchases(conn, since).items():
        if date in settled:
            bought[currency] += count
    paid: Counter[str] = Counter()
    for (date, currency, kind), count in _transactions(conn, since).items():
        if date in settled and kind == TransactionKind.PAYOUT.value:
            paid[currency] += count
    return [
        Saved(
            currency=currency,
            purchases=bought[currency],
            payouts=paid[currency],
            saved_micros=(bought[currency] - paid[currency]) * bank_fees_micros.get(currency, 0),
        )
        for currency in sorted(bought.keys() | paid.keys())
    ]


def health(
    conn: Connection, *, at: dt.datetime, cutoff: dt.time | None, sends_mail: bool, bank_folder: Path | None
) -> Health:
    """What an operator looks at first when something seems wrong. A query each, all by index.

    ``cutoff`` is that of the nightly run; None where there is no bank, and so none.
    """
    found = Health(late=_late(conn, at=at, cutoff=cutoff, sends_mail=sends_mail))
    found.mails_pending = _count(conn, mails, mails.c.state == DeliveryState.PENDING.value)
    found.mails_failed = _count(conn, mails, mails.c.state == DeliveryState.FAILED.value)
    states = webhook_deliveries.c.state
    found.webhooks_pending = _count(conn, webhook_deliveries, states == DeliveryState.PENDING.value)
    found.webhooks_failed = _count(conn, webhook_deliveries, states == DeliveryState.FAILED.value)
    found.open_breaks = _count(conn, breaks, breaks.c.resolved_at.is_(None))
    found.refused_messages = _count(conn, refused_messages, refused_messages.c.dismissed_at.is_(None))
    state = bank_transactions.c.state
    found.unknown_payments = _count(conn, bank_transactions, state == TransactionState.UNKNOWN.value)
    found.to_release_payments = _count(conn, bank_transactions, state == TransactionState.TO_RELEASE.value)
    found.last_bank_message_at = conn.execute(select(func.max(bank_messages.c.imported_at))).scalar_one()
    found.last_run_at = conn.execute(select(func.max(settlement_runs.c.started_at))).scalar_one()
    if bank_folder is not None and bank_folder.is_dir():
        disk = shutil.disk_usage(bank_folder)
        found.free_bytes, found.folder_bytes = disk.free, disk.total
        found.files_to_bank, found.files_from_bank = _files(bank_folder / "outbox"), _files(bank_folder / "inbox")
    return found


def _purchases(conn: Connection, since: dt.date) -> dict[tuple[dt.date, str], int]:
    rows = conn.execute(
        select(transfers.c.business_date, accounts.c.currency, func.count())
        .join(accounts, accounts.c.id == transfers.c.debit_account_id)
        .where(
            accounts.c.kind == AccountKind.HELD.value,
            transfers.c.reason == Reason.REDEEM.value,
            transfers.c.business_date >= since,
        )
        .group_by(transfers.c.business_date, accounts.c.currency)
    )
    return {(date, currency): count for date, currency, count in rows}


def _transactions(conn: Connection, since: dt.date) -> dict[tuple[dt.date, str, str], int]:
    group = (settlement_runs.c.business_date, bank_transactions.c.currency, bank_transactions.c.kind)
    rows = conn.execute(
        select(*group, func.count())
        .join(settlement_runs, settlement_runs.c.id == bank_transactions.c.run_id)
        .where(settlement_runs.c.business_date >= since)
        .group_by(*group)
    )
    return {(date, currency, kind): count for date, currency, kind, count in rows}


def _late(
    conn: Connection, *, at: dt.datetime, cutoff: dt.time | None, sends_mail: bool
) -> list[tuple[str, dt.datetime]]:
    """What the scheduler should have done by now: that it has not is how one knows that it stands still."""
    oldest: defaultdict[str, dt.datetime | None] = defaultdict(lambda: None)
    opened = conn.execute(
        select(business_days.c.business_date).where(business_days.c.state == DayState.OPEN.value)
    ).scalar_one_or_none()
    if opened is not None and cutoff is not None:
        oldest["run"] = dt.datetime.combine(opened, cutoff, dt.UTC)
    oldest["hold"] = conn.execute(
        select(func.min(vouchers.c.hold_expires_at)).where(vouchers.c.state == VoucherState.HELD.value)
    ).scalar_one()
    if sends_mail:
        oldest["mail"] = conn.execute(
            select(func.min(mails.c.next_at)).where(mails.c.state == DeliveryState.PENDING.value)
        ).scalar_one()
    oldest["webhook"] = conn.execute(
        select(func.min(webhook_deliveries.c.next_at)).where(webhook_deliveries.c.state == DeliveryState.PENDING.value)
    ).scalar_one()
    audited_at = conn.execute(select(func.max(audits.c.audited_at))).scalar_one()
    if audited_at is not None:
        oldest["audit"] = audited_at + _AUDITED_EACH
    return [(what, since) for what, since in oldest.items() if since is not None and since < at - _PATIENCE]


def _count(conn: Connection, table: Table, which: ColumnElement[bool]) -> int:
    return int(conn.execute(select(func.count()).select_from(table).where(which)).scalar_one())


def _files(folder: Path) -> int:
    return sum(1 for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else 0

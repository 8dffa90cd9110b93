"""The settlement run: close, balance, cut, render, submit, in that order, for one business day after the other.

Invariant: every step commits on its own and can be run again, so a run that was killed anywhere goes on where it
stopped, two at once share one set of payouts, and a finished run is left alone. Whoever asks for it, the scheduler or a
person, it ends with the audit, whose failure reaches people (`settle`).
"""

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Row

from settlement import business_day
from settlement.audit import audits
from settlement.audit.checks import Check
from settlement.bank import Connector
from settlement.bank.directory import Directory
from settlement.bank.profile import Profile
from settlement.files import approvals, bank_files
from settlement.files.place import advance, place
from settlement.payouts.cut import cut
from settlement.runs import runs
from settlement.tables import (
    RunState,
    settlement_runs,
)
from wallet.ground.db import Database, insert_into
from wallet.ground.errors import ApprovalsMissing, BankNotConfigured, BusinessDateInvalid, FilesChanged
from wallet.ground.ids import new_id
from wallet.settings import Settings
from wallet.tables.books import DayState, business_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Our account at the bank and the ways of that bank.

    ``other_ids`` are what the bank calls the account besides its ``iban``.
    ``fees_micros`` is its fee for one transaction, by currency; ``profile`` its days; ``file_limit`` the most
    transactions in one file; ``answer_days`` how long its answer may take before a payout is *unknown*; ``approvals``
    how many operators must approve a run before its files go there.
    """

    connector: Connector
    account_name: str
    iban: str
    bic: str | None
    fees_micros: Mapping[str, int]
    profile: Profile
    file_limit: int
    batch_booking: bool
    answer_days: int
    approvals: int = 0
    other_ids: tuple[str, ...] = ()

    @property
    def debtor(self) -> dict[str, str | bool | None]:
        """Our side of a bank file, as its columns."""
        return {
            "debtor_name": self.account_name,
            "debtor_iban": self.iban,
            "debtor_bic": self.bic,
            "batch_booking": self.batch_booking,
        }


def bank_of(settings: Settings) -> Bank:
    """Our account and its bank as the operator set them. Raises `BankNotConfigured` naming what is not set."""
    if settings.bank_iban is None or settings.bank_folder is None:
        wanted = {"OBOLE_BANK_IBAN": settings.bank_iban, "OBOLE_BANK_FOLDER": settings.bank_folder}
        missing = " and ".join(name for name, value in wanted.items() if value is None)
        raise BankNotConfigured(f"There is no bank to settle with: {missing} must be set.")
    return Bank(
        connector=Directory(settings.bank_folder, settings.bank_group),
        account_name=settings.operator_name,
        iban=settings.bank_iban,
        bic=settings.bank_bic,
        fees_micros=settings.bank_fees,
        profile=profile_of(settings),
        file_limit=settings.bank_file_limit,
        batch_booking=settings.batch_booking,
        answer_days=settings.bank_answer_days,
        approvals=settings.approvals,
        other_ids=settings.bank_account_ids,
    )


def profile_of(settings: Settings) -> Profile:
    """The days of the operator's bank."""
    return Profile(timezone=settings.bank_timezone, cutoff=settings.bank_cutoff)


def settle(
    database: Database,
    bank: Bank,
    settings: Settings,
    *,
    at: dt.datetime,
    business_date: dt.date | None = None,
    up_to: dt.date | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> tuple[Row[tuple[object, ...]] | None, list[Check]]:
    """`run`, and then the proof, kept and told as `audits.prove` does; answers the run and the checks that failed."""
    this = run(database, bank, at=at, business_date=business_date, up_to=up_to, progress=progress)
    progress("audit")
    return this, prove(database, settings, at=at, business_date=None if this is None else this.business_date)


def prove(
    database: Database, settings: Settings, *, at: dt.datetime, business_date: dt.date | None = None
) -> list[Check]:
    """The proof that ends a run of ``business_date``, or a night without one; answers the checks that failed."""
    checks = audits.prove(
        database,
        origin=settings.origin,
        wallet_name=settings.operator_name,
        at=at,
        business_date=business_date,
    )
    return [check for check in checks if not check.ok]


def run(
    database: Database,
    bank: Bank,
    *,
    at: dt.datetime,
    business_date: dt.date | None = None,
    up_to: dt.date | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> Row[tuple[object, ...]] | None:
    """Settle ``business_date``, or every day that is due: today's (UTC) or ``up_to``, and earlier ones.

    Answers its (last) run, which is *rendered* while it waits for approval. Running it again changes nothing. None
    when no day has ever been closed and none is due.
    Raises `BusinessDateInvalid` for a day that was never opened or lies ahead.
    """
    if business_date is not None:
        progress("close")
        business_day.close(database, business_date, at=at)
    # After days of downtime the day that was left open closes first, and then today's.
    while business_date is None and (open_date := _open_date(database)) <= (up_to or at.date()):
        progress("close")
        business_day.close(database, open_date, at=at)
    progress("balance")
    business_day.balance(database)
    with database.read() as conn:
        due = [date for date in business_day.closed_dates(conn) if business_date in (None, date)]
        finished, waiting = runs.finished(conn), runs.waiting(conn, bank.approvals)
    for date in due:
        if date in waiting:
            # Whoever approves it next finds a date that the bank can keep.
            bank_files.date_anew(database, waiting[date], profile=bank.profile, at=at)
        elif date not in finished:
            _settle_day(database, bank, date, at, progress)
    if not due:
        return None
    with database.read() as conn:
        return conn.execute(select(settlement_runs).where(settlement_runs.c.business_date == due[-1])).one()


def start(database: Database, business_date: dt.date, *, profile: Profile, at: dt.datetime) -> Row[tuple[object, ...]]:
    """The run of a closed business day, begun if it was not. Raises `BusinessDateInvalid` for any other day."""
    with database.settle() as conn:
        state = conn.execute(
            select(business_days.c.state).where(business_days.c.business_date == business_date)
        ).scalar_one_or_none()
        if state in (None, DayState.OPEN.value):
            raise BusinessDateInvalid("Only a closed business day can be settled.")
        conn.execute(
            insert_into(conn, settlement_runs)
            .values(
                id=new_id(),
                business_date=business_date,
                state=RunState.STARTED.value,
                started_at=at,
                execution_date=profile.execution_date(at),
            )
            .on_conflict_do_nothing(index_elements=["business_date"])
        )
        return conn.execute(select(settlement_runs).where(settlement_runs.c.business_date == business_date)).one()


def submit(
    database: Database,
    bank: Bank,
    run: Row[tuple[object, ...]],
    *,
    at: dt.datetime,
) -> int:
    """Hand a run's files to the bank, dated anew if need be; answers how many.

    Raises `ApprovalsMissing` where the files, as they are now, are not approved; then none of those was handed over.
    """
    bank_files.date_anew(database, run.id, profile=bank.profile, at=at)
    with database.read() as conn:
        if approvals.missing(conn, run.id, bank.approvals):
            raise ApprovalsMissing
    submitted = bank_files.submit(
        database, run.id, bank.connector, profile=bank.profile, approvals_needed=bank.approvals, at=at
    )
    with database.settle() as conn:
        advance(conn, run, RunState.RENDERED, RunState.SUBMITTED)
    return submitted


def keep_dates(database: Database, bank: Bank, run_id: UUID, *, at: dt.datetime) -> None:
    """Before a run is approved: date its files anew where the bank can no longer keep their date.

    Raises `FilesChanged` naming the new date if there were any: what was looked at is not what would be sent.
    """
    date = bank_files.date_anew(database, run_id, profile=bank.profile, at=at)
    if date is not None:
        raise FilesChanged(f"The files ask the bank for {date.isoformat()} now: look at them, and approve them again.")


def _open_date(database: Database) -> dt.date:
    with database.read() as conn:
        return business_day.open_date(conn)


def _settle_day(
    database: Database, bank: Bank, business_date: dt.date, at: dt.datetime, progress: Callable[[str], None]
) -> None:
    progress("cut")
    this = start(database, business_date, profile=bank.profile, at=at)
    cut(database, this, bank_fees_micros=bank.fees_micros, at=at)
    place(
        database,
        this,
        debtor=bank.debtor,
        file_limit=bank.file_limit,
        at=at,
    )
    progress("render")
    bank_files.render(database, this.id, profile=bank.profile, at=at)
    bank_files.date_anew(database, this.id, profile=bank.profile, at=at)
    with database.settle() as conn:
        advance(conn, this, RunState.CUT, RunState.RENDERED)
        waits = approvals.missing(conn, this.id, bank.approvals)
    if not waits:
        progress("submit")
        # Somebody else may have dated them anew meanwhile: then they wait again.
        with suppress(ApprovalsMissing):
            submit(database, bank, this, at=at)

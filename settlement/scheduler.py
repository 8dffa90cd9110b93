"""The scheduler: one process that starts the nightly run, collects the bank's answers, and sends mail and webhooks.

Invariant: it decides nothing, and where there is no bank, all goes on that needs none. Each job asks a verb that may be
called at any time by anyone, so that two schedulers started by mistake, a job that runs late, or one that is killed do
no harm. All times are UTC: a local clock would strike the cut-off twice in autumn and, somewhere, not at all in spring.
A clock that is set back or forward costs no job more than one turn.
"""

import datetime as dt
import logging
from typing import TypedDict

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from settlement import business_day
from settlement.answers import receiving, reconciliation
from settlement.runs import nightly, runs
from settlement.runs.nightly import Bank
from wallet import pruning
from wallet.funding import automatic, closing, top_ups
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.errors import BankNotConfigured
from wallet.keys.ring import Keyring
from wallet.people import letter_requests
from wallet.purchases import checkouts, vouchers
from wallet.purses import alerts
from wallet.settings import Settings
from wallet.telling import mail
from wallet.telling.webhooks import deliver

log = structlog.get_logger()
# It says so each time it does nothing, or waits for a job, every second; our jobs log what they did, and failures are
# logged below.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class Collected(TypedDict):
    """What `collect` did: documents imported for the first time, documents refused, breaks opened."""

    imported: int
    refused: int
    breaks: int


class Every(BaseTrigger):
    """Every so many seconds of the clock as it is, which may have been set since the last time."""

    def __init__(self, seconds: int) -> None:
        self._interval = dt.timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: dt.datetime | None, now: dt.datetime) -> dt.datetime:
        """One interval on; at once, and once, what a clock set forward has left behind."""
        return now + self._interval if previous is None else max(previous + self._interval, now)


# As often as the most frequent job comes due, so it wakes nobody who would sleep.
_LONGEST_WAIT_SECONDS = 1


class Jobs(BlockingScheduler):
    """APScheduler, whose jobs would wait until a clock that was set back has caught up with itself."""

    def _process_jobs(self) -> float | None:
        now = clock.now()
        for job in self.get_jobs():
            soonest = job.trigger.get_next_fire_time(None, now)
            if job.next_run_time > soonest:
                job.modify(next_run_time=soonest)
        waits: float | None = super()._process_jobs()
        # The clock may have been set back in the middle of that, and what is awaited then would be an hour away.
        return None if waits is None else min(waits, _LONGEST_WAIT_SECONDS)


def build(
    database: Database, bank: Bank | None, settings: Settings, keyring: Keyring, *, cutoff: dt.time, every_seconds: int
) -> Jobs:
    """A scheduler with every job, not yet started; without a ``bank`` there is none to settle with, and to ask.

    ``cutoff`` is a time of day in UTC.
    """
    jobs = Jobs(timezone=dt.UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None})
    jobs.add_listener(_log_error, EVENT_JOB_ERROR)
    nightly_at = CronTrigger(hour=cutoff.hour, minute=cutoff.minute, second=cutoff.second, timezone=dt.UTC)
    often = Every(every_seconds)
    if bank is None:
        # The books can contradict themselves without a bank, too.
        jobs.add_job(prove, nightly_at, (database, settings), id="prove")
    else:
        jobs.add_job(settle, nightly_at, (database, bank, settings), id="settle")
        jobs.add_job(collect, often, (database, bank), id="collect")
        # What came due while nobody was there, or failed (the database was down at the cut-off), is caught up with.
        overdue = {"cutoff": cutoff}
        jobs.add_job(catch_up, often, (database, bank, settings), overdue, id="catch-up", next_run_time=clock.now())
    jobs.add_job(lapse, often, (database,), id="lapse")
    jobs.add_job(send_alerts, often, (database,), id="alerts")
    jobs.add_job(request_top_ups, often, (database, settings), id="top-ups")
    jobs.add_job(advance_closings, often, (database, settings), id="closings")
    jobs.add_job(expire, often, (database,), id="expire")
    soon = Every(1)
    # A merchant's server that is slow to answer keeps one of these busy, and the others hear at once all the same.
    jobs.add_job(deliver_webhooks, soon, (database, settings, keyring), id="deliver webhooks", max_instances=4)
    jobs.add_job(write_letters, soon, (database, settings), id="letters")
    jobs.add_job(deliver_mail, soon, (database, settings), id="deliver mail")
    jobs.add_job(prune, Every(6 * 60 * 60), (database,), id="prune")
    return jobs


def bank_if_any(settings: Settings) -> Bank | None:
    """The bank that the jobs settle with; None, and a line in the log of the jobs that do not run, and why."""
    try:
        return nightly.bank_of(settings)
    except BankNotConfigured as missing:
        log.warning("jobs that do not run", jobs=["settle", "collect", "catch-up"], why=missing.detail)
        return None


def settle(database: Database, bank: Bank, settings: Settings, *, up_to: dt.date | None = None) -> None:
    """The nightly run, of today and every day before it, or only ``up_to`` a day before today; then the proof."""
    try:
        run, _ = nightly.settle(database, bank, settings, at=clock.now(), up_to=up_to)
    except Exception:
        # The cut-off comes once a night, and a night without a run is no night without a proof; what was missed is
        # tried every minute, and proven once it is done.
        if up_to is None:
            prove(database, settings)
        raise
    if run is not None:
        log.info("settled", business_date=run.business_date.isoformat(), run=str(run.id), state=run.state)


def prove(database: Database, settings: Settings) -> None:
    """The proof of a night without a run."""
    nightly.prove(database, settings, at=clock.now())


def catch_up(database: Database, bank: Bank, settings: Settings, *, cutoff: dt.time) -> None:
    """Run what a past cut-off should have run: an earlier day still open, or a run that did not finish.

    The day whose own cut-off is yet to come stays open.
    """
    now = clock.now()
    last_cutoff = now.date() if now.time() >= cutoff else now.date() - dt.timedelta(days=1)
    with database.read() as conn:
        open_date = business_day.open_date(conn)
        overdue = open_date <= last_cutoff or runs.is_unfinished(conn, bank.approvals)
    if open_date > now.date() + dt.timedelta(days=1):
        # Days were closed while the clock was ahead. Only a person can tell which of the two is wrong.
        log.critical("the open business day is ahead of the clock: nobody is paid until then", open=str(open_date))
    if overdue:
        settle(database, bank, settings, up_to=last_cutoff)


def collect(database: Database, bank: Bank) -> Collected:
    """Import what the bank has sent, in its order, and give up waiting for answers that are overdue."""
    collected = Collected(imported=0, refused=0, breaks=0)
    reconciliation.finish_waiting(database)
    for answer in bank.connector.answers(at=clock.now()):
        received = receiving.receive(database, bank, answer.content, name=answer.name, at=clock.now(), flaw=answer.flaw)
        imported = [document.imported for document in received if document.imported is not None]
        bank.connector.put_away(answer, refused=not imported)
        collected["refused"] += len(received) - len(imported)
        collected["imported"] += sum(not each.seen_before for each in imported)
        collected["breaks"] += sum(len(each.breaks) for each in imported)
    now = clock.now()
    reconciliation.mark_unknown(database, older_than=now - dt.timedelta(days=bank.answer_days), at=now)
    return collected


def lapse(database: Database) -> int:
    """Give back every hold whose end has passed; answers how many. One short transaction after the other."""
    lapsed = 0
    while True:
        with database.write() as conn:
            some = vouchers.lapse(conn, at=clock.now())
        lapsed += some
        if some == 0:
            return lapsed


def send_alerts(database: Database) -> int:
    """Write to shoppers whose purse runs low; answers how many letters."""
    return alerts.send_due(database, at=clock.now())


def request_top_ups(database: Database, settings: Settings) -> int:
    """Ask for the automatic top-ups that are due, and for what could not be asked for before; answers how many."""
    late = top_ups.fetch_late(database, settings, at=clock.now())
    return late + automatic.request_due(database, settings, at=clock.now())


def advance_closings(database: Database, settings: Settings) -> int:
    """Send home what came back to purses that are being closed; answers how many moved."""
    return closing.advance_due(database, minimum_micros=settings.withdrawal_minimum_micros, at=clock.now())


def expire(database: Database) -> int:
    """Note the checkouts whose time is over, and tell their merchants; answers how many."""
    return checkouts.expire(database, at=clock.now())


def deliver_webhooks(database: Database, settings: Settings, keyring: Keyring) -> int:
    """Tell merchants' servers what is due; answers how many deliveries arrived."""
    return deliver.deliver(database, keyring, now=clock.now, allow_loopback=settings.is_local)


def write_letters(database: Database, settings: Settings) -> int:
    """Write the letters that strangers asked for, to whom they are due; answers how many were asked for."""
    name = settings.operator_name
    return letter_requests.answer(database, origin=settings.origin, wallet_name=name, at=clock.now())


def deliver_mail(database: Database, settings: Settings) -> int:
    """Send the letters that are due; answers how many. Where there is no post they wait."""
    return 0 if settings.post is None else mail.deliver(database, settings.post, now=clock.now)


def prune(database: Database) -> None:
    """Forget what nobody needs any more."""
    forgotten = pruning.prune(database, at=clock.now())
    if forgotten:
        log.info("pruned", rows=forgotten)


def _log_error(event: JobExecutionEvent) -> None:
    log.error("job failed", job=event.job_id, exc_info=event.exception)

"""The scheduler, as a process of its own."""

import signal
import threading
from contextlib import suppress

import click
from apscheduler.schedulers import SchedulerNotRunningError
from flask.cli import with_appcontext

from cli.words import says_no
from settlement import scheduler
from web.http.context import current


@click.command("scheduler")
@click.option("--every", default=60, show_default=True, help="Seconds between looks at the bank's inbox.")
@with_appcontext
@says_no
def scheduler_command(every: int) -> None:
    """Run the nightly settlement, collect the bank's answers, and send mail and webhooks, until told to stop.

    Without a bank nothing is settled, and all else goes on.
    """
    obole, settings = current(), current().settings
    bank = scheduler.bank_if_any(settings)
    jobs = scheduler.build(obole.database, bank, settings, obole.keyring, cutoff=settings.cutoff, every_seconds=every)
    for number in (signal.SIGTERM, signal.SIGINT):
        # By another thread: this one may be in the middle of putting a job back, which would find its place gone.
        signal.signal(number, lambda *_: threading.Thread(target=_stop, args=[jobs]).start())
    jobs.start()


def _stop(jobs: scheduler.Jobs) -> None:
    with suppress(SchedulerNotRunningError):  # asked twice
        jobs.shutdown(wait=False)

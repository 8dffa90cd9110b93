"""The nightly run, step by step or in one go, and the operator's own money."""

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import click
from flask.cli import AppGroup
from rich.console import Console
from sqlalchemy.engine import Row

from cli.books import plain, show_findings
from cli.words import DATE, JSON, date_of, note_action, say, says_no
from settlement import business_day
from settlement.audit.checks import Check
from settlement.figures import forecast
from settlement.files import approvals, bank_files
from settlement.files.place import advance, place
from settlement.payouts import own_money
from settlement.payouts.cut import cut
from settlement.runs import nightly, runs
from settlement.tables import RunState, TransactionKind
from wallet.books import safeguarding
from wallet.ground import clock
from wallet.ground.errors import IdentityNotFound
from wallet.ground.money import Money, decimal_string
from wallet.people import identities
from wallet.tables.people import IdentityKind
from web.http.context import current

settlement = AppGroup("settlement", help="The nightly run, step by step or in one go, and the bank's answers.")


@settlement.command("run")
@click.option("--business-date", type=DATE, help="The day to settle; otherwise all that are due.")
@JSON
@says_no
def _run(business_date: dt.datetime | None, as_json: bool) -> None:
    """Close the day, cut, render and submit, then audit the books. Running it again changes nothing, and says so.

    Status 1 if the books do not add up.
    """
    settings, database = current().settings, current().database
    bank = nightly.bank_of(settings)
    with database.read() as conn:
        before = runs.states(conn)
    with _progress(quiet=as_json) as step:
        run, failed = nightly.settle(
            database, bank, settings, at=clock.now(), business_date=date_of(business_date), progress=step
        )
        if run is None:
            raise click.ClickException("No business day is due yet.")
    with database.read() as conn:
        settled = runs.settled_since(conn, before)
    if not settled:
        click.echo(f"Nothing was due: the day of {run.business_date.isoformat()} was settled before.", err=True)
    _show_run(run, failed, as_json, settled=[date.isoformat() for date in settled])


@settlement.command("close")
@click.option("--business-date", type=DATE, help="The day to close; otherwise the open one.")
@JSON
@says_no
def _close(business_date: dt.datetime | None, as_json: bool) -> None:
    """Close a business day and store its closing balances."""
    database = current().database
    with database.read() as conn:
        date = date_of(business_date) or business_day.open_date(conn)
    closed = business_day.close(database, date, at=clock.now())
    balances = business_day.balance(database)
    say(as_json, business_date=date.isoformat(), closed=closed, balances_stored=balances)


@settlement.command("cut")
@click.option("--business-date", type=DATE, required=True, help="The closed day to make payouts for.")
@JSON
@says_no
def _cut(business_date: dt.datetime, as_json: bool) -> None:
    """Make the payouts of a closed day and put them into files."""
    bank, database, at = nightly.bank_of(current().settings), current().database, clock.now()
    run = nightly.start(database, business_date.date(), profile=bank.profile, at=at)
    made = cut(database, run, bank_fees_micros=bank.fees_micros, at=at)
    files = place(database, run, debtor=bank.debtor, file_limit=bank.file_limit, at=at)
    say(as_json, run=str(run.id), bank_transactions=made, files=files)


@settlement.command("render")
@click.argument("run_id", type=click.UUID)
@JSON
@says_no
def _render(run_id: UUID, as_json: bool) -> None:
    """Write the bytes of a run's bank files into the database."""
    settings, database, at = current().settings, current().database, clock.now()
    run = _found(run_id)
    files = bank_files.render(database, run_id, profile=nightly.profile_of(settings), at=at)
    with database.settle() as conn:
        advance(conn, run, RunState.CUT, RunState.RENDERED)
    say(as_json, run=str(run_id), files=files)


@settlement.command("submit")
@click.argument("run_id", type=click.UUID)
@JSON
@says_no
def _submit(run_id: UUID, as_json: bool) -> None:
    """Hand a run's rendered files to the bank."""
    database, at = current().database, clock.now()
    run = _found(run_id)
    files = nightly.submit(database, nightly.bank_of(current().settings), run, at=at)
    say(as_json, run=str(run_id), files=files)


@settlement.command("approve")
@click.argument("run_id", type=click.UUID)
@click.option("--operator", "email", required=True, help="Who approves it: an operator's e-mail address.")
@click.option("--seen", help="The `files_sha256` that was looked at, as `run` shows it: refused if it is another now.")
@JSON
@says_no
def _approve(run_id: UUID, email: str, seen: str | None, as_json: bool) -> None:
    """Let an operator approve a run whose files wait; with the last approval needed they go to the bank.

    The log names who is at the terminal, by the machine's account, and for whom. Where the bank can no longer keep the
    date that they ask for, the files are dated anew, and must be approved again.
    Status 1 if the books do not add up.
    """
    settings, database, at = current().settings, current().database, clock.now()
    bank = nightly.bank_of(settings)
    nightly.keep_dates(database, bank, run_id, at=at)
    with database.settle() as conn:
        run = runs.find(conn, run_id)
        approver = identities.find_by_identifier(conn, IdentityKind.OPERATOR, email)
        if approver is None:
            raise IdentityNotFound
        if approvals.approve(conn, run_id, approver.id, seen_sha256=seen, at=at):
            note_action(conn, "run_approved", run_id, f"for {approver.identifier}", at)
    _, failed = nightly.settle(database, bank, settings, at=at, business_date=run.business_date)
    _show_run(_found(run_id), failed, as_json)


@settlement.command("preview")
@JSON
@says_no
def _preview(as_json: bool) -> None:
    """What tonight would pay, its fees, the bank balance it needs; what is owed to others, and what lacks of it."""
    fees = current().settings.bank_fees
    with current().database.read() as conn:
        previews = forecast.preview(conn, fees)
        owed = {each.currency: each for each in safeguarding.positions(conn)}
    for seen in previews:
        money = functools.partial(decimal_string, currency=seen.currency)
        say(
            as_json,
            currency=seen.currency,
            payouts=seen.payouts,
            payouts_amount=money(seen.payouts_micros),
            withdrawals=seen.withdrawals,
            withdrawals_amount=money(seen.withdrawals_micros),
            own_payments=seen.own_payments,
            own_payments_amount=money(seen.own_payments_micros),
            commission=money(seen.commission_micros),
            bank_fees=money(seen.bank_fees_micros),
            bank_balance=money(seen.bank_balance_micros),
            needed=money(seen.needed_micros),
            enough=seen.needed_micros <= seen.bank_balance_micros,
            waiting={reason.value: count for reason, count in seen.waiting.items()},
            owed=money(owed[seen.currency].owed_micros),
            own=money(owed[seen.currency].own_micros),
            short=money(owed[seen.currency].short_micros),
        )


@settlement.command("put-in")
@click.argument("amount")
@click.argument("currency")
@JSON
@says_no
def _put_in(amount: str, currency: str, as_json: bool) -> None:
    """Announce money of your own, and print the reference that your transfer must carry."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, currency)
        row = own_money.announce_equity(conn, money, at=at)
        note_action(conn, "equity_announced", row.id, f"{money} {currency}, {row.reference}", at)
    say(as_json, reference=row.reference, amount=str(money), currency=currency, iban=current().settings.bank_iban)


@settlement.command("take-out")
@click.argument("kind", type=click.Choice([TransactionKind.INCOME.value, TransactionKind.EQUITY.value]))
@click.argument("amount")
@click.argument("currency")
@click.option("--why", required=True, help="It is kept with the payment.")
@JSON
@says_no
def _take_out(kind: str, amount: str, currency: str, why: str, as_json: bool) -> None:
    """Take commission (income), or what you had put in (equity), to your own account, with the next run."""
    at, settings = clock.now(), current().settings
    with current().database.write() as conn:
        money = Money.parse(amount, currency)
        row, detail = own_money.to_own_account(conn, settings, TransactionKind(kind), money, why=why, at=at)
        note_action(conn, "own_money_taken_out", row.id, detail, at)
    say(as_json, id=str(row.id), amount=amount, currency=currency, iban=row.creditor_iban)


def _show_run(run: Row[tuple[object, ...]], failed: Sequence[Check], as_json: bool, **more: Any) -> None:
    """What a run did, and how the audit at its end came out. Status 1 if it failed."""
    said = "sound" if not failed else f"{len(failed)} checks failed"
    with current().database.read() as conn:
        counted, files = runs.outcome(conn, run.id), runs.files(conn, run.id)
        lacking = approvals.missing(conn, run.id, current().settings.approvals)
        digest = approvals.files_sha256(conn, run.id)
    say(
        as_json,
        run=str(run.id),
        business_date=run.business_date.isoformat(),
        state=run.state,
        approvals_missing=lacking,
        execution_dates=sorted({file.execution_date.isoformat() for file in files}),
        files_sha256=digest,
        bank_transactions=[
            {
                "kind": row.kind,
                "state": row.state,
                "count": row.count,
                "amount": decimal_string(row.amount_micros, row.currency),
                "currency": row.currency,
            }
            for row in counted
        ],
        files=[file.message_id for file in files],
        audit={"ok": not failed, "failed": [plain(check) for check in failed]} if as_json else said,
        **more,
    )
    if failed:
        show_findings(failed, on_error=True)
        raise click.exceptions.Exit(1)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet:
        yield lambda _step: None
        return
    with Console(stderr=True).status("settling") as status:
        yield status.update


def _found(run_id: UUID) -> Row[tuple[object, ...]]:
    with current().database.read() as conn:
        return runs.find(conn, run_id)

"""The command line: what operators do at a terminal or from cron, over the same verbs as the HTTP interface.

Invariant: exit status 0 only when all is well; what is wrong is said on standard error with its code; ``--json``
says everything on standard output as one JSON document, for programs.
"""

import datetime as dt
import functools
import json
import os
import pwd
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection, Row

from settlement import (
    approvals,
    bank_files,
    breaks,
    business_day,
    forecast,
    nightly,
    own_money,
    owners,
    quarantine,
    receiving,
    reconciliation,
    resolutions,
    scheduler,
    tellings,
)
from settlement.audit import Check
from settlement.audit import audit as audit_books
from settlement.breaks import Way
from settlement.imports import Imported
from settlement.payouts import advance, cut, place, try_again
from settlement.receiving import Received
from settlement.resolutions import TOGETHER, Resolution
from settlement.tables import RunState, TransactionKind, TransactionState
from settlement.tellings import Telling
from settlement.xml import MAX_BYTES
from wallet import actions, api_keys, identities, invitations, ledger, merchants, purses, safeguarding, team
from wallet.ground import clock
from wallet.ground.db import begin_deed, end_deed, machine_failed, migrate
from wallet.ground.errors import (
    AmountInvalid,
    BankMessageFailed,
    BankMessageInvalid,
    IdentityNotFound,
    NotFound,
    OboleError,
)
from wallet.ground.languages import LOCALES
from wallet.ground.money import Money, decimal_string
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import IdentityKind, KeyKind
from web.api.merchants import NewMerchant, NewMerchantName
from web.api.purses import NewPurse
from web.http.context import current
from web.http.operations import load

_DATE = click.DateTime(["%Y-%m-%d"])
_ENTRIES_AT_ONCE = 200
_LONGEST_ACCOUNT = 200
_JSON = click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")

settlement = AppGroup("settlement", help="The nightly run, step by step or in one go, and the bank's answers.")
merchant = AppGroup("merchant", help="Merchants: take on, change, look at.")
purse = AppGroup("purse", help="Purses: open, look at, freeze.")
keys = AppGroup("keys", help="The wallet's signing keys.")
operator = AppGroup("operator", help="Keys for operators.")


def register(app: Flask) -> None:
    """Add every command to ``flask``."""
    for group in (settlement, merchant, purse, keys, operator):
        app.cli.add_command(group)
    for command in (_migrate, _audit, _scheduler):
        app.cli.add_command(command)


def _says_no(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        begin_deed()
        try:
            command(*args, **options)
        except OboleError as refusal:
            raise click.ClickException(f"{refusal.detail} [{refusal.code}]") from None
        except OSError as error:
            refused = machine_failed(error)
            raise click.ClickException(f"{refused.detail} {error.strerror or ''} [{refused.code}]") from error
        finally:
            end_deed()

    return run


# --- settlement --------------------------------------------------------------------------------------------


@settlement.command("run")
@click.option("--business-date", type=_DATE, help="The day to settle; otherwise all that are due.")
@_JSON
@_says_no
def _run(business_date: dt.datetime | None, as_json: bool) -> None:
    """Close the day, cut, render and submit, then audit the books. Running it again changes nothing, and says so.

    Status 1 if the books do not add up.
    """
    settings, database = current().settings, current().database
    bank = nightly.bank_of(settings)
    with database.read() as conn:
        before = nightly.states(conn)
    with _progress(quiet=as_json) as step:
        run, failed = nightly.settle(
            database, bank, settings, at=clock.now(), business_date=_date(business_date), progress=step
        )
        if run is None:
            raise click.ClickException("No business day is due yet.")
    with database.read() as conn:
        settled = nightly.settled_since(conn, before)
    if not settled:
        click.echo(f"Nothing was due: the day of {run.business_date.isoformat()} was settled before.", err=True)
    _show_run(run, failed, as_json, settled=[date.isoformat() for date in settled])


@settlement.command("close")
@click.option("--business-date", type=_DATE, help="The day to close; otherwise the open one.")
@_JSON
@_says_no
def _close(business_date: dt.datetime | None, as_json: bool) -> None:
    """Close a business day and store its closing balances."""
    database = current().database
    with database.read() as conn:
        date = _date(business_date) or business_day.open_date(conn)
    closed = business_day.close(database, date, at=clock.now())
    balances = business_day.balance(database)
    _say(as_json, business_date=date.isoformat(), closed=closed, balances_stored=balances)


@settlement.command("cut")
@click.option("--business-date", type=_DATE, required=True, help="The closed day to make payouts for.")
@_JSON
@_says_no
def _cut(business_date: dt.datetime, as_json: bool) -> None:
    """Make the payouts of a closed day and put them into files."""
    bank, database, at = nightly.bank_of(current().settings), current().database, clock.now()
    run = nightly.start(database, business_date.date(), profile=bank.profile, at=at)
    made = cut(database, run, bank_fees_micros=bank.fees_micros, at=at)
    files = place(database, run, debtor=bank.debtor, file_limit=bank.file_limit, at=at)
    _say(as_json, run=str(run.id), bank_transactions=made, files=files)


@settlement.command("render")
@click.argument("run_id", type=click.UUID)
@_JSON
@_says_no
def _render(run_id: UUID, as_json: bool) -> None:
    """Write the bytes of a run's bank files into the database."""
    settings, database, at = current().settings, current().database, clock.now()
    run = _found(run_id)
    files = bank_files.render(database, run_id, profile=nightly.profile_of(settings), at=at)
    with database.settle() as conn:
        advance(conn, run, RunState.CUT, RunState.RENDERED)
    _say(as_json, run=str(run_id), files=files)


@settlement.command("submit")
@click.argument("run_id", type=click.UUID)
@_JSON
@_says_no
def _submit(run_id: UUID, as_json: bool) -> None:
    """Hand a run's rendered files to the bank."""
    database, at = current().database, clock.now()
    run = _found(run_id)
    files = nightly.submit(database, nightly.bank_of(current().settings), run, at=at)
    _say(as_json, run=str(run_id), files=files)


@settlement.command("approve")
@click.argument("run_id", type=click.UUID)
@click.option("--operator", "email", required=True, help="Who approves it: an operator's e-mail address.")
@click.option("--seen", help="The `files_sha256` that was looked at, as `run` shows it: refused if it is another now.")
@_JSON
@_says_no
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
        run = nightly.find(conn, run_id)
        approver = identities.find_by_identifier(conn, IdentityKind.OPERATOR, email)
        if approver is None:
            raise IdentityNotFound
        if approvals.approve(conn, run_id, approver.id, seen_sha256=seen, at=at):
            _note_action(conn, "run_approved", run_id, f"for {approver.identifier}", at)
    _, failed = nightly.settle(database, bank, settings, at=at, business_date=run.business_date)
    _show_run(_found(run_id), failed, as_json)


@settlement.command("import")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@_JSON
@_says_no
def _import(files: tuple[Path, ...], as_json: bool) -> None:
    """Import the bank's messages: FILES, or all that wait in the inbox.

    Each file has its line, one that is refused stops none of the others and is kept in quarantine. Status 1 if any was.
    """
    bank, database = nightly.bank_of(current().settings), current().database
    if not files:
        report = scheduler.collect(database, bank)
        _say(as_json, **report)
        if report["refused"]:
            raise click.exceptions.Exit(1)
        return
    all_well = True
    for file in files:
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        except OSError as error:
            received = [Received(file.name, refusal=BankMessageInvalid(f"It cannot be read: {error.strerror}."))]
        else:
            received = receiving.receive(database, bank, content, name=file.name, at=clock.now())
        all_well &= _say_received(file.name, received, as_json)
    if not all_well:
        raise click.exceptions.Exit(1)


@settlement.command("quarantine")
@_JSON
@_says_no
def _quarantine(as_json: bool) -> None:
    """The bank's messages that could not be imported, and why. Status 1 if there is any."""
    with current().database.read() as conn:
        messages = quarantine.listing(conn)
    for message in messages:
        _say(
            as_json,
            id=str(message.id),
            name=message.name,
            reason=message.reason,
            bytes=message.size,
            refused_at=clock.rfc3339(message.refused_at),
            sha256=message.sha256,
        )
    if messages:
        raise click.exceptions.Exit(1)


@settlement.command("retry")
@click.argument("message_ids", type=click.UUID, nargs=-1)
@_JSON
@_says_no
def _retry(message_ids: tuple[UUID, ...], as_json: bool) -> None:
    """Import messages again that are in quarantine: MESSAGE_IDS, or all. Status 1 if any is still refused."""
    bank, database, at = nightly.bank_of(current().settings), current().database, clock.now()
    with database.read() as conn:
        chosen = message_ids or tuple(message.id for message in quarantine.listing(conn))
    all_well = True
    for message_id in chosen:
        note = functools.partial(_note_imported, message_id=message_id, at=at)
        try:
            imported = receiving.retry(database, bank, message_id, at=at, note=note)
        except (BankMessageInvalid, BankMessageFailed, NotFound) as refusal:
            received = [Received(str(message_id), refusal=refusal)]
        else:
            received = [Received(str(message_id), imported=each) for each in imported]
        all_well &= _say_received(str(message_id), received, as_json)
    if not all_well:
        raise click.exceptions.Exit(1)


@settlement.command("dismiss")
@click.argument("message_id", type=click.UUID)
@click.option("--why", required=True, help="Why it need not be imported; kept with the message.")
@_says_no
def _dismiss(message_id: UUID, why: str) -> None:
    """Let a message in quarantine go without importing it."""
    at = clock.now()
    with current().database.write() as conn:
        quarantine.dismiss(conn, message_id, why, at=at)
        _note_action(conn, "message_dismissed", message_id, why, at)


@settlement.command("preview")
@_JSON
@_says_no
def _preview(as_json: bool) -> None:
    """What tonight would pay, its fees, the bank balance it needs; what is owed to others, and what lacks of it."""
    fees = current().settings.bank_fees
    with current().database.read() as conn:
        previews = forecast.preview(conn, fees)
        owed = {each.currency: each for each in safeguarding.positions(conn)}
    for seen in previews:
        money = functools.partial(decimal_string, currency=seen.currency)
        _say(
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


@settlement.command("breaks")
@_JSON
@_says_no
def _breaks(as_json: bool) -> None:
    """What the bank says and the books do not, and what the bank has not answered. Status 1 if there is any."""
    settings = current().settings
    late = clock.now() - dt.timedelta(days=settings.bank_answer_days)
    with current().database.read() as conn:
        found = reconciliation.open_breaks(conn, before=None, limit=1_000)
        awaited = reconciliation.awaited(conn, submitted_before=late)
    for row in found:
        difference = decimal_string(row.difference_micros, row.currency) if row.difference_micros else "0"
        _say(
            as_json,
            id=str(row.id),
            kind=row.kind,
            difference=difference,
            currency=row.currency,
            detail=row.detail,
            noted=row.resolution,
        )
    for row in awaited:
        amount = decimal_string(row.amount_micros, row.currency)
        _say(
            as_json,
            id=str(row.id),
            kind="to_release" if row.state == TransactionState.TO_RELEASE.value else "not_answered",
            state=row.state,
            amount=amount,
            currency=row.currency,
            detail=row.state_detail,
            creditor_name=row.creditor_name,
            payee_name=row.payee_name,
        )
    if found or awaited:
        raise click.exceptions.Exit(1)


@settlement.command("decide")
@click.argument("payout_id", type=click.UUID)
@click.argument("outcome", type=click.Choice(["executed", "not-executed"]))
@click.option("--why", required=True, help="What the bank told you; kept with the payout.")
@_says_no
def _decide(payout_id: UUID, outcome: str, why: str) -> None:
    """Say what became of a payout or withdrawal whose outcome is unknown, or that waited for a word on the name."""
    at = clock.now()
    with current().database.settle() as conn:
        reconciliation.decide(conn, payout_id, executed=outcome == "executed", why=why, at=at)
        _note_action(conn, "payout_decided", payout_id, f"{outcome}: {why}", at)


@settlement.command("suggest")
@click.argument("break_id", type=click.UUID)
@_JSON
@_says_no
def _suggest(break_id: UUID, as_json: bool) -> None:
    """How a break can be closed, and the purses and merchants that it may be for, with what speaks for each."""
    with current().database.read() as conn:
        row = breaks.find(conn, break_id)
        found = [*owners.suggestions(conn, row), *owners.suggested_merchants(conn, row)]
    if not as_json:
        _say(False, ways=[way.value for way in breaks.ways(row)])
    for each in found:
        whose = "purse" if each.owner.is_purse else "merchant"
        facts = {whose: str(each.owner.id), "name": each.owner.name, "email": each.owner.email}
        _say(as_json, **facts, because=each.because.value, reference=each.reference)


@settlement.command("assign")
@click.argument("break_id", type=click.UUID)
@click.argument("who")
@click.option("--why", default="", help="What you found out; kept with the break.")
@_JSON
@_says_no
def _assign(break_id: UUID, who: str, why: str, as_json: bool) -> None:
    """Give an unexplained credit of the bank to the purse of WHO: a reference, an e-mail address, a name or an id."""
    _close_break(break_id, Resolution(way=Way.ASSIGN, who=who, why=why), as_json)


class _Share(click.ParamType[tuple[str, int]]):
    """``WHO=AMOUNT``; ``own=AMOUNT`` is the operator's."""

    name = "WHO=AMOUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        who, equals, amount = str(value).rpartition("=")
        if not equals or not who.strip():
            self.fail(f"{value!r} is not WHO=AMOUNT", param, ctx)
        try:
            # Micros are micros in every currency.
            micros = Money.parse(amount, "EUR").micros
        except AmountInvalid as refusal:
            self.fail(f"{value!r}: {refusal.detail}", param, ctx)
        return ("" if who == "own" else who), micros


@settlement.command("resolve")
@click.argument("break_ids", type=click.UUID, nargs=-1, required=True)
@click.option("--why", required=True, help="What you found out; kept with the break.")
@click.option("--assign", help="It is a top-up of this purse: a reference, an e-mail address, a name or an id.")
@click.option(
    "--split", type=_Share(), multiple=True, help="So much of it is WHO's, a purse or a merchant; repeatable."
)
@click.option("--repayment", help="This merchant pays back: an id, a reference, an e-mail address or a name.")
@click.option("--equity", is_flag=True, help="It is your own money.")
@click.option("--send-back", is_flag=True, help="Send it back to where it came from, with the next run.")
@click.option("--name", help="With --send-back: who paid, where the bank does not say.")
@click.option("--iban", help="With --send-back: from which account, where the bank does not say.")
@click.option("--take-back", is_flag=True, help="A top-up leaves its purse as far as that reaches; the rest is a loss.")
@click.option("--undo", is_flag=True, help="It was booked on early word that never came true: as if nothing was said.")
@click.option("--again", is_flag=True, help="Try again to book what failed.")
@click.option("--expense", is_flag=True, help="The operator bears what the bank took.")
@click.option(
    "--drop", is_flag=True, help="It was notified, moved nothing, and is on no statement of its day: no movement."
)
@click.option("--loss", is_flag=True, help="What left is given up: a loss of yours.")
@click.option("--offset", is_flag=True, help="These breaks make each other up: together they are zero.")
@click.option("--book", "booked", type=click.UUID, multiple=True, help="It is the booking of this payment; repeatable.")
@click.option("--book-file", help="It is the booking of all payments of this file still awaited.")
@click.option("--returned", type=click.UUID, help="It is this booked payment, come back.")
@_JSON
@_says_no
def _resolve(break_ids: tuple[UUID, ...], why: str, as_json: bool, **how: Any) -> None:
    """Close breaks by what explains them; without an option, note what is known about one."""
    payer = {name: how.pop(name) for name in ("name", "iban")}
    chosen = [(option, value) for option, value in how.items() if value]
    option, value = chosen[0] if chosen else ("", None)
    way, makes = _WAYS[option]
    if (
        len(chosen) > 1
        or (len(break_ids) > 1 and way not in TOGETHER)
        or (any(payer.values()) and not how["send_back"])
    ):
        raise click.UsageError("Choose one way, and one break unless they are closed together.")
    said = Resolution(way=way, why=why, others=break_ids[1:], **payer, **makes(value))
    _close_break(break_ids[0], said, as_json)


def _nothing(_: Any) -> dict[str, Any]:
    return {}


# The way of each option of `resolve`, and what its value says.
_WAYS: dict[str, tuple[Way, Callable[[Any], dict[str, Any]]]] = {
    "": (Way.ACKNOWLEDGE, _nothing),
    "assign": (Way.ASSIGN, lambda who: {"who": who}),
    "split": (Way.SPLIT, lambda parts: {"parts": parts}),
    "repayment": (Way.REPAYMENT, lambda who: {"who": who}),
    "equity": (Way.EQUITY, _nothing),
    "send_back": (Way.SEND_BACK, _nothing),
    "take_back": (Way.TAKE_BACK, _nothing),
    "undo": (Way.UNDO, _nothing),
    "again": (Way.TRY_AGAIN, _nothing),
    "expense": (Way.EXPENSE, _nothing),
    "drop": (Way.DROP, _nothing),
    "loss": (Way.LOSS, _nothing),
    "offset": (Way.OFFSET, _nothing),
    "booked": (Way.BOOK, lambda payments: {"payment_ids": payments}),
    "book_file": (Way.BOOK, lambda file: {"message_id": file}),
    "returned": (Way.RETURN, lambda payment: {"payment_ids": [payment]}),
}


def _close_break(break_id: UUID, said: Resolution, as_json: bool) -> None:
    at = clock.now()
    with current().database.settle() as conn:
        done = resolutions.resolve(conn, break_id, said, at=at)
        for each in done.break_ids:
            _note_action(conn, done.action, each, done.detail, at)
    amounts = {"amount": done.amount_micros, "loss": done.loss_micros}
    _say(
        as_json,
        way=done.way.value,
        closed=done.closed,
        breaks=[str(each) for each in done.break_ids],
        currency=done.currency,
        **{name: decimal_string(micros, done.currency) if micros else "0" for name, micros in amounts.items()},
        payment=None if done.payment_id is None else str(done.payment_id),
    )


@settlement.command("messages")
@click.option("--limit", default=20, show_default=True)
@_JSON
@_says_no
def _messages(limit: int, as_json: bool) -> None:
    """What the bank sent and was imported, newest first."""
    with current().database.read() as conn:
        found = tellings.messages(conn, before=None, limit=limit)
    for row in found:
        _say(
            as_json,
            id=str(row.id),
            kind=row.kind,
            message_id=row.message_id,
            name=row.name,
            imported_at=clock.rfc3339(row.imported_at),
            entries=row.entries,
            open_breaks=row.open_breaks,
        )


@settlement.command("entries")
@click.argument("message_id", type=click.UUID)
@_JSON
@_says_no
def _entries(message_id: UUID, as_json: bool) -> None:
    """What became of each entry of a message, in the bank's order."""
    after = None
    while True:
        with current().database.read() as conn:
            page = tellings.entries(conn, message_id, after=after, limit=_ENTRIES_AT_ONCE)
        for each in page:
            _say(as_json, **_entry(each))
        if len(page) < _ENTRIES_AT_ONCE:
            return
        after = page[-1].id


def _entry(told: Telling) -> dict[str, Any]:
    word = told.word
    return {
        "id": str(told.id),
        "statement": word.told_in,
        "entry": word.entry_index + 1,
        "amount": decimal_string(word.amount_micros, word.currency),
        "currency": word.currency,
        "text": word.text,
        "became": told.became.value,
        "told_first_in": None if told.first is None else f"{told.first.kind} {told.first.told_in}",
        "whose": [f"{owner.id} {decimal_string(micros, word.currency)}" for owner, micros in told.shares],
        "payment": None if told.payment is None else str(told.payment.id),
        "break_id": None if told.found is None else str(told.found.id),
    }


@settlement.command("put-in")
@click.argument("amount")
@click.argument("currency")
@_JSON
@_says_no
def _put_in(amount: str, currency: str, as_json: bool) -> None:
    """Announce money of your own, and print the reference that your transfer must carry."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, currency)
        row = own_money.announce_equity(conn, money, at=at)
        _note_action(conn, "equity_announced", row.id, f"{money} {currency}, {row.reference}", at)
    _say(as_json, reference=row.reference, amount=str(money), currency=currency, iban=current().settings.bank_iban)


@settlement.command("take-out")
@click.argument("kind", type=click.Choice([TransactionKind.INCOME.value, TransactionKind.EQUITY.value]))
@click.argument("amount")
@click.argument("currency")
@click.option("--why", required=True, help="It is kept with the payment.")
@_JSON
@_says_no
def _take_out(kind: str, amount: str, currency: str, why: str, as_json: bool) -> None:
    """Take commission (income), or what you had put in (equity), to your own account, with the next run."""
    at, settings = clock.now(), current().settings
    with current().database.write() as conn:
        money = Money.parse(amount, currency)
        row, detail = own_money.to_own_account(conn, settings, TransactionKind(kind), money, why=why, at=at)
        _note_action(conn, "own_money_taken_out", row.id, detail, at)
    _say(as_json, id=str(row.id), amount=amount, currency=currency, iban=row.creditor_iban)


# --- everything else ---------------------------------------------------------------------------------------


@click.command("audit")
@_JSON
@with_appcontext
@_says_no
def _audit(as_json: bool) -> None:
    """Recompute the books from their rows, and name those that contradict. Status 1 if anything does not add up."""
    checks = audit_books(current().database, at=clock.now())
    if as_json:
        click.echo(json.dumps([_plain(check) for check in checks]))
    else:
        _show_audit(checks)
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)


@click.command("migrate")
@with_appcontext
@_says_no
def _migrate() -> None:
    """Bring the database to this version's schema, and open the books if they never were."""
    database = current().database
    migrate(database)
    with database.write() as conn:
        ledger.open_first_day(conn, clock.today(), opened_at=clock.now())


@click.command("scheduler")
@click.option("--every", default=60, show_default=True, help="Seconds between looks at the bank's inbox.")
@with_appcontext
@_says_no
def _scheduler(every: int) -> None:
    """Run the nightly settlement, collect the bank's answers, and send mail and webhooks, until told to stop.

    Without a bank nothing is settled, and all else goes on.
    """
    obole, settings = current(), current().settings
    bank = scheduler.bank_if_any(settings)
    jobs = scheduler.build(obole.database, bank, settings, obole.keyring, cutoff=settings.cutoff, every_seconds=every)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: jobs.shutdown(wait=False))
    jobs.start()


@operator.command("add")
@click.argument("label")
@_says_no
def _operator_add(label: str) -> None:
    """Make an operator's key and print it: it is shown once."""
    at = clock.now()
    with current().database.write() as conn:
        key_id, token = api_keys.issue(conn, KeyKind.OPERATOR, owner_id=None, label=label, at=at)
        _note_action(conn, "operator_key_made", key_id, label, at)
    click.echo(token)


@operator.command("invite")
@click.argument("email")
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@_says_no
def _operator_invite(email: str, name: str, locale: str) -> None:
    """Let somebody into the console: writes to EMAIL, and prints the link, which works once within two days."""
    at, obole = clock.now(), current()
    with obole.database.write() as conn:
        kind = IdentityKind.OPERATOR
        known, whom = identities.find_by_identifier(conn, kind, email), identities.as_invited(conn, kind, email)
        is_waiting = known is not None and known.activated_at is None and known.ended_at is None
        operator_id = (
            known.id
            if known is not None and is_waiting
            else identities.add(conn, kind, identifier=email, name=name, locale=locale, at=at)
        )
        token = invitations.send(
            conn, operator_id, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=at
        )
        _note_action(conn, "operator_invited", operator_id, whom, at)
    click.echo(f"{obole.settings.origin}/link/{token}")


@operator.command("reset")
@click.argument("email")
@_says_no
def _operator_reset(email: str) -> None:
    """Let an operator who lost passphrase or second factor begin anew: writes to EMAIL, and prints the link."""
    at, obole = clock.now(), current()
    with obole.database.write() as conn:
        known = identities.find_by_identifier(conn, IdentityKind.OPERATOR, email)
        if known is None or known.ended_at is not None:
            raise IdentityNotFound
        identities.start_over(conn, known.id, at=at)
        token = invitations.send(
            conn, known.id, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=at
        )
        _note_action(conn, "operator_reset", known.id, email, at)
    click.echo(f"{obole.settings.origin}/link/{token}")


@operator.command("list")
@_JSON
@_says_no
def _operator_list(as_json: bool) -> None:
    """Operators' keys, never the keys themselves."""
    with current().database.read() as conn:
        for row in api_keys.operators(conn):
            revoked = None if row.revoked_at is None else clock.rfc3339(row.revoked_at)
            _say(as_json, id=str(row.id), label=row.label, revoked_at=revoked)


@operator.command("revoke")
@click.argument("key_id", type=click.UUID)
@_says_no
def _operator_revoke(key_id: UUID) -> None:
    """End an operator's key at once."""
    at = clock.now()
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=key_id, at=at)
        _note_action(conn, "operator_key_revoked", key_id, "", at)


@keys.command("list")
@_JSON
@_says_no
def _keys_list(as_json: bool) -> None:
    """The signing keys, oldest first; the last one signs."""
    for kid, created_at, retired_at in current().keyring.listing():
        retired = None if retired_at is None else clock.rfc3339(retired_at)
        _say(as_json, kid=kid, created_at=clock.rfc3339(created_at), retired_at=retired)


@keys.command("rotate")
@_says_no
def _keys_rotate() -> None:
    """Make a new signing key; vouchers of the old ones stay good for as long as they live."""
    at = clock.now()
    kid = current().keyring.rotate(now=at)
    with current().database.write() as conn:
        _note_action(conn, "key_rotated", kid, "", at)
    click.echo(kid)


@merchant.command("add")
@click.option("--name", "legal_name", required=True)
@click.option("--iban", required=True)
@click.option("--origin", required=True, help="https://… ; the audience of the merchant's vouchers.")
@click.option("--currency", required=True)
@click.option("--email", required=True)
@click.option("--commission-bp", default=0, show_default=True)
@click.option("--minimum-payout", default="0", show_default=True)
@click.option("--maximum-wait-days", default=7, show_default=True)
@click.option("--maximum-fee-share-bp", default=10_000, show_default=True)
@click.option("--bank-fee", type=click.Choice([each.value for each in BankFeeBearer]), default="operator")
@_says_no
def _merchant_add(
    legal_name: str, iban: str, origin: str, currency: str, email: str, minimum_payout: str, **terms: Any
) -> None:
    """Take on a merchant; prints its id and its first key, which is shown once."""
    body = load(
        NewMerchant,
        {
            "legal_name": legal_name,
            "iban": iban,
            "origin": origin,
            "currency": currency,
            "email": email,
            "terms": {"minimum_payout": minimum_payout, **terms},
        },
    )
    at = clock.now()
    with current().database.write() as conn:
        merchant_id = merchants.register(conn, **body, at=at)
        _, token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="first", at=at)
        _note_action(conn, "merchant_registered", merchant_id, legal_name, at)
    _say(False, id=str(merchant_id), key=token)


@merchant.command("invite")
@click.argument("merchant_id", type=click.UUID)
@click.argument("email")
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@_says_no
def _merchant_invite(merchant_id: UUID, email: str, name: str, locale: str) -> None:
    """Let somebody into a merchant's pages: writes to EMAIL with a link, which works once within two days."""
    obole = current()
    invitation = team.Invitation(
        email=email, name=name, locale=locale, origin=obole.settings.origin, wallet_name=obole.settings.operator_name
    )
    with obole.database.write() as conn:
        merchants.find(conn, merchant_id)
        whom = identities.as_invited(conn, IdentityKind.MERCHANT, email)
        team.invite(conn, merchant_id, invitation, at=clock.now())
        _note_action(conn, "merchant_person_invited", merchant_id, whom, clock.now())


@merchant.command("list")
@_JSON
@_says_no
def _merchant_list(as_json: bool) -> None:
    """Every merchant, in the order they came."""
    with current().database.read() as conn:
        for row in merchants.listing(conn):
            _say(as_json, id=str(row.id), name=row.legal_name, currency=row.currency, state=row.state, iban=row.iban)


@merchant.command("suspend")
@click.argument("merchant_id", type=click.UUID)
@_says_no
def _merchant_suspend(merchant_id: UUID) -> None:
    """Let nobody buy from a merchant; what it was promised it may still redeem, and is paid."""
    with current().database.write() as conn:
        merchants.set_state(conn, merchant_id, MerchantState.SUSPENDED)
        _note_action(conn, "merchant_suspended", merchant_id, "", clock.now())


@merchant.command("resume")
@click.argument("merchant_id", type=click.UUID)
@_says_no
def _merchant_resume(merchant_id: UUID) -> None:
    """Let shoppers buy from a suspended merchant again."""
    with current().database.write() as conn:
        merchants.set_state(conn, merchant_id, MerchantState.ACTIVE)
        _note_action(conn, "merchant_resumed", merchant_id, "", clock.now())


@merchant.command("refund-limit")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@_says_no
def _merchant_refund_limit(merchant_id: UUID, amount: str) -> None:
    """Change how far below zero refunds may take a merchant: an AMOUNT, or "default" for what the settings say."""
    with current().database.write() as conn:
        currency = merchants.find(conn, merchant_id).currency
        limit = None if amount == "default" else Money.parse(amount, currency).micros
        merchants.set_refund_limit(conn, merchant_id, limit)
        _note_action(conn, "refund_limit_changed", merchant_id, f"to {amount}", clock.now())


@merchant.command("repays")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@_JSON
@_says_no
def _merchant_repays(merchant_id: UUID, amount: str, as_json: bool) -> None:
    """Announce money of a merchant that is below zero, and print the reference that its transfer must carry."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, merchants.find(conn, merchant_id).currency)
        row = own_money.announce_repayment(conn, merchant_id, money, at=at)
        detail = f"{money} {money.currency}, {row.reference}"
        _note_action(conn, "repayment_announced", merchant_id, detail, at)
    said = {"amount": str(money), "currency": money.currency}
    _say(as_json, reference=row.reference, **said, iban=current().settings.bank_iban)


@merchant.command("write-off")
@click.argument("merchant_id", type=click.UUID)
@click.argument("amount")
@click.option("--why", required=True, help="It is kept.")
@_says_no
def _merchant_write_off(merchant_id: UUID, amount: str, why: str) -> None:
    """Give up what a merchant below zero owes, or part of it: your loss."""
    at = clock.now()
    with current().database.write() as conn:
        money = Money.parse(amount, merchants.find(conn, merchant_id).currency)
        own_money.write_off(conn, merchant_id, money, at=at)
        _note_action(conn, "debt_written_off", merchant_id, f"{money} {money.currency}: {why}", at)


@merchant.command("iban")
@click.argument("merchant_id", type=click.UUID)
@click.argument("iban")
@_says_no
def _merchant_iban(merchant_id: UUID, iban: str) -> None:
    """Change where a merchant is paid. Payouts that its old account refused go out with the next run."""
    with current().database.write() as conn:
        merchants.change_iban(conn, merchant_id, iban)
        _note_action(conn, "merchant_iban_changed", merchant_id, f"to {iban}", clock.now())


@merchant.command("name")
@click.argument("merchant_id", type=click.UUID)
@click.argument("legal_name")
@_says_no
def _merchant_name(merchant_id: UUID, legal_name: str) -> None:
    """Change the name under which a merchant sells and is paid: the one that its bank has for its account."""
    body = load(NewMerchantName, {"legal_name": legal_name})
    with current().database.write() as conn:
        merchants.rename(conn, merchant_id, body["legal_name"])
        _note_action(conn, "merchant_renamed", merchant_id, f"to {body['legal_name']}", clock.now())


@merchant.command("retry")
@click.argument("merchant_ids", type=click.UUID, nargs=-1, required=True)
@click.option("--why", required=True, help="What you found out; kept in the log of actions.")
@_says_no
def _merchant_retry(merchant_ids: tuple[UUID, ...], why: str) -> None:
    """Send what the bank refused or gave back again with the next run, to the account that the merchant has."""
    with current().database.settle() as conn:
        for merchant_id in merchant_ids:
            try_again(conn, merchant_id)
            _note_action(conn, "merchant_retried", merchant_id, why, clock.now())


@purse.command("open")
@click.option("--currency", required=True)
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@_says_no
def _purse_open(currency: str, email: str, name: str, locale: str) -> None:
    """Open a purse; prints its id and its key, which is shown once."""
    body = load(NewPurse, {"currency": currency, "shopper": {"email": email, "name": name, "locale": locale}})
    at = clock.now()
    with current().database.write() as conn:
        purse_id = purses.open_purse(conn, currency=body["currency"], **body["shopper"], limits=purses.Limits(), at=at)
        _, token = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="first", at=at)
    _say(False, id=str(purse_id), key=token)


@purse.command("show")
@click.argument("purse_id", type=click.UUID)
@_JSON
@_says_no
def _purse_show(purse_id: UUID, as_json: bool) -> None:
    """A purse's balance, what is held, and what can be spent."""
    with current().database.read() as conn:
        seen = purses.view(conn, purse_id)
    _say(
        as_json,
        id=str(seen.id),
        currency=seen.currency,
        balance=str(seen.balance),
        held=str(seen.held),
        available=str(seen.available),
        frozen=seen.frozen,
    )


@purse.command("freeze")
@click.argument("purse_id", type=click.UUID)
@_says_no
def _purse_freeze(purse_id: UUID) -> None:
    """Stop paying from a purse, at once."""
    with current().database.write() as conn:
        purses.freeze(conn, purse_id, by_operator=True)
        _note_action(conn, "purse_frozen", purse_id, "", clock.now())


@purse.command("unfreeze")
@click.argument("purse_id", type=click.UUID)
@_says_no
def _purse_unfreeze(purse_id: UUID) -> None:
    """Let a purse pay again."""
    with current().database.write() as conn:
        purses.unfreeze(conn, purse_id, by_operator=True)
        _note_action(conn, "purse_unfrozen", purse_id, "", clock.now())


# --- saying it, here and in the log -------------------------------------------------------------------------


def _note_action(conn: Connection, action: str, subject: object, detail: str, at: dt.datetime) -> None:
    actions.record(conn, who=_who(), identity_id=None, action=action, subject=str(subject), detail=detail, at=at)


def _who() -> str:
    """Who is at the terminal, as far as the machine knows. Of an operator who is named there, nobody has a proof."""
    account, by = os.getuid(), os.environ.get("SUDO_USER", "")
    try:
        name = pwd.getpwuid(account).pw_name
    except KeyError:
        name = str(account)
    said = f"{name} by sudo of {by}" if by else name
    return f"command line ({said[:_LONGEST_ACCOUNT]})"


def _note_imported(conn: Connection, imported: Sequence[Imported], *, message_id: UUID, at: dt.datetime) -> None:
    _note_action(conn, "message_imported", message_id, receiving.summary(imported), at)


def _say_received(name: str, received: Sequence[Received], as_json: bool) -> bool:
    """What became of a file, in a line for each document in it; answers whether all of it was imported."""
    refused = [(document.name, document.refusal) for document in received if document.refusal is not None]
    if as_json:
        imported = [document.imported for document in received if document.imported is not None]
        whole = receiving.together(imported) if imported else None
        facts = {
            "file": quarantine.readable(name),
            "kind": whole.kind.value if whole else None,
            "seen_before": whole.seen_before if whole else False,
            "matched": whole.matched if whole else 0,
            "statuses": whole.statuses if whole else 0,
            "breaks": [kind.value for kind in whole.breaks] if whole else [],
            "refused": [
                {"document": quarantine.readable(document), "code": refusal.code, "reason": refusal.detail}
                for document, refusal in refused
            ],
        }
        click.echo(json.dumps(facts))
        return not refused
    for document in received:
        if document.imported is not None:
            click.echo(f"{document.name}: {_did(document.imported)}")
        elif document.refusal is not None:
            click.echo(
                f"{quarantine.readable(document.name)}: {document.refusal.detail} [{document.refusal.code}]", err=True
            )
    return not refused


def _did(imported: Imported) -> str:
    said = [imported.kind.value, *(["seen before"] if imported.seen_before else [])]
    said += [f"{imported.matched} matched"] if imported.matched else []
    said += [f"{imported.statuses} status{'es' if imported.statuses > 1 else ''}"] if imported.statuses else []
    said += [f"breaks: {', '.join(kind.value for kind in imported.breaks)}"] if imported.breaks else []
    return ", ".join(said)


def _say(as_json: bool, **facts: Any) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):>22}  {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_words(each) for each in value) or "none"
    return "-" if value is None else str(value)


def _show_run(run: Row[tuple[object, ...]], failed: Sequence[Check], as_json: bool, **more: Any) -> None:
    """What a run did, and how the audit at its end came out. Status 1 if it failed."""
    said = "sound" if not failed else f"{len(failed)} checks failed"
    with current().database.read() as conn:
        counted, files = nightly.outcome(conn, run.id), nightly.files(conn, run.id)
        lacking = approvals.missing(conn, run.id, current().settings.approvals)
        digest = approvals.files_sha256(conn, run.id)
    _say(
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
        audit={"ok": not failed, "failed": [_plain(check) for check in failed]} if as_json else said,
        **more,
    )
    if failed:
        _show_findings(failed, on_error=True)
        raise click.exceptions.Exit(1)


def _show_audit(checks: list[Check]) -> None:
    table = Table("", "check", "figures", show_lines=False, box=None)
    for check in checks:
        figures = ", ".join(f"{name} {value}" for name, value in check.figures.items())
        table.add_row("ok" if check.ok else "WRONG", check.name, f"{figures} {check.currency or ''}".strip())
    Console(soft_wrap=True).print(table)
    _show_findings(checks)


def _show_findings(checks: Sequence[Check], *, on_error: bool = False) -> None:
    for check in checks:
        if not check.ok:
            click.echo(f"WRONG  {check.name}", err=on_error)
        for finding in check.findings:
            click.echo(f"       {finding.subject}: {finding.detail}", err=on_error)


def _plain(check: Check) -> dict[str, Any]:
    rows = [{"subject": finding.subject, "detail": finding.detail} for finding in check.findings]
    return {
        "name": check.name,
        "ok": check.ok,
        "currency": check.currency,
        "figures": check.figures,
        "findings": rows,
    }


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet:
        yield lambda _step: None
        return
    with Console(stderr=True).status("settling") as status:
        yield status.update


def _found(run_id: UUID) -> Row[tuple[object, ...]]:
    with current().database.read() as conn:
        return nightly.find(conn, run_id)


def _date(moment: dt.datetime | None) -> dt.date | None:
    return None if moment is None else moment.date()

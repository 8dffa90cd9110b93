"""``python -m sandbox_bank``: the operator's hand on the sandbox bank.

Invariant: a command that printed success was durable before it printed.
"""

import json
import signal
import sqlite3
import sys
import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from sandbox_bank import amounts
from sandbox_bank.bank import KNOWN_FEES, Bank, WorkReport
from sandbox_bank.camt import Detail
from sandbox_bank.dialects import DIALECTS
from sandbox_bank.errors import BankError
from sandbox_bank.instructions import Act

_folder = click.option(
    "--folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="The bank's folder."
)
_today = click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    callback=lambda _c, _p, at: _day(at),
    help="Pretend it is this day.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _day(at: datetime | None) -> date | None:
    return at.date() if at is not None else None


def _pairs(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Read ``EUR=1000.00`` options."""
    for pair in given:
        if "=" not in pair:
            raise click.BadParameter(f"expected CURRENCY=AMOUNT, got {pair!r}")
    return {pair.split("=", 1)[0]: pair.split("=", 1)[1] for pair in given}


class _Commands(click.Group):
    """A refusal of the bank is a sentence and exit status 1, not a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BankError as refusal:
            raise click.ClickException(str(refusal)) from refusal


@click.group(cls=_Commands)
def main() -> None:
    """A small, strict bank in a folder, to try settlement against; it can be told to misbehave."""


@main.command()
@_folder
@click.option("--iban", required=True, help="The account it keeps.")
@click.option("--name", required=True, help="Whose account it is.")
@click.option("--bic", help="The bank's own BIC.")
@click.option("--opening", multiple=True, callback=_pairs, metavar="CUR=AMOUNT", help="Open an account; repeatable.")
@click.option(
    "--fee",
    "fees",
    multiple=True,
    callback=_pairs,
    metavar="CUR=AMOUNT",
    help=f"Fixed fee per payment; repeatable. Known: {', '.join(f'{c}={a}' for c, a in KNOWN_FEES.items())}.",
)
@click.option(
    "--batch-booking/--no-batch-booking",
    default=None,
    help="One entry per PmtInf that asks for it (default).",
)
@click.option("--batch-details/--no-batch-details", default=None, help="List a batch's payments (default).")
@click.option("--notify/--no-notify", default=None, help="Also write camt.054 (default: no).")
@click.option("--slow-upload/--no-slow-upload", default=None, help="Leave each answer half written for a pass.")
@click.option(
    "--overdraft",
    multiple=True,
    callback=_pairs,
    metavar="CUR=AMOUNT",
    help="How far below zero payments may take the account; repeatable (default: not at all).",
)
@click.option("--dialect", multiple=True, help=f"How it tells; repeatable. {', '.join(DIALECTS)}.")
@_today
def init(folder: Path, **options: Any) -> None:
    """Open the bank; again: add currencies, change what is given."""
    bank = Bank.init(folder, **options)
    for currency in bank.currencies():
        click.echo(f"{bank.settings().iban} {_shown(bank, currency)}")


@main.command()
@_folder
@_json
@_today
def work(folder: Path, as_json: bool, today: date | None) -> None:
    """Make one pass: take files and orders, execute, answer."""
    _print(Bank(folder).work(today), as_json)


@main.command()
@_folder
@click.option("--every", required=True, type=click.IntRange(min=1), metavar="SECONDS", help="Between two passes.")
@_json
@_today
def run(folder: Path, every: int, as_json: bool, today: date | None) -> None:
    """Work until SIGTERM or SIGINT; the pass under way is finished first."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    bank = Bank(folder)
    while not stop.is_set():
        try:
            _print(bank.work(today), as_json)
        except (OSError, sqlite3.Error) as trouble:
            # A full disk or a locked book may pass; nothing is lost, the next pass takes up what is owed.
            click.echo(f"error: {trouble}", err=True)
        stop.wait(every)
    bank.close()


@main.command("pay-in")
@_folder
@click.option("--amount", required=True)
@click.option("--currency", required=True)
@click.option("--name", required=True, help="Who pays.")
@click.option("--reference", help="RF reference, or free text.")
@click.option("--iban", help="The payer's account.")
@click.option("--id", "order_id", help="Execute this id at most once.")
@_today
def pay_in(folder: Path, **options: Any) -> None:
    """Pay money into the account; the next pass's statement tells of it."""
    click.echo(Bank(folder).pay_in(**options))


@main.group(invoke_without_command=True)
@_folder
@click.option("--end-to-end-id")
@click.option("--iban", help="The creditor's account.")
@click.option("--next", "next_count", type=int, metavar="N", help="The next N payments.")
@click.option("--all", "every", is_flag=True, help="Every payment.")
@click.option("--list", "list_", is_flag=True, help="Print the instructions in force.")
@click.option("--clear", is_flag=True, help="Forget all instructions.")
@click.pass_context
def misbehave(context: click.Context, /, folder: Path, list_: bool, clear: bool, **selector: Any) -> None:
    """Tell the bank to err about some payments."""
    bank = Bank(folder)
    context.obj = (bank, selector)
    if clear:
        bank.behave()
    if list_:
        for told in bank.instructions():
            left = f" ({told.remaining} left)" if told.remaining is not None else ""
            reason = f" {told.reason}" if told.reason else ""
            reason += f" {told.name!r}" if told.name else ""
            click.echo(f"{told.id} {told.act}{reason} for {told.selector} {told.value}{left}, runs {told.runs}")
    if context.invoked_subcommand is None and not (list_ or clear):
        raise click.UsageError(f"say how: {', '.join(Act)}, --list or --clear")


def _instruct(context: click.Context, act: Act, **how: Any) -> None:
    bank, selector = context.obj
    click.echo(f"instruction {bank.misbehave(act, **selector, **how)}")


@misbehave.command()
@click.option("--reason", required=True, help="ISO status reason code, e.g. AC04.")
@click.pass_context
def reject(context: click.Context, reason: str) -> None:
    """Refuse them in pain.002."""
    _instruct(context, Act.REJECT, reason=reason)


@misbehave.command("return")
@click.option("--reason", required=True, help="ISO return reason code, e.g. AC04.")
@click.option("--after", "runs", type=int, default=1, show_default=True, metavar="RUNS")
@click.pass_context
def return_(context: click.Context, reason: str, runs: int) -> None:
    """Execute them, and credit them back some runs later."""
    _instruct(context, Act.RETURN, reason=reason, runs=runs)


@misbehave.command()
@click.option("--runs", type=int, required=True)
@click.pass_context
def delay(context: click.Context, runs: int) -> None:
    """Neither execute nor answer them for some runs."""
    _instruct(context, Act.DELAY, runs=runs)


@misbehave.command()
@click.option("--book-twice", is_flag=True, help="Also debit each payment a second time, by mistake.")
@click.pass_context
def repeat(context: click.Context, book_twice: bool) -> None:
    """Write the answers twice, under two names."""
    _instruct(context, Act.REPEAT, book_twice=book_twice)


@misbehave.command("lose-answer")
@click.pass_context
def lose_answer(context: click.Context) -> None:
    """Execute them, never write the pain.002, keep the statement back."""
    _instruct(context, Act.LOSE_ANSWER)


@misbehave.command("check-payee")
@click.option("--answer", "reason", required=True, help="RVMC (nearly the name), RVNM (not the name) or RVNA.")
@click.option("--name", help="Whose account it is.")
@click.pass_context
def check_payee(context: click.Context, reason: str, name: str | None) -> None:
    """Doubt the payee's name, and let the whole file wait for `release`."""
    _instruct(context, Act.CHECK_PAYEE, reason=reason, name=name)


@main.command()
@_folder
@click.option("--msg-id", help="One file's payments; without it, all that wait.")
@click.option("--refuse", is_flag=True, help="Pay only those whose name matched.")
def release(folder: Path, msg_id: str | None, refuse: bool) -> None:
    """Say that payments whose payee's name was doubted shall be paid with the next pass."""
    click.echo(f"released {Bank(folder).release(msg_id, refuse=refuse)}")


@main.command("release-answers")
@_folder
@_today
def release_answers(folder: Path, today: date | None) -> None:
    """Write the statements that were kept back."""
    for name in Bank(folder).release_answers(today):
        click.echo(f"wrote {name}")


@main.command()
@_folder
@_json
def balance(folder: Path, as_json: bool) -> None:
    """Print what is on the account, per currency."""
    bank = Bank(folder)
    if as_json:
        shown = {currency: amounts.show(bank.balance(currency), currency) for currency in bank.currencies()}
        click.echo(json.dumps(shown))
        return
    for currency in bank.currencies():
        click.echo(_shown(bank, currency))


@main.command()
@_folder
@click.option("--currency", help="One currency only.")
def statement(folder: Path, currency: str | None) -> None:
    """Print every entry since the account was opened."""
    bank = Bank(folder)
    for each in [currency] if currency else bank.currencies():
        for entry in bank.entries(each):
            amount = f"{amounts.show(entry.signed_micros, each):>15} {each}"
            click.echo(f"{entry.booking_date} {entry.ref} {amount} {entry.text}")
            for detail in entry.details:
                amount = f"{amounts.show(detail.amount_micros, each):>15} {each}"
                click.echo(f"    {amount} {_about(detail)} {detail.party_name}")
        click.echo(f"balance {_shown(bank, each)}")


def _about(detail: Detail) -> str:
    """What a payment says of itself: its id and its reference, if it has them, and why it came back."""
    named = [detail.end_to_end_id, detail.rf or detail.text]
    returned = f"returned {detail.return_reason}" if detail.return_reason else None
    return " ".join(part for part in (*named, returned) if part)


def _shown(bank: Bank, currency: str) -> str:
    return f"{amounts.show(bank.balance(currency), currency)} {currency}"


def _print(report: WorkReport, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    for line in [] if as_json else report.lines():
        click.echo(line)
    sys.stdout.flush()

"""What does not match, and what is said about it."""

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import click

from cli.settlement import settlement
from cli.words import JSON, note_action, say, says_no
from settlement.answers import breaks, owners, reconciliation, resolutions
from settlement.answers.breaks import Way
from settlement.answers.resolutions import TOGETHER, Resolution
from settlement.tables import TransactionState
from wallet.ground import clock
from wallet.ground.errors import AmountInvalid
from wallet.ground.money import Money, decimal_string
from web.http.context import current


@settlement.command("breaks")
@JSON
@says_no
def _breaks(as_json: bool) -> None:
    """What the bank says and the books do not, and what the bank has not answered. Status 1 if there is any."""
    settings = current().settings
    late = clock.now() - dt.timedelta(days=settings.bank_answer_days)
    with current().database.read() as conn:
        found = reconciliation.open_breaks(conn, before=None, limit=1_000)
        awaited = reconciliation.awaited(conn, submitted_before=late)
    for row in found:
        difference = decimal_string(row.difference_micros, row.currency) if row.difference_micros else "0"
        say(
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
        say(
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
@says_no
def _decide(payout_id: UUID, outcome: str, why: str) -> None:
    """Say what became of a payout or withdrawal whose outcome is unknown, or that waited for a word on the name."""
    at = clock.now()
    with current().database.settle() as conn:
        reconciliation.conclude(conn, payout_id, executed=outcome == "executed", why=why, at=at)
        note_action(conn, "payout_decided", payout_id, f"{outcome}: {why}", at)


@settlement.command("suggest")
@click.argument("break_id", type=click.UUID)
@JSON
@says_no
def _suggest(break_id: UUID, as_json: bool) -> None:
    """How a break can be closed, and the purses and merchants that it may be for, with what speaks for each."""
    with current().database.read() as conn:
        row = breaks.find(conn, break_id)
        found = [*owners.suggestions(conn, row), *owners.suggested_merchants(conn, row)]
    if not as_json:
        say(False, ways=[way.value for way in breaks.ways(row)])
    for each in found:
        whose = "purse" if each.owner.is_purse else "merchant"
        facts = {whose: str(each.owner.id), "name": each.owner.name, "email": each.owner.email}
        say(as_json, **facts, because=each.because.value, reference=each.reference)


@settlement.command("assign")
@click.argument("break_id", type=click.UUID)
@click.argument("who")
@click.option("--why", default="", help="What you found out; kept with the break.")
@JSON
@says_no
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
@JSON
@says_no
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
            note_action(conn, done.action, each, done.detail, at)
    amounts = {"amount": done.amount_micros, "loss": done.loss_micros}
    say(
        as_json,
        way=done.way.value,
        closed=done.closed,
        breaks=[str(each) for each in done.break_ids],
        currency=done.currency,
        **{name: decimal_string(micros, done.currency) if micros else "0" for name, micros in amounts.items()},
        payment=None if done.payment_id is None else str(done.payment_id),
    )

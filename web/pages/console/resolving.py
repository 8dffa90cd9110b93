"""Resolving: one break, every word of the bank about it, and a form for each way to close it."""

from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row

from settlement.answers import breaks, owners, resolutions, tellings
from settlement.answers.breaks import Way
from settlement.answers.resolutions import TOGETHER, Done, Resolution
from wallet.books import safeguarding
from wallet.ground import clock
from wallet.ground.errors import NameAmbiguous, NotFound, OboleError, ValidationFailed
from web.http import bodies
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.http.operations import load
from web.pages import forms
from web.pages.console.desk import Why, blueprint, cash, decided, note, seen, show
from web.pages.page import go, language, tell

_MANY = 200
_MOST_PARTS, _EMPTY_PARTS = 50, 5
# A form's own, or given more than once.
_READ_APART = forms.NOT_TYPED | {"with", "part_who", "part_amount", "other"}


class SplitPart(Strict):
    """Whose a part of an entry is, by whatever they are called, and how much of it."""

    who = Text(254, required=True)
    amount = Amount(required=True)


class Said(Why):
    """How a break is closed; which other fields are needed depends on the way."""

    way = fields.Enum(Way, by_value=True, required=True)
    who = Text(254, load_default="")
    parts = fields.List(fields.Nested(SplitPart), load_default=[], validate=validate.Length(max=_MOST_PARTS))
    own = Amount(load_default=None)
    name = Text(140, load_default=None)
    iban = Text(42, load_default=None)
    payment_id = fields.UUID(load_default=None)
    message_id = Text(35, load_default=None)


@blueprint.get("/breaks/<uuid:break_id>")
@seen
def one_break(break_id: UUID) -> ResponseReturnValue:
    """One break, what the bank said about it, and a form for each way in which it can be closed."""
    return _break(break_id)


@blueprint.post("/breaks/<uuid:break_id>")
@bodies.up_to(bodies.SMALL)
@decided
def resolve(break_id: UUID) -> ResponseReturnValue:
    """Close a break by what explains it, or note what is known about it."""
    at = clock.now()
    try:
        said = _said()
        with current().database.settle() as conn:
            done = resolutions.resolve(conn, break_id, said, at=at)
            for each in done.break_ids:
                note(conn, done.action, each, done.detail, at=at)
    except OboleError as refusal:
        return _break(break_id, refusal=refusal)
    _tell(done)
    return go("/console/breaks")


# --- reading the form ----------------------------------------------------------------------------------------


def _said() -> Resolution:
    typed: dict[str, object] = {
        name: value.strip() for name, value in request.form.items() if name not in _READ_APART and value.strip()
    }
    if other := request.form.get("other", "").strip():
        typed["who"] = other
    if rows := parts():
        typed["parts"] = [
            {name: value for name, value in (("who", who), ("amount", _plain(amount))) if value} for who, amount in rows
        ]
    if isinstance(own := typed.get("own"), str):
        typed["own"] = _plain(own)
    said = load(Said, typed)
    if said["way"] in (Way.ASSIGN, Way.REPAYMENT) and not said["who"]:
        raise ValidationFailed(errors={"who": ["Say whose it is."]})
    own_part = [("", said["own"])] if said["own"] else []
    return Resolution(
        way=said["way"],
        why=said["why"],
        who=said["who"],
        parts=[*((part["who"], part["amount"]) for part in said["parts"]), *own_part],
        name=said["name"],
        iban=said["iban"],
        # Whatever else is ticked has nothing to do with a way that closes one break.
        others=_ticked() if said["way"] in TOGETHER else (),
        payment_ids=[said["payment_id"]] if said["payment_id"] else [],
        message_id=said["message_id"],
    )


def parts() -> list[tuple[str, str]]:
    """The rows of a split as they were typed, without empty ones."""
    rows = zip(request.form.getlist("part_who"), request.form.getlist("part_amount"), strict=False)
    return [(who.strip(), amount.strip()) for who, amount in rows if who.strip() or amount.strip()]


def _plain(amount: str) -> str:
    return forms.plain_amount(amount, language())


def _ticked() -> list[UUID]:
    """The other breaks that were ticked: ``with``, as often as there are."""
    try:
        return [UUID(each) for each in request.form.getlist("with")[:_MANY]]
    except ValueError:
        raise NotFound("No open break has this id.") from None


# --- showing it ----------------------------------------------------------------------------------------------


def _break(break_id: UUID, *, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        row = breaks.find(conn, break_id)
        ways = breaks.ways(row)
        others = [
            each
            for each in breaks.listing(conn, closed=False, before=None, limit=_MANY)
            if each.id != break_id and each.currency == row.currency and each.difference_micros != 0
        ]
        in_debt = safeguarding.merchants_below_zero(conn, row.currency, limit=20) if Way.REPAYMENT in ways else []
        rows = parts()
        return show(
            "break.html",
            refusal=refusal,
            row=row,
            ways=ways,
            others=others,
            payment=breaks.payment_of(conn, row),
            fitting=breaks.fitting(conn, row),
            suggestions=owners.suggestions(conn, row),
            payers=owners.suggested_merchants(conn, row),
            in_debt=in_debt,
            payer=breaks.payer(row),
            purse=breaks.taken_from(conn, row),
            undone=breaks.undone_payments(conn, row),
            told=tellings.of_the_same(conn, row.entry_id) if row.entry_id else [],
            parts=rows + [("", "")] * max(1, _EMPTY_PARTS - len(rows)),
            several=_several(conn, row) if isinstance(refusal, NameAmbiguous) else [],
        )


def _several(conn: Connection, row: Row[tuple[object, ...]]) -> list[owners.Owner]:
    """Those among whom a name that was typed does not decide."""
    typed = [request.form.get("other", ""), request.form.get("who", ""), *(who for who, _ in parts())]
    named = (owners.named(conn, text, row.currency) for text in dict.fromkeys(typed) if text)
    return [owner for found in named if len(found) > 1 for owner in found]


def _tell(done: Done) -> None:
    """What was done, in amounts."""
    amount, lost = cash(done.amount_micros, done.currency), cash(done.loss_micros, done.currency)
    whose = ", ".join(owner.name for owner, _ in done.shares if owner)
    taken = cash(done.amount_micros - done.loss_micros, done.currency)
    match done.way:
        case Way.ASSIGN:
            tell("%(amount)s are in the purse of %(name)s now.", amount=amount, name=whose)
        case Way.SPLIT:
            tell("%(amount)s are booked in %(number)s parts.", amount=amount, number=len(done.shares))
        case Way.REPAYMENT:
            tell("%(amount)s are booked as paid back by %(name)s.", amount=amount, name=whose)
        case Way.EQUITY:
            tell("%(amount)s are booked as your own money.", amount=amount)
        case Way.SEND_BACK if done.payee is not None:
            to = {"name": done.payee.name, "iban": done.payee.iban}
            tell("%(amount)s leave with the next run’s file, to %(name)s, %(iban)s.", amount=amount, **to)
        case Way.TAKE_BACK if not done.loss_micros:
            tell("%(amount)s were taken from the purse.", amount=amount)
        case Way.TAKE_BACK:
            tell("%(taken)s were taken from the purse, %(lost)s are a loss.", taken=taken, lost=lost)
        case Way.UNDO if not done.loss_micros:
            tell("%(amount)s are undone, as if nothing had been said.", amount=amount)
        case Way.UNDO:
            tell("%(amount)s are undone; %(lost)s of it are a loss.", amount=amount, lost=lost)
        case Way.EXPENSE:
            tell("%(amount)s are booked as a bank fee.", amount=amount)
        case Way.LOSS:
            tell("%(amount)s are booked as a loss.", amount=amount)
        case Way.BOOK:
            tell("%(amount)s are booked as paid. The breaks are closed.", amount=amount)
        case Way.RETURN:
            tell("%(amount)s are back with their merchant, in their purse, or yours.", amount=amount)
        case _:
            _tell_without_amount(done)


def _tell_without_amount(done: Done) -> None:
    match done.way, done.closed:
        case Way.OFFSET, _:
            tell("The breaks make each other up, and are closed.")
        case Way.TRY_AGAIN, True:
            tell("It is booked now.")
        case Way.TRY_AGAIN, False:
            tell("It no longer fails, but nothing explains it yet.")
        case _, True:
            tell("The break is closed.")
        case _:
            tell("Your note is kept; the break stays open until something explains it.")

"""The operator's own money: what is owed to others against what there is, money put in and taken out."""

from typing import Any

from flask import Response
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate
from sqlalchemy.engine import Connection

from settlement.payouts import own_money
from settlement.tables import TransactionKind
from wallet.books import safeguarding
from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.ground.money import Money
from web.http.context import current
from web.http.fields import OfMoney
from web.pages import forms
from web.pages.console.desk import Why, blueprint, decided, note, seen, show
from web.pages.page import go, tell

_RECENT = 10
_TAKEN_OUT = (TransactionKind.INCOME, TransactionKind.EQUITY)


class PutIn(OfMoney):
    """How much the operator is going to put in."""


class TakeOut(OfMoney, Why):
    """How much is to go to the operator's own account, of what it earned or of what it put in."""

    kind = fields.String(required=True, validate=validate.OneOf([kind.value for kind in _TAKEN_OUT]))


@blueprint.get("/money")
@seen
def own_money_now() -> ResponseReturnValue:
    """What is owed to others, what is the operator's, and what came and went of it."""
    return _shown()


@blueprint.post("/money/put-in")
@decided
def put_in() -> ResponseReturnValue:
    """Announce money of the operator's; its reference is shown."""
    at = clock.now()

    def announce(conn: Connection) -> str:
        row = own_money.announce_equity(conn, amount, at=at)
        note(conn, "equity_announced", row.id, f"{amount} {amount.currency}, {row.reference}", at=at)
        return str(row.reference)

    try:
        amount: Money = forms.read(PutIn)["money"]
        reference = forms.do_once(announce)
    except OboleError as refusal:
        return _shown(refusal=refusal)
    tell(
        "Transfer it with the reference %(reference)s: it is yours once the bank has booked it.",
        reference=reference,
    )
    return go("/console/money")


@blueprint.post("/money/take-out")
@decided
def take_out() -> ResponseReturnValue:
    """Take commission, or what was put in, to the operator's own account."""
    settings, at = current().settings, clock.now()

    def take(conn: Connection) -> str:
        row, detail = own_money.to_own_account(conn, settings, kind, said["money"], why=said["why"], at=at)
        note(conn, "own_money_taken_out", row.id, detail, at=at)
        return str(row.id)

    try:
        said = forms.read(TakeOut)
        kind = TransactionKind(said["kind"])
        forms.do_once(take)
    except OboleError as refusal:
        return _shown(refusal=refusal)
    tell("It leaves with the next run.")
    return go("/console/money")


def _shown(*, refusal: OboleError | None = None) -> Response:
    settings = current().settings
    with current().database.read() as conn:
        positions = list(safeguarding.positions(conn))
        if all(each.currency != settings.currency for each in positions):
            positions.append(safeguarding.position(conn, settings.currency))
        return show(
            "money.html",
            refusal=refusal,
            positions=positions,
            most={each.currency: _most(conn, each.currency) for each in positions},
            announced=own_money.announced(conn, limit=_RECENT),
            payments=own_money.listing(conn, before=None, limit=_RECENT),
            own=own_money.account_of(settings),
            bank_iban=settings.bank_iban,
            bank_name=settings.operator_name,
        )


def _most(conn: Connection, currency: str) -> dict[str, Any]:
    fees = current().settings.bank_fees
    return {kind.value: own_money.takeable_micros(conn, kind, currency, fees) for kind in _TAKEN_OUT}

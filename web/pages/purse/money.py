"""Money into a purse and out of it: top-ups, by hand and automatic, the alert of a low balance, withdrawing, closing.

Invariant: a form that moves money does it once, however often it is sent; what takes money out of the wallet asks
first who is there.
"""

from typing import Any
from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import fields
from sqlalchemy.engine import Connection

from wallet.funding import automatic, closing, methods, top_ups, withdrawals
from wallet.ground import clock
from wallet.ground.errors import OboleError, ValidationFailed
from wallet.ground.money import Money
from wallet.people import identities
from wallet.purses import alerts
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.pages import forms
from web.pages.page import blueprint as page_blueprint
from web.pages.page import go, signed_in, tell, who
from web.pages.purse.frame import SHOPPER, mine, show

blueprint = page_blueprint("purse_money", __name__)

_LONGEST_NAME = 70


class TopUp(Strict):
    """How much, and how."""

    amount = Amount(required=True)
    method = fields.String(required=True)


class Alert(Strict):
    """Below what to write."""

    below = Amount(required=True)


class Automatic(Strict):
    """Below what to top up by how much, and at most how much in a month."""

    below = Amount(required=True)
    amount = Amount(required=True)
    per_month = Amount(required=True)
    method = fields.String(required=True)


class Withdrawal(Strict):
    """How much, and where to."""

    amount = Amount(required=True)
    iban = Text(50, required=True)
    name = Text(_LONGEST_NAME, required=True)


class Closing(Strict):
    """Where everything goes."""

    iban = Text(50, required=True)
    name = Text(_LONGEST_NAME, required=True)
    sure = fields.Boolean(load_default=False)


# --- in ----------------------------------------------------------------------------------------------------


@blueprint.route("/purse/<uuid:purse_id>/top-up", methods=["GET", "POST"])
@signed_in(SHOPPER)
def top_up(purse_id: UUID) -> ResponseReturnValue:
    """Announce money; the next page says how to send it, or waits for it."""
    refusal = None
    if request.method == "POST":
        try:
            typed = forms.read(TopUp)
            top_up_id = UUID(forms.do_once(lambda conn: _announce(conn, purse_id, typed)))
            top_ups.fetch_soon(current().database, current().settings, purse_id, top_up_id)
            return go(f"/purse/{purse_id}/top-ups/{top_up_id}")
        except OboleError as error:
            refusal = error
    with current().database.read() as conn:
        return show(
            "purse/top_up.html",
            mine(conn, purse_id),
            refusal=refusal,
            methods=methods.available(current().settings),
            typed=request.form,
            tab="top-up",
        )


@blueprint.get("/purse/<uuid:purse_id>/top-ups/<uuid:top_up_id>")
@signed_in(SHOPPER)
def announced(purse_id: UUID, top_up_id: UUID) -> ResponseReturnValue:
    """Where to send the money, or that it is on its way."""
    settings = current().settings
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        row = top_ups.find(conn, purse_id, top_up_id)
        return show(
            "purse/top_up_announced.html",
            view,
            top_up=row,
            transfer=top_ups.transfer(settings, row),
            tab="top-up",
        )


@blueprint.get("/purse/<uuid:purse_id>/alerts")
@signed_in(SHOPPER)
def alert(purse_id: UUID) -> ResponseReturnValue:
    """The alert of a low balance, and the automatic top-up."""
    return _alerts_page(purse_id)


@blueprint.post("/purse/<uuid:purse_id>/alerts")
@signed_in(SHOPPER)
def put_alert(purse_id: UUID) -> ResponseReturnValue:
    """Write when there is less than so much."""
    try:
        typed = forms.read(Alert)
        with current().database.write() as conn:
            view = mine(conn, purse_id)
            alerts.put(conn, purse_id, below=Money(typed["below"], view.currency))
    except OboleError as refusal:
        return _alerts_page(purse_id, refusal, "alert")
    tell("The alert is set.")
    return go(f"/purse/{purse_id}/alerts")


@blueprint.post("/purse/<uuid:purse_id>/alerts/clear")
@signed_in(SHOPPER)
def clear_alert(purse_id: UUID) -> ResponseReturnValue:
    """Write no more."""
    with current().database.write() as conn:
        alerts.clear(conn, mine(conn, purse_id).id)
    tell("The alert is off.")
    return go(f"/purse/{purse_id}/alerts")


@blueprint.post("/purse/<uuid:purse_id>/automatic-top-up")
@signed_in(SHOPPER, proved=True)
def put_automatic(purse_id: UUID) -> ResponseReturnValue:
    """Top up by itself from now on."""
    try:
        typed = forms.read(Automatic)
        with current().database.write() as conn:
            currency = mine(conn, purse_id).currency
            amounts = {name: Money(typed[name], currency) for name in ("below", "amount", "per_month")}
            settings = current().settings
            method = methods.require(typed["method"], settings)
            automatic.put(conn, settings, purse_id, **amounts, method=method, at=clock.now())
    except OboleError as refusal:
        return _alerts_page(purse_id, refusal, "automatic")
    tell("The purse tops itself up from now on.")
    return go(f"/purse/{purse_id}/alerts")


@blueprint.post("/purse/<uuid:purse_id>/automatic-top-up/clear")
@signed_in(SHOPPER)
def clear_automatic(purse_id: UUID) -> ResponseReturnValue:
    """Top up by hand only."""
    with current().database.write() as conn:
        automatic.clear(conn, mine(conn, purse_id).id)
    tell("The purse tops itself up no more.")
    return go(f"/purse/{purse_id}/alerts")


# --- out ---------------------------------------------------------------------------------------------------


@blueprint.route("/purse/<uuid:purse_id>/withdraw", methods=["GET", "POST"])
@signed_in(SHOPPER, proved=True)
def withdraw(purse_id: UUID) -> ResponseReturnValue:
    """Money back to a bank account, at par."""
    refusal = None
    if request.method == "POST":
        try:
            typed = forms.read(Withdrawal)
            forms.do_once(lambda conn: _withdraw(conn, purse_id, typed))
            tell("The money is on its way to your account: the bank gets it tonight.")
            return go(f"/purse/{purse_id}")
        except OboleError as error:
            refusal = error
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        minimum = Money(current().settings.withdrawal_minimum_micros(view.currency), view.currency)
        return show(
            "purse/withdraw.html",
            view,
            refusal=refusal,
            typed=request.form,
            name=_own_name(conn),
            minimum=minimum if minimum.micros else None,
        )


@blueprint.route("/purse/<uuid:purse_id>/close", methods=["GET", "POST"])
@signed_in(SHOPPER, proved=True)
def close(purse_id: UUID) -> ResponseReturnValue:
    """End the purse for good, or say where a closing one sends what the bank sent back."""
    refusal = None
    if request.method == "POST":
        try:
            typed = forms.read(Closing)
            with current().database.write() as conn:
                view = mine(conn, purse_id)
                to = {"iban": typed["iban"], "name": typed["name"], "at": clock.now()}
                if view.is_ending:
                    closing.redirect(conn, purse_id, **to)
                elif not typed["sure"]:
                    raise ValidationFailed(errors={"sure": ["Tick this to close the purse."]})
                else:
                    closing.begin(conn, purse_id, **to)
            tell("Everything in the purse goes to that account.")
            return go(f"/purse/{purse_id}/close")
        except OboleError as error:
            refusal = error
    with current().database.read() as conn:
        view = mine(conn, purse_id)
        return show(
            "purse/close.html",
            view,
            refusal=refusal,
            typed=request.form,
            name=_own_name(conn),
            closing=closing.find(conn, view.id),
        )


def _announce(conn: Connection, purse_id: UUID, typed: dict[str, Any]) -> str:
    view, method = mine(conn, purse_id), methods.require(typed["method"], current().settings)
    row = top_ups.request_top_up(conn, purse_id, Money(typed["amount"], view.currency), method, at=clock.now())
    return str(row.id)


def _withdraw(conn: Connection, purse_id: UUID, typed: dict[str, Any]) -> str:
    money = Money(typed["amount"], mine(conn, purse_id).currency)
    row = withdrawals.withdraw(
        conn,
        purse_id,
        money,
        iban=typed["iban"],
        name=typed["name"],
        minimum_micros=current().settings.withdrawal_minimum_micros(money.currency),
        at=clock.now(),
    )
    return str(row.id)


def _alerts_page(purse_id: UUID, refusal: OboleError | None = None, form: str = "") -> ResponseReturnValue:
    settings = current().settings
    with current().database.read() as conn:
        return show(
            "purse/alerts.html",
            mine(conn, purse_id),
            refusal=refusal,
            refused_form=form,
            alert=alerts.find(conn, purse_id),
            automatic=automatic.find(conn, purse_id),
            methods=methods.fetching(settings),
            typed=request.form,
        )


def _own_name(conn: Connection) -> str:
    name: str = identities.find(conn, who().identity_id).name
    return name[:_LONGEST_NAME]

"""The account: who the wallet takes the merchant for, where it pays, on which terms; and the team."""

from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue

from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.merchants import merchants
from wallet.merchants.merchants import terms_of
from wallet.people import team
from wallet.people.team import Invitation
from web.http.context import current
from web.http.fields import EMAIL_PATTERN, Strict, Text
from web.pages import forms
from web.pages.merchant.seat import blueprint, merchant, merchant_id, ours, ours_proved, show
from web.pages.page import go, language, tell, who


class Colleague(Strict):
    """Who is invited."""

    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    name = Text(140, required=True)


@blueprint.get("/merchant/account")
@ours
def account() -> ResponseReturnValue:
    """What the wallet knows of the merchant; what is not the merchant's to change is the operator's."""
    row = merchant()
    iban = f"{row.iban[:4]} •••• {row.iban[-4:]}"
    return show("account.html", row, iban=iban, terms=terms_of(row), operator=current().settings.operator_name)


@blueprint.post("/merchant/account/mail")
@ours
def write_about_sales() -> ResponseReturnValue:
    """Letters about checkouts: yes or no."""
    with current().database.write() as conn:
        merchants.write_about_sales(conn, merchant_id(), wanted="wanted" in request.form)
    tell("Saved.")
    return go("/merchant/account")


@blueprint.get("/merchant/team")
@ours
def colleagues() -> ResponseReturnValue:
    """Who may sign in."""
    return _team()


@blueprint.post("/merchant/team")
@ours_proved
def invite() -> ResponseReturnValue:
    """Invite somebody by e-mail."""
    settings = current().settings
    try:
        asked = forms.read(Colleague)
        invitation = Invitation(
            email=asked["email"],
            name=asked["name"],
            locale=language(),
            origin=settings.origin,
            wallet_name=settings.operator_name,
        )
        with current().database.write() as conn:
            team.invite(conn, merchant_id(), invitation, at=clock.now())
    except OboleError as refusal:
        return _team(refusal=refusal)
    tell("%(email)s gets a letter with a link to come in.", email=asked["email"])
    return go("/merchant/team")


@blueprint.post("/merchant/team/<uuid:identity_id>/end")
@ours_proved
def end_access(identity_id: UUID) -> ResponseReturnValue:
    """Let a colleague in no more."""
    try:
        with current().database.write() as conn:
            team.end(conn, merchant_id(), identity_id, by=who().identity_id, at=clock.now())
    except OboleError as refusal:
        return _team(refusal=refusal)
    tell("They cannot sign in any more.")
    return go("/merchant/team")


def _team(*, refusal: OboleError | None = None) -> ResponseReturnValue:
    row = merchant()
    with current().database.read() as conn:
        people = team.listing(conn, row.id)
    return show("team.html", row, refusal=refusal, people=people, me=who().identity_id)

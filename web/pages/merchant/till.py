"""The till: type an amount, let the shopper scan the code, see it paid; or take a voucher the shopper shows.

Invariant: what the screen says is what the checkout is: it asks again and again, and believes only that.
"""

from typing import Any
from uuid import UUID

import segno
from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.engine import Row

from wallet.ground import clock
from wallet.ground.errors import AlreadyRedeemed, OboleError
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.keys.jws import MAX_TOKEN_CHARS
from wallet.purchases import checkouts, redemptions, vouchers
from wallet.purchases.checkouts import Wanted
from wallet.purchases.redemptions import Claim, Outcome
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.pages import forms
from web.pages.merchant.seat import blueprint, merchant, merchant_id, ours, show
from web.pages.page import go, language, say, tell


class NewSale(Strict):
    """What somebody is to pay."""

    amount = Amount(required=True)
    description = Text(200, load_default=None)


class Shown(Strict):
    """A voucher that a shopper shows; without an amount, all of it is taken, and with 0 it is given back."""

    voucher = Text(MAX_TOKEN_CHARS, required=True)
    amount = Amount(positive=False, load_default=None)


@blueprint.route("/merchant/till", methods=["GET", "POST"])
@ours
def till() -> ResponseReturnValue:
    """Type an amount; then its code is shown."""
    row, refusal = merchant(), None
    if request.method == "POST":
        try:
            return go(f"/merchant/till/{_open(row)}")
        except OboleError as error:
            refusal = error
    return show("till.html", row, refusal=refusal)


@blueprint.get("/merchant/till/<uuid:checkout_id>")
@ours
def sale_at_till(checkout_id: UUID) -> ResponseReturnValue:
    """The code of the checkout's page until it is paid; then that it is."""
    row = merchant()
    with current().database.read() as conn:
        found = checkouts.find(conn, checkout_id, merchant_id=row.id)
    url = f"{current().settings.origin}/checkout/{checkout_id}"
    return show(
        "till_sale.html",
        row,
        checkout=found,
        state=checkouts.state_of(found, at=clock.now()).value,
        url=url,
        qr=Markup(segno.make(url, error="m").svg_inline(scale=6)),  # noqa: S704  (segno's own SVG of our text)
    )


@blueprint.get("/merchant/till/<uuid:checkout_id>/state")
@ours
def state_at_till(checkout_id: UUID) -> Response:
    """What the till's screen asks until the checkout is paid or over."""
    with current().database.read() as conn:
        found = checkouts.find(conn, checkout_id, merchant_id=merchant_id())
    response = jsonify({"state": checkouts.state_of(found, at=clock.now()).value})
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/merchant/till/<uuid:checkout_id>/cancel")
@ours
def cancel_at_till(checkout_id: UUID) -> ResponseReturnValue:
    """End a checkout that nobody is to pay any more."""
    at = clock.now()
    with current().database.write() as conn:
        checkouts.find(conn, checkout_id, merchant_id=merchant_id())
        checkouts.cancel(conn, checkout_id, at=at)
    return go("/merchant/till")


@blueprint.route("/merchant/till/voucher", methods=["GET", "POST"])
@ours
def voucher_at_till() -> ResponseReturnValue:
    """Redeem a voucher that was pasted, or scanned by the browser's camera."""
    row, refusal = merchant(), None
    if request.method == "POST":
        try:
            return go(f"/merchant/sales/{_redeem(row)}")
        except OboleError as error:
            refusal = error
    return show("till_voucher.html", row, refusal=refusal)


def _open(row: Row[Any]) -> UUID:
    asked = forms.read(NewSale)
    wanted = Wanted(
        amount=Money(asked["amount"], row.currency),
        # For people, on paper and on the telephone; the checkout's own id is what counts.
        order_id=f"T-{new_id().hex[-8:].upper()}",
        description=asked["description"] or say("Purchase at the till"),
        locale=language(),
    )
    life, at = current().settings.checkout_life, clock.now()
    return UUID(forms.do_once(lambda conn: str(checkouts.create(conn, row.id, wanted, life=life, at=at).id)))


def _redeem(row: Row[Any]) -> UUID:
    obole, shown = current(), forms.read(Shown)
    voucher_id = vouchers.read(obole.issuer, shown["voucher"], audience=row.origin)
    claim = Claim(voucher_id=voucher_id, captured_micros=shown["amount"])
    with obole.database.write() as conn:
        (answer,) = redemptions.redeem(conn, [claim], merchant_id=row.id, at=clock.now())
    if isinstance(answer, OboleError):
        raise answer
    match answer.outcome:
        case Outcome.REPLAYED:
            raise AlreadyRedeemed("This voucher was shown before. Nothing is to be delivered for it again.")
        case Outcome.RELEASED:
            tell("The voucher is given back: its money is in the shopper’s purse.")
        case Outcome.REDEEMED:
            tell("The voucher is redeemed: the money is yours.")
    return voucher_id

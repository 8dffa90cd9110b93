"""The hosted checkout: who is paid, what for, how much, and what is left; then one confirmation, and back.

Invariant: what is confirmed is what is shown, because the confirmation names the checkout and the purse and both
are fixed; a second click, the back button, a reload or another tab finds the checkout ended and says what it became.
"""

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Response, g, jsonify, session
from flask.typing import ResponseReturnValue
from marshmallow import fields
from sqlalchemy.engine import Connection, Row, RowMapping

from wallet.funding import methods, top_ups
from wallet.ground import clock, errors
from wallet.ground.errors import CheckoutEnded, OboleError, OutcomeUnknown, ProofNeeded, PurseNotFound, ValidationFailed
from wallet.ground.money import MICROS_PER_UNIT, Money, largest_transaction, minor_unit_micros, whole_minor
from wallet.keys.jws import b64url, parse_public_jwk
from wallet.people import identities, passkeys, tries
from wallet.people.sessions import Visitor
from wallet.purchases import checkouts, orders
from wallet.purses import purses
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import CheckoutState
from wallet.tables.purses import ENDING
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.http.operations import read_json
from web.pages import forms
from web.pages.page import asker, browser, go, keep_purchase, page, visitor, welcome
from web.pages.page import blueprint as page_blueprint
from web.pages.rates import limiter
from web.pages.sign_in import SIGN_INS, check_typed

blueprint = page_blueprint("checkout", __name__)

_PAYERS = (IdentityKind.SHOPPER, IdentityKind.MEMBER)
# A town behind one address pays all the same: who pays is counted, not where they are.
_TRIES = "60 per minute"
# Where a PIN was typed to sign in on this very checkout's page, it is not asked for a second time.
_SIGNED_IN_FOR = "signed_in_for"


class Payment(Strict):
    """One confirmation: a PIN, a passkey's answer, or a device's order."""

    pin = Text(200, load_default=None)
    passkey = fields.String(load_default=None)
    order = fields.String(load_default=None)
    device_key = fields.String(load_default=None)


class TopUp(Strict):
    """How much to top up by, and how."""

    amount = Amount(required=True)
    method = fields.String(required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Somebody who can pay this checkout: who, from which purse, and what it would leave."""

    visitor: Visitor
    purse: purses.View
    after: Money
    passkeys: int
    devices: list[dict[str, str]]
    needs_no_pin: bool

    @property
    def is_short(self) -> bool:
        """Whether the purse cannot pay it."""
        return self.after.micros + self.purse.credit_micros < 0


@blueprint.get("/checkout/<uuid:checkout_id>")
def show(checkout_id: UUID) -> ResponseReturnValue:
    """The checkout as it is now."""
    return _page(checkout_id)


@blueprint.get("/checkout/<uuid:checkout_id>/state")
def state(checkout_id: UUID) -> Response:
    """What the page asks while it waits for a top-up: the checkout's state, and whether the purse can pay now."""
    with current().database.read() as conn:
        row = checkouts.find(conn, checkout_id)
        payer = _payer(conn, row)
    is_short = payer.is_short if payer else None
    return jsonify({"state": checkouts.state_of(row, at=clock.now()).value, "is_short": is_short})


@blueprint.post("/checkout/<uuid:checkout_id>/sign-in")
@limiter.limit(SIGN_INS)
def sign_in(checkout_id: UUID) -> ResponseReturnValue:
    """Sign in on the checkout's page, and see the purse before confirming."""
    try:
        welcome(check_typed(_PAYERS))
    except OboleError as refusal:
        return _page(checkout_id, refusal=refusal)
    session[_SIGNED_IN_FOR] = str(checkout_id)
    return go(f"/checkout/{checkout_id}")


@blueprint.post("/checkout/<uuid:checkout_id>/passkey")
@limiter.limit(_TRIES, key_func=asker)
def passkey_options(checkout_id: UUID) -> Response:
    """What a passkey signs to confirm this checkout: a challenge over who is paid how much for what."""
    obole, at = current(), clock.now()
    with obole.database.write() as conn:
        row = checkouts.find(conn, checkout_id)
        payer = _payer(conn, row)
        if payer is None:
            raise ProofNeeded
        options = passkeys.authentication_options(
            conn,
            checkouts.purchase_key(checkout_id),
            checkouts.facts(row, payer.purse.id),
            identity_id=payer.visitor.identity_id,
            origin=obole.settings.origin,
            at=at,
        )
    return jsonify(options)


@blueprint.post("/checkout/<uuid:checkout_id>/pay")
@limiter.limit(_TRIES, key_func=asker)
def pay(checkout_id: UUID) -> ResponseReturnValue:
    """Confirm and pay; then back to the merchant with the voucher."""
    try:
        row = _pay(checkout_id)
    except (CheckoutEnded, OutcomeUnknown) as refusal:
        # A second click may come while the first is at work; whoever made both is led on by both. So is whoever paid,
        # and only the word of it got lost.
        with current().database.read() as conn:
            row, found = checkouts.find(conn, checkout_id), visitor()
        if found is None or not _paid_by(row, found):
            return _page(checkout_id, refusal=refusal)
    except OboleError as refusal:
        return _page(checkout_id, refusal=refusal)
    keep_purchase(checkout_id, is_open=False)
    with current().database.read() as conn:
        url = checkouts.return_url(row, token=checkouts.token_of(conn, current().issuer, row))
    return go(url or f"/checkout/{checkout_id}")


@blueprint.post("/checkout/<uuid:checkout_id>/cancel")
@limiter.limit(_TRIES, key_func=asker)
def cancel(checkout_id: UUID) -> ResponseReturnValue:
    """Do not pay, and go back to the merchant. The page of one that ended meanwhile says how."""
    found = visitor()
    payer_id = found.identity_id if found and found.kind in _PAYERS else None
    try:
        with current().database.write() as conn:
            row = checkouts.cancel(conn, checkout_id, identity_id=payer_id, at=clock.now())
    except CheckoutEnded as refusal:
        return _page(checkout_id, refusal=refusal)
    keep_purchase(checkout_id, is_open=False)
    return go(checkouts.return_url(row, token=None) or f"/checkout/{checkout_id}")


@blueprint.post("/checkout/<uuid:checkout_id>/top-up")
@limiter.limit(_TRIES, key_func=asker)
def top_up(checkout_id: UUID) -> ResponseReturnValue:
    """Ask for a top-up without leaving the checkout; its page waits for the money."""
    obole, at = current(), clock.now()
    try:
        typed = forms.read(TopUp)
        with obole.database.read() as conn:
            row = checkouts.find(conn, checkout_id)
            payer = _payer(conn, row)
        if payer is None or payer.visitor.kind is not IdentityKind.SHOPPER:
            raise PurseNotFound
        purse_id, amount = payer.purse.id, Money(typed["amount"], row["currency"])
        method = methods.require(typed["method"], obole.settings)
        # A reload sends the form again, and the money is fetched once all the same.
        top_up_id = UUID(
            forms.do_once(lambda conn: str(top_ups.request_top_up(conn, purse_id, amount, method, at=at).id))
        )
        asked = top_ups.fetch_soon(obole.database, obole.settings, purse_id, top_up_id)
        g.form_id = str(uuid.uuid4())  # what comes next from this page is another top-up
    except OboleError as refusal:
        return _page(checkout_id, refusal=refusal)
    return _page(checkout_id, top_up=asked)


def _pay(checkout_id: UUID) -> RowMapping:
    """Pay with the confirmation that was sent; answers the checkout. Again, by who paid it, it is only answered."""
    obole, at, sent = current(), clock.now(), forms.read(Payment)
    with obole.database.read() as conn:
        row = checkouts.find(conn, checkout_id)
        payer = _payer(conn, row)
    if payer is None:
        raise ProofNeeded
    if _paid_by(row, payer.visitor):
        return row
    if sent["order"] is None and sent["passkey"] is None and not payer.needs_no_pin:
        if sent["pin"] is None:
            raise ValidationFailed(errors={"pin": ["Type your PIN to pay."]})
        here, who = tries.of_session(payer.visitor.session_id), payer.visitor.identity_id
        identities.check_secret(obole.database, obole.keyring, who, sent["pin"], place=here, at=at)
    obole.keyring.look()
    with obole.database.write() as conn:
        if sent["order"] is not None:
            order = orders.verify(conn, sent["order"], origin=obole.settings.origin, at=at)
            # A device pays for the shopper, whom no member's caps bind.
            if order.purse_id != payer.purse.id or payer.visitor.kind is not IdentityKind.SHOPPER:
                raise errors.OrderInvalid("The order is not over this checkout.")
            identity_id = payer.visitor.identity_id
            checkouts.pay_by_order(conn, obole.issuer, checkout_id, order, identity_id=identity_id, at=at)
        else:
            proof = None if sent["passkey"] is None else _proof(conn, row, payer, sent["passkey"])
            identity_id, purse_id = payer.visitor.identity_id, payer.purse.id
            checkouts.pay(
                conn, obole.issuer, checkout_id, purse_id=purse_id, identity_id=identity_id, proof=proof, at=at
            )
        # By PIN or passkey only: a device, perhaps a lost one, must not let another one in.
        if sent["device_key"] is not None and sent["order"] is None and payer.visitor.kind is IdentityKind.SHOPPER:
            _remember_device(conn, payer, sent["device_key"])
        row = checkouts.find(conn, checkout_id)
    session.pop(_SIGNED_IN_FOR, None)
    return row


def _proof(conn: Connection, row: RowMapping, payer: Payer, answer: str) -> passkeys.Proof:
    return passkeys.authenticate(
        conn,
        read_json(answer.encode("utf-8", "surrogatepass")),
        checkouts.purchase_key(row["id"]),
        checkouts.facts(row, payer.purse.id),
        origin=current().settings.origin,
        at=clock.now(),
        identity_id=payer.visitor.identity_id,
    )


def _remember_device(conn: Connection, payer: Payer, jwk: str) -> None:
    """Let this browser's key sign orders from now on: it was sent along with a confirmation that held."""
    try:
        key = parse_public_jwk(read_json(jwk.encode("utf-8", "surrogatepass")))
        purses.add_device(conn, payer.purse.id, public_key=key, label=browser(), at=clock.now())
    except (OboleError, ValueError, TypeError, KeyError):
        # The payment stands; without the key the next one asks for the PIN again.
        return


def _page(checkout_id: UUID, *, refusal: OboleError | None = None, top_up: Row[Any] | None = None) -> Response:
    """The checkout's page, in the language the merchant asked for unless the reader chose another."""
    at, obole = clock.now(), current()
    with obole.database.read() as conn:
        row = checkouts.find(conn, checkout_id)
        payer = _payer(conn, row)
        found = visitor()
        is_mine = found is not None and _paid_by(row, found)
        token = checkouts.token_of(conn, obole.issuer, row) if is_mine else None
    g.asked_language = row["locale"]
    g.pop("language", None)
    now = checkouts.state_of(row, at=at)
    keep_purchase(checkout_id, is_open=now is CheckoutState.OPEN)
    # Chromium asks form-action about the redirect that answers a form, too.
    g.may_submit_to = " ".join(sorted({row["origin"]} if row["success_url"] or row["cancel_url"] else set()))
    back = checkouts.return_url(row, token=token)
    return page(
        "checkout.html" if now is CheckoutState.OPEN else "checkout_ended.html",
        refusal=refusal,
        checkout=row,
        amount=Money(row["amount_micros"], row["currency"]),
        state=now.value,
        payer=payer,
        is_mine=is_mine,
        back=back,
        back_host=urlsplit(row["origin"]).hostname,
        suggestions=_suggestions(payer) if payer and payer.is_short else [],
        methods=methods.available(obole.settings),
        top_up=top_up,
        transfer=top_ups.transfer(obole.settings, top_up) if top_up else None,
        order={
            "merchant": str(row["merchant_id"]),
            "resource": checkouts.resource(row),
            "key": checkouts.purchase_key(row["id"]),
            "amount": str(Money(row["amount_micros"], row["currency"])),
            "hold": row["hold_seconds"],
        },
        origin=obole.settings.origin,
    )


def _payer(conn: Connection, row: RowMapping) -> Payer | None:
    """Who is signed in, if they have a purse in the checkout's currency."""
    found = visitor()
    if found is None or found.kind not in _PAYERS:
        return None
    purse_id = _purse_id(conn, found, row["currency"])
    if purse_id is None:
        return None
    view = purses.view(conn, purse_id)
    if view.currency != row["currency"]:
        return None
    devices = [
        {"id": str(device.id), "x": b64url(device.public_key)}
        for device in purses.devices_of(conn, purse_id)
        if device.revoked_at is None
    ]
    return Payer(
        visitor=found,
        purse=view,
        after=Money(view.balance.micros - row["amount_micros"], row["currency"]),
        passkeys=len(passkeys.listing(conn, found.identity_id)),
        devices=devices if found.kind is IdentityKind.SHOPPER else [],
        needs_no_pin=session.get(_SIGNED_IN_FOR) == str(row["id"]) and found.proved_lately(clock.now()),
    )


def _purse_id(conn: Connection, found: Visitor, currency: str) -> UUID | None:
    if found.purse_id is not None:
        return found.purse_id
    if found.shopper_id is None:
        return None
    mine = [row for row in purses.of_shopper(conn, found.shopper_id) if row.currency == currency]
    # One that is being closed pays nothing any more; it is shown where there is no other.
    return next((row.id for row in mine if row.state not in ENDING), mine[0].id if mine else None)


def _paid_by(row: RowMapping, found: Visitor) -> bool:
    return bool(row["state"] == CheckoutState.PAID.value and row["identity_id"] == found.identity_id)


def _suggestions(payer: Payer) -> list[Money]:
    """Round sums that cover what is missing: the first that does, and two larger ones.

    Where the next round one would be much more, what is missing comes first, as banks move it; and never more than a
    bank moves at once, or the form could not be sent.
    """
    currency = payer.after.currency
    minor, most = minor_unit_micros(currency), largest_transaction(currency)
    missing = -payer.after.micros
    sums = {round_ for round_ in _ROUND_SUMS if round_ >= missing}
    if missing > _ROUND_ENOUGH:
        sums.add(whole_minor(missing + minor - 1, currency))
    return [Money(sum_, currency) for sum_ in sorted({min(sum_, most) for sum_ in sums})[:3]]


_ROUND_SUMS = [digit * 10**zeros * MICROS_PER_UNIT for zeros in range(10) for digit in (1, 2, 5)][2:]
_ROUND_ENOUGH = 5_000 * MICROS_PER_UNIT

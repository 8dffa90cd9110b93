"""One purchase, as its shopper sees it: what became of it and of the money, and everything that proves it.

It stands here and not with the other pages of the purse because it tells of payouts.

Invariant: a purchase is shown to the purse that paid it, and to the member who did; to nobody else.
"""

import datetime as dt
from typing import Any
from uuid import UUID

import segno
from flask import Response, jsonify
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.engine import Connection, RowMapping

from settlement.documents import payout_statements
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import OboleError, VoucherNotFound
from wallet.ground.money import decimal_string
from wallet.keys.jws import b64url, public_jwk
from wallet.merchants import merchants
from wallet.purchases import confirmations, redemptions, vouchers
from wallet.purses import purses
from wallet.tables.purchases import VoucherState
from web.http.context import current
from web.pages.page import blueprint as page_blueprint
from web.pages.page import go, signed_in, tell
from web.pages.purse.frame import PAYERS, member_id, mine, show

blueprint = page_blueprint("purchases", __name__)


@blueprint.get("/purse/<uuid:purse_id>/purchases/<uuid:voucher_id>")
@signed_in(*PAYERS)
def purchase(purse_id: UUID, voucher_id: UUID) -> ResponseReturnValue:
    """Whom, what for, how much, what became of it, and the proof."""
    return _page(purse_id, voucher_id)


@blueprint.post("/purse/<uuid:purse_id>/purchases/<uuid:voucher_id>/undo")
@signed_in(*PAYERS)
def undo(purse_id: UUID, voucher_id: UUID) -> ResponseReturnValue:
    """Give the purchase up, right after it."""
    try:
        with current().database.write() as conn:
            vouchers.undo(
                conn,
                voucher_id,
                purse_id=mine(conn, purse_id).id,
                window=current().settings.undo_window,
                at=clock.now(),
                member_id=member_id(),
            )
    except OboleError as refusal:
        return _page(purse_id, voucher_id, refusal)
    tell("The purchase is undone and its money is back.")
    return go(f"/purse/{purse_id}/purchases/{voucher_id}")


@blueprint.get("/purse/<uuid:purse_id>/purchases/<uuid:voucher_id>/proof.json")
@signed_in(*PAYERS)
def proof(purse_id: UUID, voucher_id: UUID) -> Response:
    """Everything that proves the purchase, as a file that needs nobody's word."""
    with current().database.read() as conn:
        row = _find(conn, mine(conn, purse_id).id, voucher_id)
        response = jsonify(_proof(conn, row))
    response.headers["Content-Disposition"] = f'attachment; filename="obole-purchase-{voucher_id}.json"'
    return response


def _page(purse_id: UUID, voucher_id: UUID, refusal: OboleError | None = None) -> Response:
    obole = current()
    with obole.database.read() as conn:
        view = mine(conn, purse_id)
        row = _find(conn, purse_id, voucher_id)
        token = vouchers.token(obole.issuer, row)
        return show(
            "purse/purchase.html",
            view,
            refusal=refusal,
            voucher=row,
            merchant=merchants.find(conn, row["merchant_id"]),
            refunds=redemptions.refunds_of(conn, voucher_id),
            payout=payout_statements.payout_of(conn, voucher_id),
            undo_until=_undo_until(row),
            token=token,
            qr=_qr(token),
            evidence=_evidence(conn, row),
            is_shop=row["resource"] is not None and row["resource"].startswith(("https://", "http://")),
            tab="history",
        )


def _qr(token: str) -> Markup | None:
    """The voucher as a QR code; None where what was bought is told at such length that no code holds it."""
    try:
        return Markup(segno.make(token, error="l").svg_inline(omitsize=True))  # noqa: S704  (segno's own SVG of our text)
    except segno.DataOverflowError:
        return None


def _find(conn: Connection, purse_id: UUID, voucher_id: UUID) -> RowMapping:
    row = vouchers.find(conn, voucher_id, owner_id=purse_id)
    if member_id() not in (None, row["member_id"]):
        raise VoucherNotFound
    return row


def _undo_until(row: RowMapping) -> dt.datetime | None:
    """Until when the shopper may still give the purchase up; None when it is too late or over."""
    until: dt.datetime = row["issued_at"] + current().settings.undo_window
    return until if row["state"] == VoucherState.HELD.value and clock.now() < until else None


def _evidence(conn: Connection, row: RowMapping) -> dict[str, Any]:
    """Who said yes, and by what: a device's signed order, a confirmation on our page, or a program's key."""
    if row["order_jws"] is not None:
        device = next(each for each in purses.devices_of(conn, row["purse_id"]) if each.id == row["device_id"])
        return {
            "kind": "order",
            "order": row["order_jws"],
            "device": device.label,
            "device_key": public_jwk(device.public_key, str(device.id)),
        }
    if row["confirmation_id"] is not None:
        found = confirmations.find(conn, row["confirmation_id"])
        told = {"kind": found.method, "by": found.name, "confirmed_at": rfc3339(found.confirmed_at)}
        if found.signature is None:
            return told
        return {
            **told,
            "passkey": found.label,
            "passkey_cose": b64url(found.passkey_cose),
            "challenge": b64url(found.challenge),
            "client_data": b64url(found.client_data),
            "authenticator_data": b64url(found.authenticator_data),
            "signature": b64url(found.signature),
        }
    return {"kind": "key", "key_id": str(row["api_key_id"])}


def _proof(conn: Connection, row: RowMapping) -> dict[str, Any]:
    obole, currency = current(), row["currency"]
    payout = payout_statements.payout_of(conn, row["id"])
    captured = row["captured_micros"]
    return {
        "voucher": vouchers.token(obole.issuer, row),
        "keys": f"{obole.settings.origin}/.well-known/jwks.json",
        "how_to_verify": (
            "The voucher is a JWS (RFC 7515) signed with Ed25519: check it with the key of its kid. Its sub is what "
            "this wallet calls the purse towards this merchant."
        ),
        "evidence": _evidence(conn, row),
        "merchant": {"name": merchants.find(conn, row["merchant_id"]).legal_name, "origin": row["origin"]},
        "state": row["state"],
        "amount": decimal_string(row["amount_micros"], currency),
        "captured": None if captured is None else decimal_string(captured, currency),
        "refunded": decimal_string(row["refunded_micros"], currency),
        "currency": currency,
        "payout": None
        if payout is None
        else {"id": str(payout.id), "state": payout.state, "business_date": payout.business_date.isoformat()},
    }

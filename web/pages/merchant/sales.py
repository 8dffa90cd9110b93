"""The sales: found by what, when and what became of them; and one sale, with its refund.

Invariant: a refund names what had been refunded when its button was shown, so the same button pressed twice gives
back once, and two colleagues at once do not give back twice.
"""

import datetime as dt
from typing import Any
from uuid import UUID

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.engine import Connection, Row

from settlement.documents import payout_statements
from wallet.books.idempotency import once
from wallet.ground import clock
from wallet.ground.errors import (
    IdempotencyConflict,
    MerchantSuspended,
    OboleError,
    PayoutNotFound,
    RefundExceedsCaptured,
    RefundLimitExceeded,
    ValidationFailed,
)
from wallet.ground.money import Money
from wallet.purchases import redemptions, sales, vouchers
from wallet.purchases.redemptions import Claim
from wallet.purchases.sales import SalesFilter, SaleState
from wallet.tables.merchants import MerchantState
from web.api import documents
from web.http.context import current
from web.http.fields import Amount, Strict, Text
from web.http.operations import load
from web.pages import forms
from web.pages.lists import PAGE, beyond, one_page
from web.pages.merchant.seat import blueprint, merchant, ours, show
from web.pages.page import go, language, tell

_LONGEST_SEARCH = 200


class Part(Strict):
    """How much is to go back."""

    amount = Amount(required=True)


class Refund(Part):
    """A refund that was confirmed. ``refunded`` is what had been refunded before, in micros, when it was asked."""

    refunded = Text(19, required=True, pattern="^[0-9]+$")


@blueprint.get("/merchant/sales")
@ours
def listing() -> ResponseReturnValue:
    """The sales that match, newest first."""
    obole, row, before, refusal = current(), merchant(), beyond(), None
    try:
        search = _search()
    except ValidationFailed as error:
        search, refusal = sales.EVERYTHING, error
    with obole.database.read() as conn:
        found = sales.listing(conn, obole.keyring, row.id, search, before=before, limit=PAGE + 1)
    shown, last = one_page(found)
    return show(
        "sales.html",
        row,
        refusal=refusal,
        sales=shown,
        states=list(SaleState),
        asked={name: request.args.get(name, "") for name in ("q", "state", "since", "until")},
        more=None if last is None else {**request.args.to_dict(), "before": str(last.id)},
        is_first=before is None,
    )


@blueprint.get("/merchant/sales/<uuid:voucher_id>")
@ours
def sale(voucher_id: UUID) -> ResponseReturnValue:
    """One sale: what became of it, what went back, and the payout that paid it."""
    return _shown(voucher_id)


@blueprint.get("/merchant/sales/<uuid:voucher_id>/proof")
@ours
def proof(voucher_id: UUID) -> Response:
    """The proof that the sale is in its payout, to keep (docs/api.md says how to check it)."""
    obole, row = current(), merchant()
    with obole.database.read() as conn:
        sales.find(conn, obole.keyring, row.id, voucher_id)
        payout = payout_statements.payout_of(conn, voucher_id)
    if payout is None:
        raise PayoutNotFound("This sale is in no payout yet.")
    response = jsonify(documents.proof(obole, payout, voucher_id))
    response.headers["Content-Disposition"] = f'attachment; filename="proof-{voucher_id}.json"'
    return response


@blueprint.get("/merchant/sales/<uuid:voucher_id>/refund")
@ours
def confirm_refund(voucher_id: UUID) -> ResponseReturnValue:
    """How much would go back, before it does."""
    obole, row = current(), merchant()
    try:
        amount = load(Part, {"amount": forms.plain_amount(request.args.get("amount", ""), language())})["amount"]
        with obole.database.read() as conn:
            found = sales.find(conn, obole.keyring, row.id, voucher_id)
            most = redemptions.refundable_micros(conn, row, obole.settings.refund_limit)
        if amount > found.refundable_micros:
            raise RefundExceedsCaptured
        if row.state != MerchantState.ACTIVE.value:
            raise MerchantSuspended
        if amount > most:
            raise RefundLimitExceeded
    except (ValidationFailed, RefundExceedsCaptured, MerchantSuspended, RefundLimitExceeded) as refusal:
        return _shown(voucher_id, refusal=refusal)
    money = Money(amount, row.currency)
    return show("refund.html", row, sale=found, amount=money)


@blueprint.post("/merchant/sales/<uuid:voucher_id>/refund")
@ours
def refund(voucher_id: UUID) -> ResponseReturnValue:
    """Give money back, once."""
    row = merchant()
    try:
        asked = forms.read(Refund)
        money = Money(asked["amount"], row.currency)
        _refund_once(row, voucher_id, money, int(asked["refunded"]))
    except OboleError as refusal:
        return _shown(voucher_id, refusal=refusal)
    tell("The money went back to the purse.")
    return go(f"/merchant/sales/{voucher_id}")


@blueprint.post("/merchant/sales/<uuid:voucher_id>/redeem")
@ours
def redeem(voucher_id: UUID) -> ResponseReturnValue:
    """Take all of what a voucher holds: what was ordered is delivered."""
    row = merchant()
    with current().database.write() as conn:
        (answer,) = redemptions.redeem(conn, [Claim(voucher_id=voucher_id)], merchant_id=row.id, at=clock.now())
    if isinstance(answer, OboleError):
        return _shown(voucher_id, refusal=answer)
    tell("The voucher is redeemed: the money is yours.")
    return go(f"/merchant/sales/{voucher_id}")


@blueprint.post("/merchant/sales/<uuid:voucher_id>/release")
@ours
def release(voucher_id: UUID) -> ResponseReturnValue:
    """Give a hold back: there will be no delivery."""
    row = merchant()
    try:
        with current().database.write() as conn:
            vouchers.release(conn, voucher_id, merchant_id=row.id, at=clock.now())
    except OboleError as refusal:
        return _shown(voucher_id, refusal=refusal)
    tell("The money went back to the purse.")
    return go(f"/merchant/sales/{voucher_id}")


def _shown(voucher_id: UUID, *, refusal: OboleError | None = None) -> ResponseReturnValue:
    obole, row = current(), merchant()
    with obole.database.read() as conn:
        # Whoever may not see it is told so here, whatever was refused before.
        found = sales.find(conn, obole.keyring, row.id, voucher_id)
        refunds = redemptions.refunds_of(conn, voucher_id)
        payout = payout_statements.payout_of(conn, voucher_id)
    return show("sale.html", row, refusal=refusal, sale=found, refunds=refunds, payout=payout)


def _refund_once(row: Row[Any], voucher_id: UUID, money: Money, refunded_before: int) -> None:
    def work(conn: Connection) -> tuple[int, bytes]:
        obole = current()
        limits, at = obole.settings.refund_limit, clock.now()
        redemptions.refund(conn, voucher_id, merchant_id=row.id, amount=money, limits_micros=limits, at=at)
        after = sales.find(conn, obole.keyring, row.id, voucher_id)
        if after.refunded_micros != refunded_before + money.micros:
            raise IdempotencyConflict(_MEANWHILE)
        return 201, b""

    try:
        once(
            current().database,
            owner_id=row.id,
            key=f"page-refund:{voucher_id}:{refunded_before}",
            facts={"amount": money.micros},
            at=clock.now(),
            work=work,
        )
    except IdempotencyConflict:
        raise IdempotencyConflict(_MEANWHILE) from None


_MEANWHILE = "Part of this sale was refunded meanwhile. Look at what is left before you refund more."


def _search() -> SalesFilter:
    asked = request.args
    state = asked.get("state")
    return SalesFilter(
        text=asked.get("q", "").replace("\0", "")[:_LONGEST_SEARCH] or None,
        state=SaleState(state) if state in {each.value for each in SaleState} else None,
        since=_date("since"),
        until=_date("until"),
    )


def _date(name: str) -> dt.date | None:
    text = request.args.get(name)
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise ValidationFailed(errors={name: ["A date such as 2026-11-23."]}) from None

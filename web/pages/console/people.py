"""People: purses and merchants, found by what an operator was told, and what an operator may change about them."""

from typing import Any
from uuid import UUID

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import fields, post_load, validate
from sqlalchemy.engine import Connection

from settlement.figures import forecast
from settlement.payouts import own_money
from settlement.payouts.retries import try_again
from wallet import search
from wallet.books import ledger
from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.ground.money import Money, decimal_string, minor_unit_micros, whole_minor
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import identities, team
from wallet.purchases import redemptions
from wallet.purses import history, limits, purses
from wallet.purses.limits import Caps
from wallet.tables.books import AccountKind
from wallet.tables.merchants import BankFeeBearer, MerchantState
from wallet.tables.people import IdentityKind
from web.api.merchants import NewMerchant
from web.http.context import current
from web.http.fields import Amount, Id, OfMoney, Text
from web.pages import forms
from web.pages.console.desk import Why, blueprint, decided, note, seen, show
from web.pages.console.operators import Invitation
from web.pages.lists import PAGE, beyond, one_page
from web.pages.page import go, tell

_LONGEST_SEARCH = 200
_RECENT = 5


class SpendingLimits(Why):
    """What a purse may spend, in its currency; an empty field is no limit, and no credit."""

    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None)
    credit = Amount(positive=False, load_default=0)


class TypedTerms(Why):
    """How a merchant is paid, as numbers in a form are typed."""

    commission_bp = fields.Integer(required=True, validate=validate.Range(0, 10_000))
    minimum_payout = Amount(positive=False, load_default=0)
    maximum_wait_days = fields.Integer(required=True, validate=validate.Range(0, 366))
    maximum_fee_share_bp = fields.Integer(required=True, validate=validate.Range(0, 10_000))
    bank_fee = fields.Enum(BankFeeBearer, by_value=True, required=True)

    @post_load
    def _terms(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        why = data.pop("why")
        return {"why": why, "terms": Terms(minimum_payout_micros=data.pop("minimum_payout"), **data)}


class RefundLimit(Why):
    """How far below zero refunds may take a merchant; an empty field: as the settings say."""

    refund_limit = Amount(positive=False, load_default=None)


class Refund(Why):
    """A sale of which an operator gives money back; an empty amount is all that is left."""

    voucher_id = Id(required=True)
    amount = Amount(load_default=None)


class WriteOff(Why):
    """How much of a debt is given up."""

    written_off = Amount(required=True)


class NewAccount(Why):
    """Where a merchant is paid from now on."""

    iban = Text(42, required=True)


class NewName(Why):
    """The name under which a merchant sells and is paid from now on."""

    legal_name = Text(140, required=True)


# --- purses --------------------------------------------------------------------------------------------------


@blueprint.get("/purses")
@seen
def find_purses() -> ResponseReturnValue:
    """Purses by id, address or name."""
    before, text = beyond(), request.args.get("q", "")[:_LONGEST_SEARCH]
    with current().database.read() as conn:
        shown, last = one_page(search.find_purses(conn, text, before=before, limit=PAGE + 1))
    return show("purses.html", purses=shown, q=text, more=last.id if last else None, is_first=before is None)


@blueprint.get("/purses/<uuid:purse_id>")
@seen
def purse(purse_id: UUID) -> ResponseReturnValue:
    """A purse: whose, how much, its limits and its last movements."""
    return _purse(purse_id)


@blueprint.post("/purses/<uuid:purse_id>/freeze")
@seen
def freeze(purse_id: UUID) -> ResponseReturnValue:
    """Stop paying from a purse, at once: no proof is asked for, because it may be urgent."""
    return _set_frozen(purse_id, frozen=True)


@blueprint.post("/purses/<uuid:purse_id>/unfreeze")
@decided
def unfreeze(purse_id: UUID) -> ResponseReturnValue:
    """Let a purse pay again."""
    return _set_frozen(purse_id, frozen=False)


@blueprint.post("/purses/<uuid:purse_id>/limits")
@decided
def change_limits(purse_id: UUID) -> ResponseReturnValue:
    """Change what a purse may spend, and how far below zero it may go."""
    at = clock.now()
    try:
        said = forms.read(SpendingLimits)
        with current().database.write() as conn:
            limits.change(
                conn, purse_id, Caps(per_purchase_micros=said["per_purchase"], per_day_micros=said["per_day"])
            )
            limits.change_credit(conn, purse_id, credit_micros=said["credit"])
            currency = purses.view(conn, purse_id).currency
            amounts = {name: said[name] for name in ("per_purchase", "per_day", "credit")}
            written = (
                f"{name} {'none' if micros is None else decimal_string(micros, currency)}"
                for name, micros in amounts.items()
            )
            note(conn, "purse_limits_changed", purse_id, f"{', '.join(written)}: {said['why']}", at=at)
    except OboleError as refusal:
        return _purse(purse_id, refusal=refusal)
    tell("The purse's limits are changed.")
    return go(f"/console/purses/{purse_id}")


# --- merchants -----------------------------------------------------------------------------------------------


@blueprint.get("/merchants")
@seen
def find_merchants() -> ResponseReturnValue:
    """Merchants by id, name, origin or address."""
    before, text = beyond(), request.args.get("q", "")[:_LONGEST_SEARCH]
    with current().database.read() as conn:
        shown, last = one_page(search.find_merchants(conn, text, before=before, limit=PAGE + 1))
    return show("merchants.html", merchants=shown, q=text, more=last.id if last else None, is_first=before is None)


@blueprint.route("/merchants/new", methods=["GET", "POST"])
@decided
def new_merchant() -> ResponseReturnValue:
    """Take on a merchant, on the usual terms; they can be changed on its page."""
    at, refusal = clock.now(), None
    if request.method == "POST":
        try:
            wanted = forms.read(NewMerchant)
            with current().database.write() as conn:
                merchant_id = merchants.register(conn, **wanted, at=at)
                note(conn, "merchant_registered", merchant_id, wanted["legal_name"], at=at)
            tell("%(name)s is registered.", name=wanted["legal_name"])
            return go(f"/console/merchants/{merchant_id}")
        except OboleError as error:
            refusal = error
    return show("merchant_new.html", refusal=refusal)


@blueprint.get("/merchants/<uuid:merchant_id>")
@seen
def merchant(merchant_id: UUID) -> ResponseReturnValue:
    """A merchant: what it is owed, its terms, where it is paid, and who signs in for it."""
    return _merchant(merchant_id)


@blueprint.post("/merchants/<uuid:merchant_id>/suspend")
@seen
def suspend(merchant_id: UUID) -> ResponseReturnValue:
    """Let nobody buy from a merchant, at once; what it was promised stands."""
    return _set_state(merchant_id, MerchantState.SUSPENDED, "merchant_suspended")


@blueprint.post("/merchants/<uuid:merchant_id>/resume")
@decided
def resume(merchant_id: UUID) -> ResponseReturnValue:
    """Let shoppers buy from a merchant again."""
    return _set_state(merchant_id, MerchantState.ACTIVE, "merchant_resumed")


@blueprint.post("/merchants/<uuid:merchant_id>/terms")
@decided
def change_terms(merchant_id: UUID) -> ResponseReturnValue:
    """Pay a merchant on other terms from the next cut on."""
    at = clock.now()
    try:
        said = forms.read(TypedTerms)
        terms: Terms = said["terms"]
        with current().database.write() as conn:
            currency = merchants.find(conn, merchant_id).currency
            merchants.change_terms(conn, merchant_id, terms)
            minimum = decimal_string(terms.minimum_payout_micros, currency)
            written = (
                f"commission {terms.commission_bp} bp, minimum {minimum}, wait {terms.maximum_wait_days} days, "
                f"fee share {terms.maximum_fee_share_bp} bp, fee {terms.bank_fee.value}: {said['why']}"
            )
            note(conn, "merchant_terms_changed", merchant_id, written, at=at)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The merchant's terms are changed.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/iban")
@decided
def change_iban(merchant_id: UUID) -> ResponseReturnValue:
    """Pay a merchant elsewhere from the next cut on."""
    at = clock.now()
    try:
        said = forms.read(NewAccount)
        with current().database.write() as conn:
            before = merchants.find(conn, merchant_id).iban
            merchants.change_iban(conn, merchant_id, said["iban"])
            after = merchants.find(conn, merchant_id).iban
            note(conn, "merchant_iban_changed", merchant_id, f"{before} to {after}: {said['why']}", at=at)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The merchant is paid to its new account from the next run on.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/name")
@decided
def rename(merchant_id: UUID) -> ResponseReturnValue:
    """Pay a merchant under another name from the next cut on."""
    at = clock.now()
    try:
        said = forms.read(NewName)
        with current().database.write() as conn:
            before = merchants.find(conn, merchant_id).legal_name
            merchants.rename(conn, merchant_id, said["legal_name"])
            note(conn, "merchant_renamed", merchant_id, f"{before} to {said['legal_name']}: {said['why']}", at=at)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The merchant is paid under its new name from the next run on.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/refund-limit")
@decided
def change_refund_limit(merchant_id: UUID) -> ResponseReturnValue:
    """Change how far below zero refunds may take a merchant."""
    at = clock.now()
    try:
        said = forms.read(RefundLimit)
        with current().database.write() as conn:
            row, limit = merchants.find(conn, merchant_id), said["refund_limit"]
            merchants.set_refund_limit(conn, merchant_id, limit)
            written = "as set" if limit is None else decimal_string(limit, row.currency)
            note(conn, "refund_limit_changed", merchant_id, f"{written}: {said['why']}", at=at)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The limit is changed.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/refund")
@decided
def refund_for_merchant(merchant_id: UUID) -> ResponseReturnValue:
    """Give money back of a merchant's sale, also of one that is suspended."""
    at, limits_micros = clock.now(), current().settings.refund_limit

    def give_back(conn: Connection) -> str:
        currency = merchants.find(conn, merchant_id).currency
        amount = None if said["amount"] is None else Money(said["amount"], currency)
        row = redemptions.refund(
            conn,
            said["voucher_id"],
            merchant_id=merchant_id,
            amount=amount,
            limits_micros=limits_micros,
            at=at,
            by_operator=True,
        )
        detail = f"{decimal_string(row.amount_micros, currency)} {currency}: {said['why']}"
        note(conn, "sale_refunded", said["voucher_id"], detail, at=at)
        return str(row.id)

    try:
        said = forms.read(Refund)
        forms.do_once(give_back)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The money went back to the purse.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/repayment")
@decided
def announce_repayment(merchant_id: UUID) -> ResponseReturnValue:
    """A reference with which a merchant pays back what it owes."""
    at = clock.now()

    def announce(conn: Connection) -> str:
        row = own_money.announce_repayment(conn, merchant_id, amount, at=at)
        detail = f"{amount} {amount.currency}, {row.reference}"
        note(conn, "repayment_announced", merchant_id, detail, at=at)
        return str(row.reference)

    try:
        amount: Money = forms.read(OfMoney)["money"]
        reference = forms.do_once(announce)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("Tell the merchant the reference %(reference)s.", reference=reference)
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/write-off")
@decided
def write_off(merchant_id: UUID) -> ResponseReturnValue:
    """Give up what a merchant owes, or part of it."""
    at = clock.now()

    def give_up(conn: Connection) -> str:
        amount = Money(said["written_off"], merchants.find(conn, merchant_id).currency)
        own_money.write_off(conn, merchant_id, amount, at=at)
        note(conn, "debt_written_off", merchant_id, f"{amount} {amount.currency}: {said['why']}", at=at)
        return ""

    try:
        said = forms.read(WriteOff)
        forms.do_once(give_up)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The debt is written off: it is your loss.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/retry")
@decided
def send_again(merchant_id: UUID) -> ResponseReturnValue:
    """Send what the bank refused or gave back again with the next run, to the same account."""
    try:
        why = forms.read(Why)["why"]
        with current().database.settle() as conn:
            try_again(conn, merchant_id)
            note(conn, "merchant_retried", merchant_id, why, at=clock.now())
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("It is sent again with the next run.")
    return go(f"/console/merchants/{merchant_id}")


@blueprint.post("/merchants/<uuid:merchant_id>/people")
@decided
def invite_for_merchant(merchant_id: UUID) -> ResponseReturnValue:
    """Invite somebody by mail to sign in for a merchant."""
    settings, at = current().settings, clock.now()
    try:
        wanted = forms.read(Invitation)
        with current().database.write() as conn:
            merchants.find(conn, merchant_id)
            sent_by = {"origin": settings.origin, "wallet_name": settings.operator_name}
            whom = identities.as_invited(conn, IdentityKind.MERCHANT, wanted["email"])
            team.invite(conn, merchant_id, team.Invitation(**wanted, **sent_by), at=at)
            note(conn, "merchant_person_invited", merchant_id, whom, at=at)
    except OboleError as refusal:
        return _merchant(merchant_id, refusal=refusal)
    tell("The invitation is on its way to %(email)s.", email=wanted["email"])
    return go(f"/console/merchants/{merchant_id}")


def _purse(purse_id: UUID, *, refusal: OboleError | None = None) -> Response:
    with current().database.read() as conn:
        view = purses.view(conn, purse_id)
        (found,) = search.find_purses(conn, str(purse_id), before=None, limit=1)
        movements = history.lines(conn, purse_id, limit=PAGE)
    return show("purse.html", refusal=refusal, purse=found, view=view, movements=movements, written=_written)


def _set_frozen(purse_id: UUID, *, frozen: bool) -> ResponseReturnValue:
    at = clock.now()
    try:
        with current().database.write() as conn:
            if frozen:
                purses.freeze(conn, purse_id, by_operator=True)
            else:
                purses.unfreeze(conn, purse_id, by_operator=True)
            note(conn, "purse_frozen" if frozen else "purse_unfrozen", purse_id, at=at)
    except OboleError as refusal:
        return _purse(purse_id, refusal=refusal)
    if frozen:
        tell("The purse is frozen: nobody can pay from it.")
    else:
        tell("The purse can pay again.")
    return go(f"/console/purses/{purse_id}")


def _merchant(merchant_id: UUID, *, refusal: OboleError | None = None) -> Response:
    obole = current()
    with obole.database.read() as conn:
        row = merchants.find(conn, merchant_id)
        owed = forecast.payable(conn, merchant_id, obole.settings.bank_fees)
        people = team.listing(conn, merchant_id)
        debt = max(0, -ledger.balance_micros(conn, AccountKind.PAYABLE, row.currency, merchant_id))
        refundable = redemptions.refundable_micros(conn, row, obole.settings.refund_limit)
        announced = own_money.announced(conn, limit=_RECENT, merchant_id=merchant_id)
    return show(
        "merchant.html",
        refusal=refusal,
        merchant=row,
        terms=merchants.terms_of(row),
        owed=owed,
        people=people,
        written=_written,
        debt_micros=debt,
        whole_debt=_written(_rounded_up(debt, row.currency), row.currency),
        refundable_micros=refundable,
        default_limit_micros=obole.settings.refund_limit.get(row.currency, 0),
        announced=announced,
        bank_iban=obole.settings.bank_iban,
        bank_name=obole.settings.operator_name,
    )


def _set_state(merchant_id: UUID, state: MerchantState, action: str) -> ResponseReturnValue:
    at = clock.now()
    with current().database.write() as conn:
        merchants.set_state(conn, merchant_id, state)
        note(conn, action, merchant_id, at=at)
    if state is MerchantState.SUSPENDED:
        tell("Nobody can buy from this merchant now.")
    else:
        tell("Shoppers can buy from this merchant again.")
    return go(f"/console/merchants/{merchant_id}")


def _rounded_up(micros: int, currency: str) -> int:
    """The least that a bank can move and that is not less."""
    whole = whole_minor(micros, currency)
    return whole if whole == micros else whole + minor_unit_micros(currency)


def _written(micros: int | None, currency: str) -> str:
    """An amount as it is typed into a field; nothing for no limit."""
    return "" if micros is None else decimal_string(micros, currency)

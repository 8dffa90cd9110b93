"""Payouts and what is owed, for their merchant: every line, every fee, every reason to wait."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection, Row

from settlement.documents import payout_statements
from settlement.figures import forecast
from settlement.figures.forecast import Part
from settlement.payouts.decide import WaitReason
from settlement.payouts.retries import try_again
from settlement.tables import TransactionState
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import BusinessDateInvalid, NothingWaits, PayoutNotFound, VoucherNotFound
from wallet.ground.languages import LOCALES
from wallet.ground.money import decimal_string
from wallet.people.api_keys import Caller
from wallet.purchases import vouchers
from wallet.tables.books import Reason
from wallet.tables.people import KeyKind
from web.api import documents
from web.http import auth
from web.http.context import current
from web.http.fields import (
    SHA256_PATTERN,
    TOKEN_PATTERN,
    Answer,
    Id,
    Page,
    Strict,
    Text,
    count,
    currency_code,
    date,
    decimal,
    identity,
    instant,
    next_cursor,
    one_of,
    payee_name,
    signed_decimal,
    text,
)
from web.http.operations import operation
from web.http.paging import page

_PAYABLE_REASONS = [*WaitReason, "next_run", "with_the_bank", "to_release", "outcome_unknown"]


class StatementLanguage(Strict):
    """In which language a statement is written."""

    language = fields.String(load_default="en", validate=validate.OneOf(LOCALES))


class ProofOf(Strict):
    """Which voucher is to be proven."""

    voucher = Id(required=True)


class PayoutView(Answer):
    """One bank transaction to a merchant.

    It covers the business days after ``after_date`` (null: from the first) up to ``business_date``, and
    carried_in + captured - refunded + came_back + repaid = commission + bank_fee + net + carried_out. ``repaid`` is
    what the merchant paid back while it was below zero, or was forgiven. ``fee_per_purchase`` is commission and bank
    fee over the purchases, null when there are none; ``bank_fee_one_by_one`` is what the bank would have charged for
    as many single payments at the cut, null for payouts from before that was kept.
    """

    id = identity()
    business_date = date()
    after_date = date(allow_none=True)
    currency = currency_code()
    carried_in = decimal()
    captured = decimal()
    refunded = decimal()
    came_back = signed_decimal()
    repaid = signed_decimal()
    commission = decimal()
    bank_fee = decimal()
    net = decimal()
    carried_out = decimal()
    purchases = count()
    fee_per_purchase = decimal(allow_none=True)
    bank_fee_one_by_one = decimal(allow_none=True)
    state = fields.String(required=True, validate=one_of(TransactionState))
    state_since = instant()
    state_detail = text(allow_none=True)
    payee_name = payee_name()
    reference = text()
    end_to_end_id = text()
    creditor_iban = text()
    execution_date = date("When the bank was asked to pay.")


class PayoutList(Answer):
    items = fields.List(fields.Nested(PayoutView), required=True)
    next_cursor = next_cursor()


class PayoutLine(Answer):
    """A purchase, a refund (negative), a payout that came back, or a debt repaid or written off.

    Negative, too, is what an earlier line took for come back or repaid on the bank's early word, and was not.

    ``reference`` is its voucher, refund, payout, or the bank's entry.
    """

    reason = fields.String(required=True, validate=one_of(Reason))
    reference = identity()
    voucher_id = identity(allow_none=True)
    resource = text(allow_none=True)
    amount = signed_decimal()
    currency = currency_code()
    business_date = date()
    recorded_at = instant()


class PayoutLineList(Answer):
    items = fields.List(fields.Nested(PayoutLine), required=True)
    next_cursor = next_cursor()


class LineProof(Answer):
    """That a line is in a payout's statement (RFC 6962 section 2.1.1).

    ``leaf`` is the line as it was hashed, to the byte; ``path`` are the hashes beside the way up, lowest first.
    """

    leaf = fields.String(required=True)
    index = count()
    size = count()
    path = fields.List(fields.String(metadata={"pattern": SHA256_PATTERN}), required=True)


class ProofView(Answer):
    """The lines about a voucher, and ``root``, signed by the wallet (typ ``statement-root+jwt``), that they lead to."""

    root = fields.String(required=True, metadata={"pattern": TOKEN_PATTERN})
    lines = fields.List(fields.Nested(LineProof), required=True)


class NewRetry(Strict):
    """An operator's word that a merchant's money may be sent to the same account again; ``why`` is kept."""

    why = Text(200, required=True)


class PayablePart(Answer):
    """One part of what is owed: why it is not paid yet, and when it will be; null where time alone does not help."""

    amount = signed_decimal()
    reason = fields.String(required=True, validate=validate.OneOf([str(reason) for reason in _PAYABLE_REASONS]))
    date = date(allow_none=True)
    payout_id = identity(allow_none=True)


class PayableView(Answer):
    """What is owed to a merchant now.

    ``owed`` is not yet in a payout; ``commission`` and ``bank_fee`` will be taken of it. Parts with a ``payout_id``
    are in one, on their way.
    """

    currency = currency_code()
    owed = signed_decimal()
    commission = decimal()
    bank_fee = decimal()
    parts = fields.List(fields.Nested(PayablePart), required=True)


blueprint = Blueprint("payouts", __name__, description="One bank transaction for many purchases, explained.")


@operation(blueprint, "GET", "/v1/payouts", callers=[KeyKind.MERCHANT], query=Page, answer=PayoutList)
def list_payouts(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """The merchant's payouts, newest first."""
    with current().database.read() as conn:
        return page(
            f"payouts:{caller.owner_id}",
            query,
            UUID,
            lambda before, limit: payout_statements.listing(conn, caller.owner_id, before=before, limit=limit),
            lambda row: _payout(conn, row),
        )


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>",
    callers=[KeyKind.MERCHANT],
    answer=PayoutView,
    refuses=[PayoutNotFound],
)
def get_payout(caller: Caller, payout_id: UUID) -> dict[str, Any]:
    """One payout."""
    with current().database.read() as conn:
        return _payout(conn, payout_statements.find(conn, payout_id, merchant_id=caller.owner_id))


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/lines",
    callers=[KeyKind.MERCHANT],
    query=Page,
    answer=PayoutLineList,
    refuses=[PayoutNotFound],
)
def list_payout_lines(caller: Caller, payout_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """Every purchase and refund in the payout, oldest first, and payouts that came back and are paid again in it."""
    with current().database.read() as conn:
        payout = payout_statements.find(conn, payout_id, merchant_id=caller.owner_id)
        return page(
            f"lines:{payout_id}",
            query,
            int,
            lambda after, limit: list(payout_statements.lines(conn, payout, after=after or 0, limit=limit)),
            lambda row: _line(row, payout.currency),
        )


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/statement.csv",
    callers=[KeyKind.MERCHANT],
    answer={documents.CSV: {"type": "string", "description": "RFC 4180: every line, then the totals."}},
    refuses=[PayoutNotFound],
)
def get_payout_statement(caller: Caller, payout_id: UUID) -> Response:
    """The payout's lines and totals for a spreadsheet."""
    return documents.csv_file(current(), _find(caller, payout_id))


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/statement.pdf",
    callers=[KeyKind.MERCHANT],
    query=StatementLanguage,
    answer={documents.PDF: {"type": "string", "format": "binary"}},
    refuses=[PayoutNotFound],
)
def get_payout_document(caller: Caller, payout_id: UUID, query: dict[str, Any]) -> Response:
    """The payout's statement for people: the same bytes every time."""
    return documents.pdf_file(current(), _find(caller, payout_id), locale=query["language"])


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/statement.jws",
    callers=[KeyKind.MERCHANT],
    answer={documents.JOSE: {"type": "string", "pattern": TOKEN_PATTERN}},
    refuses=[PayoutNotFound],
)
def get_signed_statement(caller: Caller, payout_id: UUID) -> Response:
    """The payout's figures and the Merkle root over its lines, signed (typ ``statement+jwt``)."""
    return documents.signed_file(current(), _find(caller, payout_id))


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/proof",
    callers=[KeyKind.MERCHANT, KeyKind.PURSE],
    query=ProofOf,
    answer=ProofView,
    refuses=[PayoutNotFound, VoucherNotFound],
)
def get_proof(caller: Caller, payout_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """The proof that a voucher is in the payout, for its merchant or its purse: it can be checked offline."""
    obole = current()
    with obole.database.read() as conn:
        voucher = vouchers.find(conn, query["voucher"], owner_id=caller.owner_id)
        payout = payout_statements.find(conn, payout_id, merchant_id=voucher["merchant_id"])
    return documents.proof(obole, payout, voucher["id"])


@operation(
    blueprint,
    "GET",
    "/v1/payable",
    callers=[KeyKind.MERCHANT],
    answer=PayableView,
    refuses=[BusinessDateInvalid],
)
def get_payable(caller: Caller) -> dict[str, Any]:
    """What is owed to the merchant now, and for each part why it is not paid yet and when it will be."""
    with current().database.read() as conn:
        return _payable(conn, caller.owner_id)


@operation(
    blueprint,
    "POST",
    "/v1/merchants/<uuid:merchant_id>/retry",
    callers=[KeyKind.OPERATOR],
    body=NewRetry,
    answer=PayableView,
    refuses=[NothingWaits, BusinessDateInvalid],
)
def retry_payouts(caller: Caller, merchant_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Send what the bank refused or gave back again with the next run, to the same account; answers what is owed."""
    with current().database.settle() as conn:
        try_again(conn, merchant_id)
        auth.note(conn, caller, "merchant_retried", merchant_id, body["why"], at=clock.now())
        return _payable(conn, merchant_id)


def _payable(conn: Connection, merchant_id: UUID) -> dict[str, Any]:
    owed = forecast.payable(conn, merchant_id, current().settings.bank_fees)
    return {
        "currency": owed.currency,
        "owed": decimal_string(owed.owed_micros, owed.currency),
        "commission": decimal_string(owed.commission_micros, owed.currency),
        "bank_fee": decimal_string(owed.bank_fee_micros, owed.currency),
        "parts": [_part(part, owed.currency) for part in owed.parts],
    }


def _find(caller: Caller, payout_id: UUID) -> Row[Any]:
    with current().database.read() as conn:
        return payout_statements.find(conn, payout_id, merchant_id=caller.owner_id)


def _payout(conn: Connection, row: Row[Any]) -> dict[str, Any]:
    purchases = payout_statements.purchase_count(conn, row)
    fee, alone = (
        payout_statements.fee_per_purchase_micros(row, purchases),
        payout_statements.one_by_one_micros(row, purchases),
    )
    amounts = {name: decimal_string(getattr(row, f"{name}_micros"), row.currency) for name in payout_statements.FIGURES}
    return {
        "id": str(row.id),
        "business_date": row.business_date.isoformat(),
        "after_date": None if row.after_date is None else row.after_date.isoformat(),
        "currency": row.currency,
        **amounts,
        "purchases": purchases,
        "fee_per_purchase": None if fee is None else decimal_string(fee, row.currency),
        "bank_fee_one_by_one": None if alone is None else decimal_string(alone, row.currency),
        "state": row.state,
        "state_since": rfc3339(row.state_since),
        "state_detail": row.state_detail,
        "payee_name": row.payee_name,
        "reference": row.reference,
        "end_to_end_id": row.end_to_end_id,
        "creditor_iban": row.creditor_iban,
        "execution_date": row.execution_date.isoformat(),
    }


def _line(row: Row[Any], currency: str) -> dict[str, Any]:
    return {
        "reason": row.reason,
        "reference": str(row.reference),
        "voucher_id": None if row.voucher_id is None else str(row.voucher_id),
        "resource": row.resource,
        "amount": decimal_string(row.amount_micros, currency),
        "currency": currency,
        "business_date": row.business_date.isoformat(),
        "recorded_at": rfc3339(row.recorded_at),
    }


def _part(part: Part, currency: str) -> dict[str, Any]:
    return {
        "amount": decimal_string(part.amount_micros, currency),
        "reason": part.reason,
        "date": None if part.date is None else part.date.isoformat(),
        "payout_id": None if part.payout_id is None else str(part.payout_id),
    }

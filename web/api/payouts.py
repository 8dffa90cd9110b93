"""Payouts and what is owed, for their merchant: every line, every fee, every reason to wait."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, Row

from settlement import forecast, payouts, statements
from settlement.forecast import Part
from wallet import vouchers
from wallet.api_keys import Caller
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import BusinessDateInvalid, NothingWaits, PayoutNotFound, VoucherNotFound
from wallet.ground.money import decimal_string
from wallet.tables.people import KeyKind
from web.api import documents, schemas
from web.http import auth
from web.http.context import current
from web.http.operations import operation
from web.http.paging import page
from web.http.schemas import TOKEN_PATTERN, Page

blueprint = Blueprint("payouts", __name__, description="One bank transaction for many purchases, explained.")


@operation(blueprint, "GET", "/v1/payouts", callers=[KeyKind.MERCHANT], query=Page, answer=schemas.PayoutList)
def list_payouts(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """The merchant's payouts, newest first."""
    with current().database.read() as conn:
        return page(
            f"payouts:{caller.owner_id}",
            query,
            UUID,
            lambda before, limit: statements.listing(conn, caller.owner_id, before=before, limit=limit),
            lambda row: _payout(conn, row),
        )


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>",
    callers=[KeyKind.MERCHANT],
    answer=schemas.PayoutView,
    refuses=[PayoutNotFound],
)
def get_payout(caller: Caller, payout_id: UUID) -> dict[str, Any]:
    """One payout."""
    with current().database.read() as conn:
        return _payout(conn, statements.find(conn, payout_id, merchant_id=caller.owner_id))


@operation(
    blueprint,
    "GET",
    "/v1/payouts/<uuid:payout_id>/lines",
    callers=[KeyKind.MERCHANT],
    query=Page,
    answer=schemas.PayoutLineList,
    refuses=[PayoutNotFound],
)
def list_payout_lines(caller: Caller, payout_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """Every purchase and refund in the payout, oldest first, and payouts that came back and are paid again in it."""
    with current().database.read() as conn:
        payout = statements.find(conn, payout_id, merchant_id=caller.owner_id)
        return page(
            f"lines:{payout_id}",
            query,
            int,
            lambda after, limit: list(statements.lines(conn, payout, after=after or 0, limit=limit)),
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
    query=schemas.StatementLanguage,
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
    query=schemas.ProofOf,
    answer=schemas.ProofView,
    refuses=[PayoutNotFound, VoucherNotFound],
)
def get_proof(caller: Caller, payout_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """The proof that a voucher is in the payout, for its merchant or its purse: it can be checked offline."""
    obole = current()
    with obole.database.read() as conn:
        voucher = vouchers.find(conn, query["voucher"], owner_id=caller.owner_id)
        payout = statements.find(conn, payout_id, merchant_id=voucher["merchant_id"])
    return documents.proof(obole, payout, voucher["id"])


@operation(
    blueprint,
    "GET",
    "/v1/payable",
    callers=[KeyKind.MERCHANT],
    answer=schemas.PayableView,
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
    body=schemas.NewRetry,
    answer=schemas.PayableView,
    refuses=[NothingWaits, BusinessDateInvalid],
)
def retry_payouts(caller: Caller, merchant_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Send what the bank refused or gave back again with the next run, to the same account; answers what is owed."""
    with current().database.settle() as conn:
        payouts.try_again(conn, merchant_id)
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
        return statements.find(conn, payout_id, merchant_id=caller.owner_id)


def _payout(conn: Connection, row: Row[Any]) -> dict[str, Any]:
    purchases = statements.purchase_count(conn, row)
    fee, alone = statements.fee_per_purchase_micros(row, purchases), statements.one_by_one_micros(row, purchases)
    amounts = {name: decimal_string(getattr(row, f"{name}_micros"), row.currency) for name in statements.FIGURES}
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

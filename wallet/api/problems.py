"""Problems: how every no leaves the wallet, as ``application/problem+json`` (RFC 9457).

Invariant: whatever goes wrong, the answer has a ``code`` of `wallet.errors` and the status it has here;
nothing of the inside (SQL, paths, stack) is ever in it.
"""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from wallet import errors
from wallet.db import machine_failed
from wallet.errors import OboleError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"

STATUS: Mapping[str, int] = {
    "malformed_body": 400,
    "idempotency_key_required": 400,
    "unauthorized": 401,
    "order_invalid": 401,
    "order_expired": 401,
    "order_not_yet_valid": 401,
    "sign_in_refused": 401,
    "passkey_refused": 401,
    "proof_needed": 401,
    "insufficient_funds": 402,
    "key_scope": 403,
    "purse_frozen": 403,
    "frozen_by_operator": 403,
    "merchant_suspended": 403,
    "cap_exceeded": 403,
    "not_your_voucher": 403,
    "form_outdated": 403,
    "not_found": 404,
    "purse_not_found": 404,
    "merchant_not_found": 404,
    "voucher_not_found": 404,
    "device_not_found": 404,
    "key_not_found": 404,
    "member_not_found": 404,
    "identity_not_found": 404,
    "session_not_found": 404,
    "passkey_not_found": 404,
    "checkout_not_found": 404,
    "webhook_not_found": 404,
    "payout_not_found": 404,
    "run_not_found": 404,
    "bank_file_not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "idempotency_conflict": 409,
    "already_exists": 409,
    "purse_closing": 409,
    "top_up_method_unavailable": 409,
    "checkout_ended": 409,
    "undo_too_late": 409,
    "voucher_expired": 409,
    "voucher_lapsed": 409,
    "voucher_released": 409,
    "already_redeemed": 409,
    "not_redeemed": 409,
    "refund_exceeds_captured": 409,
    "refund_limit_exceeded": 409,
    "debt_exceeded": 409,
    "own_money_exceeded": 409,
    "own_account_missing": 409,
    "payout_not_unknown": 409,
    "run_not_waiting": 409,
    "approvals_missing": 409,
    "files_changed": 409,
    "nothing_waits": 409,
    "break_unexplained": 409,
    "name_ambiguous": 409,
    "bank_not_configured": 409,
    "link_invalid": 410,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "validation_failed": 422,
    "amount_invalid": 422,
    "currency_unknown": 422,
    "currency_withdrawn": 422,
    "currency_mismatch": 422,
    "amount_not_whole_minor": 422,
    "withdrawal_too_small": 422,
    "iban_invalid": 422,
    "business_date_invalid": 422,
    "bank_message_invalid": 422,
    "origin_not_registered": 422,
    "voucher_invalid": 422,
    "amount_exceeds_voucher": 422,
    "sign_in_locked": 429,
    "too_many_requests": 429,
    "bank_message_failed": 500,
    "internal_error": 500,
    "settings_invalid": 500,
    "key_file_invalid": 500,
    "temporarily_unavailable": 503,
    "outcome_unknown": 503,
}

# Flask's and Werkzeug's own refusals, in our words.
_OF_STATUS: Mapping[int, type[OboleError]] = {
    401: errors.Unauthorized,
    403: errors.KeyScope,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    503: errors.Unavailable,
}
# What an operator must mend is nobody else's business.
_INSIDE = (errors.SettingsInvalid, errors.KeyFileInvalid)

_log = structlog.get_logger(__name__)


def problem(error: OboleError) -> dict[str, Any]:
    """The members of RFC 9457 section 3.1, and ours: ``code``, ``retryable``, ``errors`` (field →
    messages)."""
    members: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": error.title,
        "status": STATUS[error.code],
        "code": error.code,
        "detail": error.detail,
        "retryable": error.retryable,
    }
    if error.errors is not None:
        members["errors"] = {field: list(messages) for field, messages in error.errors.items()}
    return members


def response(error: OboleError) -> Response:
    """The whole answer to a refused request."""
    members = problem(error)
    # ASCII only: whatever a detail or a field's name quotes, every reader of JSON takes it.
    answer = Response(json.dumps(members), status=members["status"], content_type=MEDIA_TYPE)
    if members["status"] == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    elif members["status"] == 503:
        answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def register(app: Flask) -> None:
    """Let every error of the application leave as a problem."""
    app.register_error_handler(OboleError, _refused)
    app.register_error_handler(OSError, _machine_failed)
    app.register_error_handler(HTTPException, http)
    # Flask wraps whatever else was raised in this one, after logging it with its stack.
    app.register_error_handler(InternalServerError, _broken)


def _refused(error: OboleError) -> Response:
    if isinstance(error, _INSIDE):
        _log.error("refused by ourselves", code=error.code, detail=error.detail)
        return response(errors.InternalError())
    return response(error)


def log_machine(error: OSError) -> None:
    """Alarm: somebody must look at the machine."""
    _log.critical("a disk or a folder fails", error=type(error).__name__, reason=error.strerror)


def _machine_failed(error: OSError) -> Response:
    log_machine(error)
    return response(machine_failed(error))


def http(error: HTTPException) -> Response:
    """One of the framework's own refusals, in our words."""
    status = error.code or 500
    if status >= 500 and status != 503:
        return _broken(error)
    refusal = _OF_STATUS.get(status, errors.MalformedBody)
    answer = response(refusal(HTTP_STATUS_CODES.get(status, "") if refusal is errors.MalformedBody else ""))
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return answer


def _broken(_: HTTPException) -> Response:
    return response(errors.InternalError())

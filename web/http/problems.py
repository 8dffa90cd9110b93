"""Problems: how every no leaves the wallet, as ``application/problem+json`` (RFC 9457).

Invariant: whatever goes wrong, the answer has a ``code`` of `wallet.ground.errors` and the status it has here;
nothing of the inside (SQL, paths, stack) is ever in it.
"""

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from wallet.ground import errors
from wallet.ground.db import machine_failed
from wallet.ground.errors import OboleError

MEDIA_TYPE = "application/problem+json"
# No answer to nonsense is longer than the nonsense.
MOST_FIELDS = 20
_LONGEST_NAME = 60
_LONGEST_DETAIL = 1_000

STATUS: Mapping[str, int] = {
    "request_malformed": 400,
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
    "request_timeout": 408,
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
    "cnf_unsupported": 422,
    "sign_in_locked": 429,
    "too_many_requests": 429,
    "headers_too_large": 431,
    "bank_message_failed": 500,
    "internal_error": 500,
    "settings_invalid": 500,
    "key_file_invalid": 500,
    "temporarily_unavailable": 503,
    "proxies_unknown": 503,
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
    429: errors.TooManyRequests,
    503: errors.Unavailable,
}
# What an operator must mend is nobody else's business.
_INSIDE = (errors.SettingsInvalid, errors.KeyFileInvalid)

_log = structlog.get_logger(__name__)


def problem(error: OboleError) -> dict[str, Any]:
    """The members of RFC 9457 section 3.1, and ours: ``code``, ``retryable``, ``errors`` (field → messages).

    Of fields the first are named, and ``detail`` says how many there are.
    """
    wrong = error.errors or {}
    more = f" These are the first {MOST_FIELDS} of {len(wrong)}." if len(wrong) > MOST_FIELDS else ""
    members: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": error.title,
        "status": STATUS[error.code],
        "code": error.code,
        "detail": _short(error.detail, _LONGEST_DETAIL) + more,
        "retryable": error.retryable,
    }
    if error.errors is not None:
        members["errors"] = {
            _short(field, _LONGEST_NAME): [_short(line, _LONGEST_DETAIL) for line in messages]
            for field, messages in itertools.islice(wrong.items(), MOST_FIELDS)
        }
    return members


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def response(error: OboleError) -> Response:
    """The whole answer to a refused request."""
    members = problem(error)
    # ASCII only: whatever a detail or a field's name quotes, every reader of JSON takes it.
    answer = Response(json.dumps(members), status=members["status"], content_type=MEDIA_TYPE)
    if members["status"] == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    answer.headers.update(when_again(error))
    return answer


def when_again(error: OboleError) -> dict[str, str]:
    """When to send the same request again, in seconds (RFC 9110 section 10.2.3), where that is known."""
    if error.wait is not None:
        return {"Retry-After": str(max(1, math.ceil(error.wait.total_seconds())))}
    return {"Retry-After": "1"} if STATUS[error.code] == 503 else {}


def meant(error: OboleError | OSError | HTTPException) -> OboleError:
    """What to say about an error: nothing of the inside, and the framework's own refusals in our words."""
    if isinstance(error, _INSIDE):
        _log.error("refused by ourselves", code=error.code, detail=error.detail)
        return errors.InternalError()
    if isinstance(error, OboleError):
        return error
    if isinstance(error, OSError):
        # An alarm: somebody must look at the machine.
        _log.critical("a disk or a folder fails", error=type(error).__name__, reason=error.strerror)
        return machine_failed(error)
    status = error.code or 500
    if status >= 500 and status != 503:
        return errors.InternalError()
    refusal = _OF_STATUS.get(status, errors.MalformedBody)
    return refusal(HTTP_STATUS_CODES.get(status, "") if refusal is errors.MalformedBody else "")


def with_headers(answer: Response, error: OboleError | OSError | HTTPException) -> Response:
    """An answer with what the framework's own refusals tell in headers."""
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return answer

"""Redemptions: a merchant turns in vouchers, thousands at a time, each on its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Connection

from wallet.ground import clock, errors
from wallet.ground.errors import MalformedBody, OboleError, ValidationFailed
from wallet.merchants import merchants
from wallet.people.api_keys import Caller
from wallet.purchases import redemptions, vouchers
from wallet.purchases.redemptions import Claim
from wallet.purchases.vouchers import Issuer
from wallet.tables.people import KeyKind
from web.http import problems
from web.http.context import current
from web.http.fields import Amount, Answer, Problem, Strict, Text, Unread, currency_code, decimal, identity
from web.http.operations import (
    JSON,
    WITH_BODY,
    check_acceptable,
    dump,
    few_strangers,
    json_body,
    load,
    operation,
    read_json,
    respond_once,
)

MAX_REDEMPTIONS = 10_000


class Redemption(Strict):
    """A voucher turned in."""

    # Any text will do here: what is not a voucher is that line's problem and spoils no other.
    voucher = Text(8192, required=True, metadata={"description": "A compact JWS."})
    amount = Amount(
        positive=False,
        load_default=None,
        metadata={"description": "What to capture; all of it when left out, and with 0 the voucher is released."},
    )


class Redemptions(Strict):
    """Vouchers turned in, each on its own."""

    vouchers = fields.List(Unread(Redemption), required=True, validate=validate.Length(1, MAX_REDEMPTIONS))


class Redeemed(Answer):
    """A voucher that is now owed to its merchant, or was released, or was one of both before."""

    outcome = fields.String(required=True, validate=validate.OneOf(["redeemed", "released", "replayed"]))
    voucher_id = identity()
    captured = decimal()
    currency = currency_code()


NDJSON = "application/x-ndjson"
# 10 000 vouchers with the longest resources.
MOST_BODY_BYTES = 32 * 1024 * 1024

_RESULT = {"oneOf": [Redeemed, Problem]}

blueprint = Blueprint("redemptions", __name__, description="Vouchers become money owed to their merchant.")


@dataclass(frozen=True, slots=True)
class _Line:
    """What was read in a line; where that is nothing, why."""

    read: dict[str, Any] | None = None
    refusal: OboleError = field(default_factory=ValidationFailed)

    def facts(self) -> object:
        """What makes the line the same when it is sent again: 0.70 is 0.7, and what is refused alike is one."""
        return problems.problem(self.refusal) if self.read is None else (self.read["voucher"], self.read["amount"])


@operation(
    blueprint,
    "POST",
    "/v1/redemptions",
    callers=[KeyKind.MERCHANT],
    idempotent=True,
    most_body_bytes=MOST_BODY_BYTES,
    refuses=WITH_BODY,
    answer={
        JSON: {
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": _RESULT}},
        },
        NDJSON: {"type": "string", "description": "One result a line, in the order of the vouchers."},
    },
    requestBody={
        "required": True,
        "content": {
            JSON: {"schema": Redemptions},
            NDJSON: {"schema": Redemption},
        },
    },
)
def redeem(caller: Caller, key: str) -> Response:
    """Turn in up to 10 000 vouchers: as one JSON object, or one a line (`application/x-ndjson`).

    Each is answered in order, `redeemed`, `released` (for an amount of 0), `replayed` or a problem, and a bad line,
    whatever is wrong with it, spoils no other. The answer has the media type of the request.
    """
    media_type = NDJSON if request.mimetype == NDJSON else JSON
    check_acceptable([media_type])
    lines, written = (_ndjson_lines(), _ndjson) if media_type == NDJSON else (_json_lines(), _json)
    obole = current()
    with obole.database.read() as conn:
        origin = merchants.find(conn, caller.owner_id).origin
    # Signatures cost far more than rows, and are checked before anything is locked.
    few_strangers("vouchers.{}.voucher", [line.read["voucher"] if line.read else "" for line in lines])
    claims = [_claim(obole.issuer, line, origin) for line in lines]

    def work(conn: Connection) -> bytes:
        return written(_redeemed(conn, claims, caller))

    facts = {"as": media_type, "lines": [line.facts() for line in lines]}
    return respond_once(caller, key, facts, work, status=200, media_type=media_type)


def _redeemed(conn: Connection, claims: Sequence[Claim | OboleError], caller: Caller) -> list[dict[str, Any]]:
    sound = [claim for claim in claims if isinstance(claim, Claim)]
    answers = iter(redemptions.redeem(conn, sound, merchant_id=caller.owner_id, at=clock.now()))
    return [_result(next(answers) if isinstance(claim, Claim) else claim) for claim in claims]


def _claim(issuer: Issuer, line: _Line, origin: str) -> Claim | OboleError:
    if line.read is None:
        return line.refusal
    try:
        voucher_id = vouchers.read(issuer, line.read["voucher"], audience=origin)
    except (errors.VoucherInvalid, errors.NotYourVoucher) as refusal:
        return refusal
    return Claim(voucher_id=voucher_id, captured_micros=line.read["amount"])


def _result(answer: redemptions.Redeemed | OboleError) -> dict[str, Any]:
    if isinstance(answer, OboleError):
        return problems.problem(answer)
    return {
        "outcome": answer.outcome.value,
        "voucher_id": str(answer.voucher_id),
        "captured": str(answer.captured),
        "currency": answer.captured.currency,
    }


def _json_lines() -> list[_Line]:
    return [_line(line) for line in load(Redemptions, json_body())["vouchers"]]


def _ndjson_lines() -> list[_Line]:
    # One more than there may be, so that it shows; blank lines between them are let pass, but not by the million.
    texts = request.get_data(cache=False).split(b"\n", 2 * MAX_REDEMPTIONS)
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise MalformedBody("At least one line is needed.")
    if len(texts) > MAX_REDEMPTIONS:
        raise ValidationFailed(errors={"vouchers": [f"At most {MAX_REDEMPTIONS} lines."]})
    lines = [_line_of(text) for text in texts]
    if all(isinstance(line.refusal, MalformedBody) for line in lines):
        raise lines[0].refusal
    return lines


def _line_of(text: bytes) -> _Line:
    try:
        value = read_json(text)
    except MalformedBody as refusal:
        return _Line(refusal=MalformedBody(refusal.detail.replace("The body", "The line", 1)))
    return _line(value)


def _line(value: Any) -> _Line:
    try:
        return _Line(read=load(Redemption, value))
    except OboleError as refusal:
        return _Line(refusal=refusal)


def _json(results: list[dict[str, Any]]) -> bytes:
    return dump({"results": results})


def _ndjson(results: list[dict[str, Any]]) -> bytes:
    return b"".join(dump(result) + b"\n" for result in results)

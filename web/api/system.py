"""The wallet about itself: alive, ready, its public keys, its metrics."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy import select

from wallet import writable
from wallet.ground import clock
from wallet.ground.db import is_migrated
from wallet.ground.errors import Unavailable
from wallet.tables.books import DayState, business_days
from wallet.tables.people import KeyKind
from web.http import metrics
from web.http.context import current
from web.http.fields import Answer
from web.http.operations import operation, respond

_JWKS = {
    "type": "object",
    "required": ["keys"],
    "properties": {
        "keys": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["kty", "crv", "x", "kid", "use"],
                "properties": {
                    "kty": {"const": "OKP"},
                    "crv": {"const": "Ed25519"},
                    "x": {"type": "string"},
                    "kid": {"type": "string"},
                    "use": {"const": "sig"},
                },
                "additionalProperties": False,
            },
        }
    },
}


class Status(Answer):
    """Alive, or ready."""

    status = fields.String(required=True, validate=validate.OneOf(["ok"]))


blueprint = Blueprint("system", __name__, description="The wallet about itself.")


@operation(blueprint, "GET", "/healthz", answer=Status)
def healthz() -> dict[str, Any]:
    """Alive: this process answers."""
    return {"status": "ok"}


@operation(blueprint, "GET", "/readyz", answer=Status)
def readyz() -> dict[str, Any]:
    """Ready: the database answers and can be written to, its schema is the one this code was written for, the books are
    open, and there is room in the folders of the wallet."""
    obole = current()
    with obole.database.read() as conn:
        if not is_migrated(conn):
            raise Unavailable("The database's schema is another version's: migrate it.")
        is_open = business_days.c.state == DayState.OPEN.value
        if conn.execute(select(business_days.c.business_date).where(is_open)).one_or_none() is None:
            raise Unavailable("No business day is open.")
    writable.check(obole.database, obole.settings)
    return {"status": "ok"}


@operation(blueprint, "GET", "/.well-known/jwks.json", answer={"application/json": _JWKS})
def jwks() -> Response:
    """The wallet's public keys (RFC 7517), past ones included while their vouchers may live."""
    obole = current()
    keys = obole.keyring.public_jwks(now=clock.now(), keep=obole.settings.longest_hold)
    response = respond(keys)
    # A verifier that meets an unknown kid asks again; until then five minutes are no risk: keys are only
    # added.
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


@operation(
    blueprint,
    "GET",
    "/metrics",
    callers=[KeyKind.OPERATOR],
    answer={"text/plain": {"type": "string"}},
)
def get_metrics() -> Response:
    """Figures for Prometheus: requests of all worker processes, and the books as they stand."""
    obole = current()
    with obole.database.read() as conn:
        body = metrics.exposition(conn, is_writable=writable.is_so(obole.database, obole.settings))
    return Response(body, content_type=metrics.CONTENT_TYPE)

"""Who may pay from a purse: its devices, and its keys for programs."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import fields, validate
from sqlalchemy.engine import Row

from wallet.ground import clock, errors
from wallet.ground.clock import rfc3339
from wallet.ground.errors import ValidationFailed
from wallet.keys.jws import public_jwk
from wallet.people import api_keys
from wallet.purses import purses
from wallet.purses.limits import Caps
from wallet.tables.people import KeyKind
from web.api.keys import KeyList, KeyShown, key_list, key_shown, when
from web.http import bodies
from web.http.context import current
from web.http.fields import (
    LABEL_FIELD,
    Amount,
    Answer,
    Id,
    Instant,
    PublicKey,
    Strict,
    Text,
    identity,
    instant,
    text,
)
from web.http.operations import operation

MAX_CAP_MERCHANTS = 1_000


class NewDevice(Strict):
    """A device that may sign orders."""

    public_key = PublicKey(required=True)
    label = Text(100, required=True, metadata=LABEL_FIELD)


class NewPayingKey(Strict):
    """A key for a program that pays, with its caps in the purse's currency; what is left out binds
    nothing."""

    label = Text(100, required=True, metadata=LABEL_FIELD)
    per_purchase = Amount(positive=False, load_default=None)
    per_day = Amount(positive=False, load_default=None, metadata={"description": "Per UTC day."})
    merchants = fields.List(
        Id(),
        validate=validate.Length(1, MAX_CAP_MERCHANTS),
        load_default=list,
        metadata={"uniqueItems": True},
    )
    valid_until = Instant(load_default=None)


class DeviceView(Answer):
    """A device; its id is the ``kid`` of its orders."""

    id = identity()
    label = text()
    public_key = fields.Dict(required=True)
    added_at = instant()
    revoked_at = instant(allow_none=True)


class DeviceList(Answer):
    items = fields.List(fields.Nested(DeviceView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


blueprint = Blueprint("devices", __name__, description="Who may pay from a purse: devices, and keys for programs.")


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/devices",
    callers=[KeyKind.PURSE],
    body=NewDevice,
    status=201,
    answer=DeviceView,
    refuses=[errors.AlreadyExists],
)
def add_device(purse_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Let a device sign orders for this purse."""
    with current().database.write() as conn:
        return _device(purses.add_device(conn, purse_id, **body, at=clock.now()))


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>/devices",
    callers=[KeyKind.PURSE],
    answer=DeviceList,
)
def list_devices(purse_id: UUID) -> dict[str, Any]:
    """The purse's devices, oldest first, revoked ones included."""
    with current().database.read() as conn:
        return {"items": [_device(row) for row in purses.devices_of(conn, purse_id)], "next_cursor": None}


@operation(
    blueprint,
    "DELETE",
    "/v1/purses/<uuid:purse_id>/devices/<uuid:device_id>",
    callers=[KeyKind.PURSE],
    status=204,
    refuses=[errors.DeviceNotFound],
)
def revoke_device(purse_id: UUID, device_id: UUID) -> None:
    """Take no more orders from a device."""
    with current().database.write() as conn:
        purses.revoke_device(conn, purse_id, device_id, at=clock.now())


@operation(
    blueprint,
    "POST",
    "/v1/purses/<uuid:purse_id>/keys",
    callers=[KeyKind.PURSE],
    body=NewPayingKey,
    # With its merchants by id.
    most_body_bytes=bodies.SMALL,
    status=201,
    answer=KeyShown,
    refuses=[errors.MerchantNotFound],
)
def issue_paying_key(purse_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """A key for a program that pays from this purse, within caps; shown this once."""
    at = clock.now()
    if body["valid_until"] is not None and body["valid_until"] <= at:
        raise ValidationFailed(errors={"valid_until": ["In the future."]})
    caps = Caps(
        per_purchase_micros=body["per_purchase"],
        per_day_micros=body["per_day"],
        valid_until=body["valid_until"],
        merchant_ids=frozenset(body["merchants"]),
    )
    with current().database.write() as conn:
        key_id, token = api_keys.issue(
            conn, KeyKind.PURSE_PAY, owner_id=purse_id, label=body["label"], at=at, caps=caps
        )
    return key_shown(key_id, KeyKind.PURSE_PAY, body["label"], token)


@operation(
    blueprint,
    "GET",
    "/v1/purses/<uuid:purse_id>/keys",
    callers=[KeyKind.PURSE],
    answer=KeyList,
)
def list_purse_keys(purse_id: UUID) -> dict[str, Any]:
    """The purse's keys, oldest first, revoked ones included."""
    with current().database.read() as conn:
        return key_list(api_keys.listing(conn, purse_id), purses.view(conn, purse_id).currency)


@operation(
    blueprint,
    "DELETE",
    "/v1/purses/<uuid:purse_id>/keys/<uuid:key_id>",
    callers=[KeyKind.PURSE],
    status=204,
    refuses=[errors.KeyNotFound],
)
def revoke_purse_key(purse_id: UUID, key_id: UUID) -> None:
    """End one of the purse's keys, at once and for good."""
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=purse_id, at=clock.now())


def _device(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "label": row.label,
        "public_key": public_jwk(row.public_key, str(row.id)),
        "added_at": rfc3339(row.added_at),
        "revoked_at": when(row.revoked_at),
    }

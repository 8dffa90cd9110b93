"""Webhooks for a merchant's program: where to send them, what was sent and what came of it, and once more."""

import json
from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import fields
from sqlalchemy.engine import Row

from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import AlreadyExists, WebhookNotFound
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from wallet.tables.telling import DeliveryState
from wallet.telling.webhooks import endpoints, events
from wallet.telling.webhooks.events import Delivery, Event, EventType
from web.http.context import current
from web.http.fields import Answer, Empty, Page, Strict, Text, identity, instant, one_of, text
from web.http.operations import operation
from web.http.paging import page


class NewWebhookEndpoint(Strict):
    """Where to tell a merchant's server of what happens."""

    url = Text(
        2_000,
        required=True,
        pattern=r"^https?://[!-~]+$",
        wanted="An address such as https://shop.example/webhooks.",
        metadata={"description": "https; http only to the machine of a wallet that is tried out."},
    )


class WebhookEndpointView(Answer):
    """An endpoint, without its secret."""

    id = identity()
    url = text()
    created_at = instant()


class WebhookEndpointShown(WebhookEndpointView):
    """An endpoint and its secret, for the signatures of Standard Webhooks. It is shown this once."""

    secret = fields.String(required=True, metadata={"pattern": "^whsec_[A-Za-z0-9+/]{43}=$"})


class WebhookEndpointList(Answer):
    items = fields.List(fields.Nested(WebhookEndpointView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class WebhookAttemptView(Answer):
    """One try: what the merchant's server answered, or why there was no answer."""

    attempted_at = instant()
    status = fields.Integer(required=True, allow_none=True)
    failure = text(allow_none=True)
    milliseconds = fields.Integer(required=True)


class WebhookDeliveryView(Answer):
    """How one endpoint heard of an event, and when it is tried again."""

    endpoint_id = identity()
    url = text()
    state = fields.String(required=True, validate=one_of(DeliveryState))
    next_at = instant(allow_none=True)
    attempts = fields.List(fields.Nested(WebhookAttemptView), required=True)


class WebhookEventView(Answer):
    """What happened; ``payload`` is what is sent, and ``id`` its ``webhook-id``."""

    id = identity()
    type = fields.String(required=True, validate=one_of(EventType))
    occurred_at = instant()
    payload = fields.Dict(required=True)
    deliveries = fields.List(fields.Nested(WebhookDeliveryView), required=True)


class WebhookEventList(Answer):
    items = fields.List(fields.Nested(WebhookEventView), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


blueprint = Blueprint("webhooks", __name__, description="Merchants' servers are told what happened, signed.")


@operation(
    blueprint,
    "POST",
    "/v1/webhook-endpoints",
    callers=[KeyKind.MERCHANT],
    body=NewWebhookEndpoint,
    status=201,
    answer=WebhookEndpointShown,
    refuses=[AlreadyExists],
)
def register_webhook_endpoint(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """Tell this address of the merchant's events from now on; its secret is shown this once."""
    obole = current()
    with obole.database.write() as conn:
        is_local = obole.settings.is_local
        row = endpoints.register(conn, caller.owner_id, body["url"], clock.now(), allow_loopback=is_local)
    return _shown(row)


@operation(
    blueprint,
    "GET",
    "/v1/webhook-endpoints",
    callers=[KeyKind.MERCHANT],
    answer=WebhookEndpointList,
)
def list_webhook_endpoints(caller: Caller) -> dict[str, Any]:
    """The merchant's endpoints, oldest first; there are at most ten."""
    with current().database.read() as conn:
        rows = endpoints.listing(conn, caller.owner_id)
    return {"items": [_endpoint(row) for row in rows], "next_cursor": None}


@operation(
    blueprint,
    "DELETE",
    "/v1/webhook-endpoints/<uuid:endpoint_id>",
    callers=[KeyKind.MERCHANT],
    status=204,
    refuses=[WebhookNotFound],
)
def remove_webhook_endpoint(caller: Caller, endpoint_id: UUID) -> None:
    """Send nothing more there, not even what waits to be sent again."""
    with current().database.write() as conn:
        endpoints.remove(conn, caller.owner_id, endpoint_id, clock.now())


@operation(
    blueprint,
    "POST",
    "/v1/webhook-endpoints/<uuid:endpoint_id>/rotate",
    callers=[KeyKind.MERCHANT],
    body=Empty,
    body_required=False,
    answer=WebhookEndpointShown,
    refuses=[WebhookNotFound],
)
def rotate_webhook_secret(caller: Caller, endpoint_id: UUID) -> dict[str, Any]:
    """A new secret, shown this once. Until the next rotation, what is sent is signed with both."""
    with current().database.write() as conn:
        return _shown(endpoints.rotate_secret(conn, caller.owner_id, endpoint_id))


@operation(
    blueprint,
    "POST",
    "/v1/webhook-endpoints/<uuid:endpoint_id>/ping",
    callers=[KeyKind.MERCHANT],
    body=Empty,
    body_required=False,
    status=202,
    answer=WebhookEventView,
    refuses=[WebhookNotFound],
)
def ping_webhook_endpoint(caller: Caller, endpoint_id: UUID) -> dict[str, Any]:
    """Send an event that says nothing but that it arrived."""
    with current().database.write() as conn:
        event_id = events.ping(conn, caller.owner_id, endpoint_id, at=clock.now())
        return _event(events.find(conn, caller.owner_id, event_id))


@operation(
    blueprint,
    "GET",
    "/v1/webhook-events",
    callers=[KeyKind.MERCHANT],
    query=Page,
    answer=WebhookEventList,
)
def list_webhook_events(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """What happened, newest first, with every try to tell of it."""
    with current().database.read() as conn:
        return page(
            f"webhook-events:{caller.owner_id}",
            query,
            UUID,
            lambda before, limit: events.history(conn, caller.owner_id, before, limit),
            _event,
        )


@operation(
    blueprint,
    "POST",
    "/v1/webhook-events/<uuid:event_id>/replay",
    callers=[KeyKind.MERCHANT],
    body=Empty,
    body_required=False,
    status=202,
    answer=WebhookEventView,
    refuses=[WebhookNotFound],
)
def replay_webhook_event(caller: Caller, event_id: UUID) -> dict[str, Any]:
    """Send an event again, under the same id, to every endpoint there is now."""
    with current().database.write() as conn:
        events.replay(conn, caller.owner_id, event_id, clock.now())
        return _event(events.find(conn, caller.owner_id, event_id))


def _endpoint(row: Row[Any]) -> dict[str, Any]:
    return {"id": str(row.id), "url": row.url, "created_at": rfc3339(row.created_at)}


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {**_endpoint(row), "secret": endpoints.secret(current().keyring, row)}


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "type": event.type,
        "occurred_at": rfc3339(event.occurred_at),
        "payload": json.loads(event.payload),
        "deliveries": [_delivery(delivery) for delivery in event.deliveries],
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "endpoint_id": str(delivery.endpoint_id),
        "url": delivery.url,
        "state": delivery.state.value,
        "next_at": None if delivery.next_at is None else rfc3339(delivery.next_at),
        "attempts": [
            {
                "attempted_at": rfc3339(attempt.attempted_at),
                "status": attempt.status,
                "failure": attempt.failure,
                "milliseconds": attempt.milliseconds,
            }
            for attempt in delivery.attempts
        ],
    }

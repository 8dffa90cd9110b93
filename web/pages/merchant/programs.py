"""What the shop's programs need: keys to call with, and webhooks that call back."""

from uuid import UUID

from flask import Response
from flask.typing import ResponseReturnValue

from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.people import api_keys
from wallet.tables.people import KeyKind
from wallet.telling import outbound
from wallet.telling.outbound import Failure
from wallet.telling.webhooks import endpoints, events
from web.http.context import current
from web.http.fields import Strict, Text
from web.pages import forms
from web.pages.lists import PAGE, beyond, one_page
from web.pages.merchant.seat import blueprint, merchant, merchant_id, ours, ours_proved, show
from web.pages.page import go, say, tell


class NewKey(Strict):
    """What a key is called."""

    label = Text(100, required=True)


class NewEndpoint(Strict):
    """Where events are sent."""

    url = Text(outbound.MAX_URL_CHARS, required=True)


# --- keys --------------------------------------------------------------------------------------------------


@blueprint.get("/merchant/keys")
@ours
def keys() -> ResponseReturnValue:
    """The merchant's keys, revoked ones too."""
    return _keys()


@blueprint.post("/merchant/keys")
@ours_proved
def new_key() -> ResponseReturnValue:
    """Make a key. It is in this answer and nowhere else, so there is no page to be redirected to."""
    try:
        label = forms.read(NewKey)["label"]
        with current().database.write() as conn:
            _, token = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id(), label=label, at=clock.now())
    except OboleError as refusal:
        return _keys(refusal=refusal)
    return _keys(token=token)


@blueprint.post("/merchant/keys/<uuid:key_id>/revoke")
@ours
def revoke_key(key_id: UUID) -> ResponseReturnValue:
    """End a key at once."""
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=merchant_id(), at=clock.now())
    tell("The key is revoked: no program gets in with it any more.")
    return go("/merchant/keys")


# --- webhooks ----------------------------------------------------------------------------------------------


@blueprint.get("/merchant/webhooks")
@ours
def webhooks() -> ResponseReturnValue:
    """Where events are sent, and the last of them."""
    return _endpoints()


@blueprint.post("/merchant/webhooks")
@ours_proved
def new_endpoint() -> ResponseReturnValue:
    """Send events to one more address; its secret is in this answer only."""
    obole = current()
    try:
        url = forms.read(NewEndpoint)["url"]
        with obole.database.write() as conn:
            row = endpoints.register(conn, merchant_id(), url, clock.now(), allow_loopback=obole.settings.is_local)
    except OboleError as refusal:
        return _endpoints(refusal=refusal)
    return _endpoints(secret=endpoints.secret(obole.keyring, row), url=row.url)


@blueprint.post("/merchant/webhooks/<uuid:endpoint_id>/rotate")
@ours_proved
def rotate_secret(endpoint_id: UUID) -> ResponseReturnValue:
    """A new secret, in this answer only; until the next rotation events are signed with both."""
    obole = current()
    with obole.database.write() as conn:
        row = endpoints.rotate_secret(conn, merchant_id(), endpoint_id)
    return _endpoints(secret=endpoints.secret(obole.keyring, row), url=row.url)


@blueprint.post("/merchant/webhooks/<uuid:endpoint_id>/ping")
@ours
def ping(endpoint_id: UUID) -> ResponseReturnValue:
    """Send an event that says nothing but that it arrived."""
    with current().database.write() as conn:
        event_id = events.ping(conn, merchant_id(), endpoint_id, at=clock.now())
    return go(f"/merchant/webhooks/events/{event_id}")


@blueprint.post("/merchant/webhooks/<uuid:endpoint_id>/remove")
@ours
def remove_endpoint(endpoint_id: UUID) -> ResponseReturnValue:
    """Send nothing there any more."""
    with current().database.write() as conn:
        endpoints.remove(conn, merchant_id(), endpoint_id, clock.now())
    tell("Nothing is sent there any more.")
    return go("/merchant/webhooks")


@blueprint.get("/merchant/webhooks/events/<uuid:event_id>")
@ours
def event(event_id: UUID) -> ResponseReturnValue:
    """One event: what is sent, and every try."""
    row = merchant()
    with current().database.read() as conn:
        found = events.find(conn, row.id, event_id)
    return show("event.html", row, event=found, payload=found.payload.decode(), failures=_failures())


@blueprint.post("/merchant/webhooks/events/<uuid:event_id>/replay")
@ours
def replay(event_id: UUID) -> ResponseReturnValue:
    """Send an event again, to every endpoint there is now."""
    with current().database.write() as conn:
        events.replay(conn, merchant_id(), event_id, clock.now())
    tell("The event is sent again.")
    return go(f"/merchant/webhooks/events/{event_id}")


def _failures() -> dict[str, str]:
    """Why a server gave no answer, in the reader's words."""
    return {
        Failure.UNREACHABLE: say("The server cannot be reached at a public address."),
        Failure.CERTIFICATE: say("The server's certificate does not hold."),
        Failure.TLS: say("The server does not speak TLS."),
        Failure.LATE: say("The server did not answer in time."),
        Failure.BROKEN: say("The server's answer is not HTTP, or broke off."),
    }


def _keys(*, refusal: OboleError | None = None, token: str | None = None) -> Response:
    row = merchant()
    with current().database.read() as conn:
        listed = list(api_keys.listing(conn, row.id))
    return _unkept(show("keys.html", row, refusal=refusal, keys=listed[::-1], token=token))


def _endpoints(*, refusal: OboleError | None = None, secret: str | None = None, url: str | None = None) -> Response:
    row, before = merchant(), beyond()
    with current().database.read() as conn:
        listed = endpoints.listing(conn, row.id)
        happened, last = one_page(events.history(conn, row.id, before, PAGE + 1))
    return _unkept(
        show(
            "webhooks.html",
            row,
            refusal=refusal,
            endpoints=listed,
            events=happened,
            more=None if last is None else last.id,
            secret=secret,
            url=url,
        )
    )


def _unkept(response: Response) -> Response:
    """What may hold a secret is kept by no cache, nor shown again by the back button."""
    response.headers["Cache-Control"] = "no-store"
    return response

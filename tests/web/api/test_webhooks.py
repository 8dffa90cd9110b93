"""Webhooks over HTTP: what a merchant's program can ask for, and the events it then hears."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support import Merchant, Shop, created, refused
from tests.wallet.receiver import Receiver, receiver
from wallet.ground import clock
from wallet.telling.webhooks import deliver, endpoints, events

PAID = {"checkout_id": "c1", "amount": "0.20", "currency": "EUR"}


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant("bakery")


def register(shop: Shop, merchant: Merchant, url: str) -> dict[str, str]:
    """An endpoint on this machine, which only a wallet on this machine may tell: so not over HTTP."""
    with shop.database.write() as conn:
        row = endpoints.register(conn, merchant.id, url, clock.now(), allow_loopback=True)
    return {"id": str(row.id), "secret": endpoints.secret(shop.obole.keyring, row)}


def emit(shop: Shop, merchant: Merchant) -> None:
    with shop.database.write() as conn:
        events.emit(conn, merchant.id, "checkout.paid", PAID, at=clock.now())


def delivered(shop: Shop) -> int:
    return deliver.deliver(shop.database, shop.obole.keyring, now=clock.now, allow_loopback=True)


def listed(shop: Shop, merchant: Merchant, **query: object) -> dict[str, Any]:
    return created(shop.get("/v1/webhook-events", token=merchant.token, **query), status=200)


def test_an_endpoint_is_registered_listed_without_its_secret_and_removed(shop: Shop, bakery: Merchant) -> None:
    url = "https://bakery.example/hooks?from=obole"
    endpoint = created(shop.post("/v1/webhook-endpoints", {"url": url}, token=bakery.token))
    assert endpoint["url"] == url
    listed = {name: endpoint[name] for name in ("id", "url", "created_at")}
    assert created(shop.get("/v1/webhook-endpoints", token=bakery.token), status=200)["items"] == [listed]
    refused(shop.post("/v1/webhook-endpoints", {"url": url}, token=bakery.token), 409, "already_exists")
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    refused(shop.delete(path, token=shop.merchant().token), 404, "webhook_not_found")
    assert shop.delete(path, token=bakery.token).status_code == 204
    refused(shop.delete(path, token=bakery.token), 404, "webhook_not_found")
    refused(shop.post(f"{path}/ping", {}, token=bakery.token), 404, "webhook_not_found")
    assert created(shop.get("/v1/webhook-endpoints", token=bakery.token), status=200)["items"] == []


def test_a_wallet_in_the_world_tells_no_machine_of_its_own(shop: Shop, bakery: Merchant, server: Receiver) -> None:
    for url in (server.url, "http://bakery.example/", "https://me@bakery.example/", "hooks"):
        answer = shop.post("/v1/webhook-endpoints", {"url": url}, token=bakery.token)
        assert list(refused(answer, 422, "validation_failed")["errors"]) == ["url"]


def test_a_rotated_secret_is_another_and_signs_what_comes(shop: Shop, bakery: Merchant, server: Receiver) -> None:
    endpoint = register(shop, bakery, server.url)
    rotated = created(shop.post(f"/v1/webhook-endpoints/{endpoint['id']}/rotate", token=bakery.token), status=200)
    assert rotated["id"] == endpoint["id"]
    assert rotated["secret"] != endpoint["secret"]
    ping = created(shop.post(f"/v1/webhook-endpoints/{endpoint['id']}/ping", token=bakery.token), status=202)
    assert delivered(shop) == 1
    assert server.heard[0].verified(rotated["secret"]) == ping["payload"]


def test_every_event_is_listed_with_every_try_and_can_be_sent_again(
    shop: Shop, bakery: Merchant, server: Receiver
) -> None:
    register(shop, bakery, server.url)
    server.answers = [503]
    emit(shop, bakery)
    assert delivered(shop) == 0
    (event,) = listed(shop, bakery)["items"]
    assert (event["type"], event["payload"]["data"]) == ("checkout.paid", PAID)
    (delivery,) = event["deliveries"]
    assert (delivery["state"], delivery["url"]) == ("pending", server.url)
    assert delivery["next_at"] > delivery["attempts"][0]["attempted_at"]
    assert [attempt["status"] for attempt in delivery["attempts"]] == [503]
    path = f"/v1/webhook-events/{event['id']}/replay"
    refused(shop.post(path, token=shop.merchant().token), 404, "webhook_not_found")
    refused(shop.post(f"/v1/webhook-events/{uuid4()}/replay", token=bakery.token), 404, "webhook_not_found")
    created(shop.post(path, token=bakery.token), status=202)
    assert delivered(shop) == 1
    (delivery,) = listed(shop, bakery)["items"][0]["deliveries"]
    assert (delivery["state"], delivery["next_at"]) == ("delivered", None)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [503, 204]
    assert len({heard.headers["webhook-id"] for heard in server.heard}) == 1


def test_events_come_in_pages_newest_first(shop: Shop, bakery: Merchant, server: Receiver) -> None:
    register(shop, bakery, server.url)
    for _ in range(5):
        emit(shop, bakery)
    whole = [event["id"] for event in listed(shop, bakery)["items"]]
    assert whole == sorted(whole, reverse=True)
    seen, cursor = [], None
    while True:
        page = listed(shop, bakery, limit=2, **({} if cursor is None else {"cursor": cursor}))
        seen += [event["id"] for event in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole
    other = shop.merchant()
    assert listed(shop, other)["items"] == []


def test_only_merchants_have_webhooks(shop: Shop) -> None:
    for token in (shop.operator, shop.purse().token):
        refused(shop.get("/v1/webhook-endpoints", token=token), 403, "key_scope")
        refused(shop.get("/v1/webhook-events", token=token), 403, "key_scope")

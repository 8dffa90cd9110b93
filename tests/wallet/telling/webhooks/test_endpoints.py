"""Endpoints: which addresses may be one, how many there are, and whose they are."""

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.wallet.receiver import Receiver
from tests.wallet.scene import Scene
from tests.wallet.telling.conftest import Merchant
from wallet.ground.errors import AlreadyExists, ValidationFailed, WebhookNotFound
from wallet.keys.ring import Keyring
from wallet.telling.webhooks import endpoints, events


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "ftp://shop.example/",
        "https:///hooks",
        "https://me@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:0/",
        "https://shop.example:70000/",
        "https://shop.example/\r\nX: y",
        "https://shop.example/é",
        "https://[::1",
        "https://shop.example/" + "x" * 2_000,
        "shop.example",
    ],
)
def test_an_address_is_https_to_a_host(merchant: Merchant, url: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        merchant.register(url)
    assert list(refusal.value.errors or {}) == ["url"]


def test_http_is_for_a_wallet_on_this_machine_only(merchant: Merchant) -> None:
    with pytest.raises(ValidationFailed), merchant.db.write() as conn:
        endpoints.register(conn, merchant.id, "http://localhost:8001/hooks", merchant.at)


def test_ten_endpoints_are_enough_and_each_is_there_once(merchant: Merchant) -> None:
    for number in range(10):
        merchant.register(f"https://shop.example/{number}")
    with pytest.raises(AlreadyExists):
        merchant.register("https://shop.example/0")
    with pytest.raises(ValidationFailed):
        merchant.register("https://shop.example/10")
    with merchant.db.write() as conn:
        (first, *_) = endpoints.listing(conn, merchant.id)
        endpoints.remove(conn, merchant.id, first.id, merchant.at)
    merchant.register("https://shop.example/10")


def test_what_is_anothers_is_not_there(scene: Scene, keyring: Keyring, merchant: Merchant, server: Receiver) -> None:
    endpoint, other = merchant.register(server.url), scene.merchant().id
    event_id = merchant.emit()
    assert event_id is not None
    with merchant.db.write() as conn:
        for attempt in (
            lambda: endpoints.remove(conn, other, endpoint.id, merchant.at),
            lambda: endpoints.rotate_secret(conn, other, endpoint.id),
            lambda: events.ping(conn, other, endpoint.id, at=merchant.at),
            lambda: events.replay(conn, other, event_id, merchant.at),
        ):
            with pytest.raises(WebhookNotFound):
                attempt()
        assert list(events.history(conn, other, None, 10)) == []


def test_after_a_rotation_both_secrets_hold_until_the_next(
    merchant: Merchant, server: Receiver, keyring: Keyring
) -> None:
    endpoint = merchant.register(server.url)
    secrets = [endpoints.secret(keyring, endpoint)]
    for _ in range(2):
        with merchant.db.write() as conn:
            secrets.append(endpoints.secret(keyring, endpoints.rotate_secret(conn, merchant.id, endpoint.id)))
        merchant.emit()
        merchant.deliver()
    first, second = server.heard
    for heard, held in ((first, secrets[:2]), (second, secrets[1:])):
        for secret in held:
            heard.verified(secret)
    with pytest.raises(WebhookVerificationError):
        second.verified(secrets[0])
    with pytest.raises(WebhookVerificationError):
        first.verified(secrets[2])


def test_a_removed_endpoint_hears_nothing_of_what_waited(merchant: Merchant, server: Receiver) -> None:
    endpoint = merchant.register(server.url)
    merchant.emit()
    with merchant.db.write() as conn:
        endpoints.remove(conn, merchant.id, endpoint.id, merchant.at)
    assert merchant.deliver() == 0
    assert server.heard == []


def test_gone_means_never_again(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    merchant.emit()
    merchant.emit()
    server.answers = [410]
    assert merchant.deliver() == 0
    assert merchant.emit() is None
    assert merchant.deliver() == 0
    assert len(server.heard) == 1
    assert [event.deliveries[0].state for event in merchant.history()] == ["failed", "failed"]

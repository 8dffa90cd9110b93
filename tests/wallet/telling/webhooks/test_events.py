"""Events: what is told, to whom, and told again."""

import json

import pytest

from tests.wallet.receiver import Receiver, receiver
from tests.wallet.telling.conftest import PAID, Merchant
from wallet.telling.webhooks import events


def test_what_was_rolled_back_or_has_no_endpoint_tells_nobody(merchant: Merchant, server: Receiver) -> None:
    assert merchant.emit() is None
    merchant.register(server.url)
    with merchant.db.write() as conn:
        events.emit(conn, merchant.id, "checkout.paid", PAID, at=merchant.at)
        conn.rollback()
    with pytest.raises(ValueError, match="lost"):
        merchant.emit("checkout.lost")
    assert merchant.deliver() == 0
    assert merchant.history() == []


def test_a_replay_tells_every_endpoint_there_is_now_under_the_same_id(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    event_id = merchant.emit()
    assert event_id is not None
    merchant.deliver()
    with receiver() as newer:
        merchant.register(newer.url)
        with merchant.db.write() as conn:
            events.replay(conn, merchant.id, event_id, merchant.at)
        assert merchant.deliver() == 2
        assert [len(server.heard), len(newer.heard)] == [2, 1]
        assert {heard.headers["webhook-id"] for heard in (*server.heard, *newer.heard)} == {str(event_id)}
    (event,) = merchant.history()
    assert [len(delivery.attempts) for delivery in event.deliveries] == [2, 1]


def test_a_ping_goes_to_one_endpoint(merchant: Merchant, server: Receiver) -> None:
    with receiver() as other:
        merchant.register(other.url)
        endpoint = merchant.register(server.url)
        with merchant.db.write() as conn:
            events.ping(conn, merchant.id, endpoint.id, at=merchant.at)
        assert merchant.deliver() == 1
        assert other.heard == []
    assert json.loads(server.heard[0].body)["type"] == "ping"

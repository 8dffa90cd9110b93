"""Delivering, to real servers: what is signed, and what is sent again and when."""

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.wallet.receiver import Receiver
from tests.wallet.telling.conftest import PAID, Merchant
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.keys.ring import Keyring
from wallet.telling import outbound
from wallet.telling.outbound import Failure
from wallet.telling.webhooks import endpoints


def test_an_event_arrives_signed_as_any_library_checks_it(
    merchant: Merchant, server: Receiver, keyring: Keyring
) -> None:
    endpoint = merchant.register(server.url)
    event_id = merchant.emit()
    assert merchant.deliver() == 1
    (heard,) = server.heard
    assert heard.path == "/hooks?shop=1"
    assert heard.headers["webhook-id"] == str(event_id)
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.verified(endpoints.secret(keyring, endpoint)) == {
        "type": "checkout.paid",
        "timestamp": clock.rfc3339(merchant.at),
        "data": PAID,
    }
    ((event),) = merchant.history()
    (delivery,) = event.deliveries
    assert (event.id, event.payload, delivery.state, delivery.next_at) == (event_id, heard.body, "delivered", None)
    assert [(each.status, each.failure, each.attempted_at) for each in delivery.attempts] == [(204, None, merchant.at)]
    assert merchant.deliver() == 0


def test_a_server_in_trouble_is_tried_ten_times_over_three_days(merchant: Merchant, server: Receiver) -> None:
    merchant.register(server.url)
    merchant.emit()
    server.answers = [500, 302, 404, *[503] * 7]
    waits = []
    while (delivery := merchant.history()[0].deliveries[0]).next_at is not None:
        waits.append(int((delivery.next_at - merchant.at).total_seconds()))
        merchant.at = delivery.next_at - dt.timedelta(seconds=1)
        merchant.deliver()
        assert len(server.heard) == len(delivery.attempts), "it was sent before it was due"
        merchant.at = delivery.next_at
        assert merchant.deliver() == 0
    assert waits == [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert delivery.state == "failed"
    assert [each.status for each in delivery.attempts] == [500, 302, 404, *[503] * 7]
    assert {heard.path for heard in server.heard} == {"/hooks?shop=1"}, "a redirect was followed"
    assert (
        len({heard.body for heard in server.heard}) == len({heard.headers["webhook-id"] for heard in server.heard}) == 1
    )
    assert len({heard.headers["webhook-signature"] for heard in server.heard}) == 10, "each try is signed with its time"


def test_two_schedulers_tell_of_each_event_once(merchant: Merchant, server: Receiver, database_url: str) -> None:
    merchant.register(server.url)
    for _ in range(6):
        merchant.emit()
    other, both = Database(database_url), threading.Barrier(2)

    def deliver(database: Database) -> int:
        both.wait(30)
        return merchant.deliver(database=database)

    with ThreadPoolExecutor(2) as schedulers:
        assert sum(schedulers.map(deliver, [merchant.db, other])) == 6
    other.dispose()
    assert len({heard.headers["webhook-id"] for heard in server.heard}) == len(server.heard) == 6


def test_a_slow_server_hears_of_each_event_at_the_instant_of_its_own_try(merchant: Merchant, server: Receiver) -> None:
    def meanwhile() -> None:
        merchant.at += dt.timedelta(minutes=4)

    server.meanwhile = meanwhile
    merchant.register(server.url)
    for _ in range(3):
        merchant.emit()
    began = merchant.at
    assert merchant.deliver() == 3
    instants = [began + number * dt.timedelta(minutes=4) for number in range(3)]
    said = [int(heard.headers["webhook-timestamp"]) for heard in server.heard]
    assert said == [int(at.timestamp()) for at in instants]
    assert [event.deliveries[0].attempts[0].attempted_at for event in reversed(merchant.history())] == instants


@contextmanager
def dripping() -> Iterator[str]:
    """A server that answers a byte at a time and never comes to an end."""
    listener, done = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not done.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    done.set()
    thread.join()
    listener.close()


def test_a_server_that_never_comes_to_an_end_is_cut_off_and_holds_nobody_up(
    merchant: Merchant, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "TIMEOUT_SECONDS", 1)
    with dripping() as url:
        merchant.register(url)
        merchant.register(server.url)
        for _ in range(3):
            merchant.emit()
        assert merchant.deliver() == 3
    first, *others = reversed(merchant.history())
    (attempt,) = first.deliveries[0].attempts
    assert [event.deliveries[0].attempts for event in others] == [[], []], "it was left in peace after the first"
    assert attempt.failure == Failure.LATE
    assert 900 <= attempt.milliseconds < 5_000

"""A merchant with endpoints, and a server of theirs that hears."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.wallet.receiver import Receiver, receiver
from tests.wallet.scene import Scene
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.keys.ring import Keyring
from wallet.telling.webhooks import deliver, endpoints, events
from wallet.telling.webhooks.events import Event

PAID = {"checkout_id": "c1", "amount": "0.20", "currency": "EUR", "description": "L’été"}


class Merchant:
    """One merchant of a scene and its endpoints."""

    def __init__(self, scene: Scene, keyring: Keyring) -> None:
        self.db, self.keyring = scene.database, keyring
        self.id = scene.merchant().id
        self.at = clock.now()

    def register(self, url: str) -> Any:
        with self.db.write() as conn:
            return endpoints.register(conn, self.id, url, self.at, allow_loopback=True)

    def emit(self, event_type: str = "checkout.paid") -> UUID | None:
        with self.db.write() as conn:
            return events.emit(conn, self.id, event_type, PAID, at=self.at)

    def deliver(self, *, allow_loopback: bool = True, database: Database | None = None) -> int:
        return deliver.deliver(database or self.db, self.keyring, now=lambda: self.at, allow_loopback=allow_loopback)

    def history(self) -> list[Event]:
        with self.db.read() as conn:
            return list(events.history(conn, self.id, None, 50))


@pytest.fixture
def merchant(scene: Scene, keyring: Keyring) -> Merchant:
    return Merchant(scene, keyring)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running

"""Killed at any commit while letters and webhooks are sent: all are heard, and who hears one twice can tell."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
import sqlalchemy as sa

from tests.faults.ground import Ground, Point, dying_in, each_step
from tests.network import HOST, MailServer
from tests.support import Shop
from tests.wallet.receiver import Receiver, receiver
from wallet.ground import clock
from wallet.tables.telling import mails, webhook_deliveries
from wallet.telling import mail
from wallet.telling.webhooks import endpoints, events

pytestmark = pytest.mark.slow

COUNT = 3


class Office:
    """An SMTP server that keeps the ids of what it takes."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.ids.append(message_from_bytes(envelope.content)["Message-ID"])
        return "250 taken"


@pytest.fixture
def office(ground: Ground) -> Iterator[Office]:
    office = Office()
    controller = MailServer(office)
    controller.start()
    (ground.folder / "post").write_text(f"smtp://{HOST}:{controller.port}")
    yield office
    controller.stop()


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def waiting(ground: Ground, server: Receiver) -> Ground:
    """Letters in the mail, and as many events for one endpoint."""
    with Shop(ground.settings) as shop:
        merchant = shop.merchant()
        with shop.database.write() as conn:
            endpoints.register(conn, merchant.id, server.url, clock.now(), allow_loopback=True)
            for number in range(COUNT):
                recipient = f"shopper{number}@shoppers.example"
                mail.put(conn, recipient=recipient, subject="Bonjour", body="Hello", at=clock.now())
                events.emit(conn, merchant.id, "payout.booked", {"payout_id": str(number)}, at=clock.now())
    return ground


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_told_while_it_is_killed_at_any_step_is_heard_and_known_again(
    waiting: Ground, office: Office, server: Receiver, when: str
):
    def afterwards(point: Point) -> None:
        with point.database.write() as conn:
            # What the dead one had claimed is free again once its time is over.
            for table in (mails, webhook_deliveries):
                conn.execute(table.update().values(next_at=clock.now() - dt.timedelta(minutes=1)))
        assert not point.nursery.run("tell", point)
        for heard in (Counter(office.ids), Counter(each.headers["webhook-id"] for each in server.heard)):
            assert len(heard) == COUNT
            assert sorted(heard.values())[:-1] == [1] * (COUNT - 1), "only what was being sent is sent again"
            assert max(heard.values()) <= 2
        office.ids.clear()
        server.heard.clear()
        with point.database.read() as conn:
            states = [*conn.execute(sa.select(webhook_deliveries.c.state)).scalars()]
            assert [*conn.execute(sa.select(mails.c.state, mails.c.body))] == [("delivered", "")] * COUNT
        assert states == ["delivered"] * COUNT

    steps = each_step(waiting, when, dying_in("tell", when), afterwards)
    assert Counter(steps) == {"outbox._claim": 2 * COUNT, "outbox._note": 2 * COUNT}

"""Alerts: one letter each time the balance falls below, in the shopper's language, and none otherwise."""

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN
from tests.wallet.scene import HOUR, NOON
from wallet.funding import closing
from wallet.ground.errors import AmountInvalid, CurrencyMismatch, PurseNotFound
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import alerts
from wallet.tables.purses import shoppers
from wallet.tables.telling import mails


def put(scene, purse, below, currency="EUR"):
    with scene.database.write() as conn:
        alerts.put(conn, purse.id, below=Money.parse(below, currency))


def letters(scene):
    with scene.database.read() as conn:
        return conn.execute(sa.select(mails).order_by(mails.c.id)).all()


def send(scene):
    return alerts.send_due(scene.database, at=scene.at)


def test_one_letter_each_time_the_balance_falls_below(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    put(scene, alice, "5.00")
    scene.pay(alice, bakery, "5.00")
    assert send(scene) == 0  # five is not below five
    scene.pay(alice, bakery, "0.002")
    assert (send(scene), send(scene)) == (1, 0)
    scene.top_up(alice, "1.00")
    assert send(scene) == 0
    scene.pay(alice, bakery, "2.00")
    assert (send(scene), send(scene)) == (1, 0)
    first, second = letters(scene)
    assert first.recipient.startswith("shopper")
    assert "4,998\u00a0€" in first.subject
    assert "5,00\u00a0€" in first.body
    assert "3,998\u00a0€" in second.body


def test_a_balance_that_was_above_between_two_looks_counts_as_recovered_only_if_seen(scene):
    alice, bakery = scene.purse("1.00"), scene.merchant()
    put(scene, alice, "5.00")
    assert send(scene) == 1  # it is below already: that is news when the alert is set
    scene.top_up(alice, "10.00")
    scene.pay(alice, bakery, "10.00")
    assert send(scene) == 0
    put(scene, alice, "4.00")
    assert send(scene) == 1


def test_two_schedulers_that_saw_the_same_purse_send_one_letter(scene):
    put(scene, scene.purse("1.00"), "5.00")
    with scene.database.write() as conn:
        (row,) = conn.execute(alerts._DUE).all()
        assert [alerts._send(conn, row, scene.at) for _ in range(2)] == [1, 0]
    assert len(letters(scene)) == 1


def test_every_shopper_is_written_to_in_their_own_language(scene):
    alice, bob = scene.purse("1.00"), scene.purse("1.00")
    with scene.database.write() as conn:
        first = sa.select(sa.func.min(shoppers.c.email)).scalar_subquery()
        conn.execute(shoppers.update().where(shoppers.c.email == first).values(locale="en"))
    put(scene, alice, "5.00")
    put(scene, bob, "5.00")
    assert send(scene) == 2
    assert {letter.subject for letter in letters(scene)} == {
        "Your purse is running low: €1.00",
        "Votre porte-monnaie se vide\u00a0: 1,00\u00a0€",
    }


def test_a_letter_that_cannot_be_addressed_keeps_no_other_back(scene):
    alice, bob = scene.purse("1.00"), scene.purse("1.00")
    with scene.database.write() as conn:
        first = sa.select(sa.func.min(shoppers.c.email)).scalar_subquery()
        conn.execute(shoppers.update().where(shoppers.c.email == first).values(email="nowhere"))
    put(scene, alice, "5.00")
    put(scene, bob, "5.00")
    send(scene)
    assert [letter.recipient for letter in letters(scene)] == ["shopper2@shoppers.example"]


def test_nothing_is_sent_once_cleared_or_closed(scene):
    alice, bob = scene.purse("1.00"), scene.purse("1.00")
    put(scene, alice, "5.00")
    put(scene, bob, "5.00")
    with scene.database.write() as conn:
        alerts.clear(conn, alice.id)
        assert alerts.find(conn, alice.id) is None
        closing.begin(conn, bob.id, iban=SHOPPER_IBAN, name="Bob", at=NOON + HOUR)
    assert send(scene) == 0


def test_an_alert_is_for_an_amount_of_the_purse(scene):
    alice = scene.purse()
    with pytest.raises(AmountInvalid):
        put(scene, alice, "0")
    with pytest.raises(CurrencyMismatch):
        put(scene, alice, "1.00", "FRF")
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        alerts.put(conn, new_id(), below=Money.parse("1.00", "EUR"))

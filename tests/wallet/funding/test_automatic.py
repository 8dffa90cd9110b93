"""Automatic top-ups: asked for when low, one at a time, within the month's cap, and once whatever is killed."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN, make_settings
from tests.wallet.scene import DAY, NOON
from wallet.funding import automatic, closing
from wallet.funding import top_ups as top_up_room
from wallet.ground.errors import (
    AmountInvalid,
    AmountNotWholeMinor,
    CurrencyMismatch,
    CurrencyWithdrawn,
    PurseClosing,
    PurseNotFound,
    TopUpMethodUnavailable,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money, remember
from wallet.purses import purses
from wallet.tables.funding import TopUpMethod, top_ups


@pytest.fixture
def settings(tmp_path: Path, database_url: str):
    return make_settings(tmp_path, database_url)


@pytest.fixture
def ask(scene, settings):
    return lambda: automatic.request_due(scene.database, settings, at=scene.at)


def put(
    scene, settings, purse, *, below="5.00", amount="20.00", per_month="50.00", method=TopUpMethod.SANDBOX, of="EUR"
):
    below, amount, per_month = (Money.parse(text, of) for text in (below, amount, per_month))
    with scene.database.write() as conn:
        automatic.put(
            conn, settings, purse.id, below=below, amount=amount, per_month=per_month, method=method, at=scene.at
        )


def orders(settings):
    folder = settings.sandbox_folder / "orders"
    return sorted(json.loads(path.read_text())["id"] for path in folder.glob("*.json")) if folder.exists() else []


def announced(scene):
    with scene.database.read() as conn:
        return conn.execute(sa.select(top_ups).order_by(top_ups.c.id)).all()


def book(scene, purse, amount="20.00"):
    """The bank booked the last one: as reconciliation tells it."""
    with scene.database.write() as conn:
        automatic.arrived(conn, announced(scene)[-1].id)
    scene.top_up(purse, amount)


def spend(scene, purse, merchant):
    with scene.database.read() as conn:
        scene.pay(purse, merchant, str(purses.view(conn, purse.id).balance))


def test_it_asks_when_low_once_until_the_money_is_there_and_within_the_months_cap(scene, settings, ask):
    alice, bakery = scene.purse("5.00"), scene.merchant()
    put(scene, settings, alice)
    assert ask() == 0  # five is not below five
    spend(scene, alice, bakery)
    assert (ask(), ask()) == (1, 0)
    (first,) = announced(scene)
    assert (first.amount_micros, first.method, orders(settings)) == (20_000_000, "sandbox", [str(first.id)])
    book(scene, alice)
    assert ask() == 0
    spend(scene, alice, bakery)
    assert ask() == 1
    book(scene, alice)
    spend(scene, alice, bakery)
    assert ask() == 0  # a third would be 60.00 in a month of 50.00
    scene.at = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    assert (ask(), ask()) == (1, 0)
    assert len(orders(settings)) == 3


def test_a_kill_before_asking_or_before_noting_it_asks_for_the_same_one_again(scene, settings, ask, monkeypatch):
    put(scene, settings, scene.purse("0"))
    fetch = top_up_room.fetch

    def killed_before(*_, **__):
        raise KeyboardInterrupt

    def killed_after(*told, **named):
        fetch(*told, **named)
        raise KeyboardInterrupt

    for killed, asked in ((killed_before, 0), (killed_after, 1)):
        monkeypatch.setattr(top_up_room, "fetch", killed)
        with pytest.raises(KeyboardInterrupt):
            ask()
        assert (len(announced(scene)), len(orders(settings))) == (1, asked)
    monkeypatch.setattr(top_up_room, "fetch", fetch)
    assert (ask(), ask()) == (1, 0)
    assert orders(settings) == [str(row.id) for row in announced(scene)]
    assert len(orders(settings)) == 1


def test_what_never_arrives_is_waited_for_some_days(scene, settings, ask):
    scene.at = early = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
    put(scene, settings, scene.purse("0"))
    assert ask() == 1
    scene.at = early + 5 * DAY
    assert ask() == 0
    scene.at += dt.timedelta(seconds=1)
    assert (ask(), ask()) == (1, 0)
    assert len(orders(settings)) == 2
    scene.at += 6 * DAY
    assert ask() == 0  # both count in their month
    assert len(orders(settings)) == 2


def test_changing_it_neither_forgets_the_month_nor_asks_twice(scene, settings, ask):
    alice = scene.purse("0")
    put(scene, settings, alice)
    assert ask() == 1
    put(scene, settings, alice, amount="10.00", per_month="10.00")
    assert ask() == 0
    book(scene, alice, "1.00")
    assert ask() == 0
    put(scene, settings, alice, amount="10.00", per_month="20.00")
    assert ask() == 1


def test_a_purse_that_is_frozen_closing_or_no_longer_wants_it_asks_for_nothing(scene, settings, ask):
    frozen, closed, cleared = scene.purse("0"), scene.purse("0"), scene.purse("0")
    for purse in (frozen, closed, cleared):
        put(scene, settings, purse)
    with scene.database.write() as conn:
        purses.freeze(conn, frozen.id)
        closing.begin(conn, closed.id, iban=SHOPPER_IBAN, name="Alice", at=NOON)
        automatic.clear(conn, cleared.id)
        assert automatic.find(conn, cleared.id) is None
    assert ask() == 0
    with scene.database.write() as conn:
        purses.unfreeze(conn, frozen.id)
    assert ask() == 1


def test_a_dropped_currency_asks_for_nothing_and_stops_no_other(iso_drops_the_lev, scene, settings, ask):
    lev = scene.purse("0", currency="BGN")
    put(scene, settings, lev, of="BGN")
    put(scene, settings, scene.purse("0"))
    iso_drops_the_lev()
    remember({"BGN": 2})
    assert ask() == 1
    assert [row.currency for row in announced(scene)] == ["EUR"]
    with pytest.raises(CurrencyWithdrawn):
        put(scene, settings, lev, of="BGN")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"below": "0"}, AmountInvalid),
        ({"amount": "0"}, AmountInvalid),
        ({"amount": "50.01"}, AmountInvalid),
        ({"amount": "20.005"}, AmountNotWholeMinor),
        ({"method": TopUpMethod.BANK_TRANSFER}, TopUpMethodUnavailable),
        ({"method": TopUpMethod.CARD}, TopUpMethodUnavailable),
    ],
)
def test_it_is_for_amounts_and_ways_that_make_sense(scene, settings, change, refusal):
    alice = scene.purse("0")
    with pytest.raises(refusal):
        put(scene, settings, alice, **change)
    with scene.database.read() as conn:
        assert automatic.find(conn, alice.id) is None


def test_it_is_for_a_purse_in_its_currency_and_for_a_wallet_that_can_fetch(scene, settings):
    alice = scene.purse("0")
    with pytest.raises(CurrencyMismatch):
        put(scene, settings, scene.purse("0", currency="FRF"))
    with pytest.raises(PurseNotFound):
        put(scene, settings, dataclasses.replace(alice, id=new_id()))
    with pytest.raises(TopUpMethodUnavailable):
        put(scene, dataclasses.replace(settings, sandbox_folder=None), alice)


def test_none_is_set_for_a_purse_that_is_being_closed(scene, settings):
    alice = scene.purse("1.00")
    with scene.database.write() as conn:
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=scene.at)
    with pytest.raises(PurseClosing):
        put(scene, settings, alice)

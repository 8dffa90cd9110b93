"""Purses: opened, seen, frozen, and paid from by the devices that may."""

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN
from tests.wallet.scene import DAY, NOON, micros
from wallet.funding import withdrawals as room
from wallet.funding.top_ups import request_top_up
from wallet.ground.errors import (
    AlreadyExists,
    CurrencyWithdrawn,
    DeviceNotFound,
    FrozenByOperator,
    PurseFrozen,
    PurseNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money, remember
from wallet.purses import history, purses
from wallet.purses.limits import NO_CAPS, Caps
from wallet.tables.funding import TopUpMethod
from wallet.tables.purses import shoppers

KEY = bytes(range(32))


def open_purse(scene, email="Alice@Shoppers.example", *, currency="EUR", limits=NO_CAPS, **credit):
    with scene.database.write() as conn:
        return purses.open_purse(
            conn, currency=currency, email=email, name="Alice", locale="fr", limits=limits, at=NOON, **credit
        )


def view(scene, purse_id):
    with scene.database.read() as conn:
        return purses.view(conn, purse_id)


def withdraw(scene, purse_id, amount):
    with scene.database.write() as conn:
        money = Money.parse(amount, "EUR")
        return room.withdraw(conn, purse_id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=NOON)


# --- opening -----------------------------------------------------------------------------------------------


def test_a_new_purse_is_empty_and_knows_its_limits(scene):
    limits = Caps(per_purchase_micros=2, per_day_micros=0)
    seen = view(scene, open_purse(scene, limits=limits, credit_micros=3))
    assert (str(seen.balance), str(seen.held), str(seen.available)) == ("0.00", "0.00", "0.000003")
    assert (seen.currency, seen.limits, seen.frozen, seen.opened_at) == ("EUR", limits, False, NOON)


def test_a_purse_with_more_than_a_call_can_name_is_seen(scene):
    alice = scene.purse("1000000000.00", credit_micros=1_000_000_000_000_000)
    scene.top_up(alice, "1000000000.00")
    seen = view(scene, alice.id)
    assert (str(seen.balance), str(seen.available)) == ("2000000000.00", "3000000000.00")


def test_a_shopper_is_one_address_however_it_is_typed_and_may_hold_several_purses(scene):
    assert len({open_purse(scene), open_purse(scene, "ALICE@SHOPPERS.EXAMPLE"), open_purse(scene, currency="FRF")}) == 3
    with scene.database.read() as conn:
        assert conn.execute(sa.select(shoppers.c.email)).scalars().all() == ["alice@shoppers.example"]


def test_a_purse_that_is_not_there_is_not_found(scene):
    money = Money.parse("1.00", "EUR")
    for verb in (
        lambda conn: purses.view(conn, new_id()),
        lambda conn: purses.freeze(conn, new_id()),
        lambda conn: purses.unfreeze(conn, new_id()),
        lambda conn: request_top_up(conn, new_id(), money, TopUpMethod.CARD, at=NOON),
        lambda conn: room.withdraw(conn, new_id(), money, iban=SHOPPER_IBAN, name="A", minimum_micros=0, at=NOON),
    ):
        with pytest.raises(PurseNotFound), scene.database.write() as conn:
            verb(conn)


def test_held_and_available_follow_the_vouchers(scene):
    alice, bakery = scene.purse("10.00", credit_micros=1_000_000), scene.merchant()
    bread, cake = scene.pay(alice, bakery, "0.07"), scene.pay(alice, bakery, "2.00")
    seen = view(scene, alice.id)
    assert (str(seen.balance), str(seen.held), str(seen.available)) == ("7.93", "2.07", "8.93")
    scene.redeem(bakery, (cake, "1.50"))
    scene.release(bakery, bread)
    assert scene.in_purse(alice) == ("8.50", "0.00")


# --- history -----------------------------------------------------------------------------------------------


def test_the_history_says_what_happened_and_what_was_left_each_time(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    scene.pay(scene.purse("3.00"), bakery)  # somebody else's is not in it
    cake = scene.pay(alice, bakery, "2.00")
    scene.redeem(bakery, (cake, "1.50"))
    scene.refund(bakery, cake, "0.25")
    withdraw(scene, alice.id, "4.00")
    with scene.database.read() as conn:
        lines = history.lines(conn, alice.id, before=None, limit=10)
    assert [(row.reason, row.signed_micros, row.balance_after_micros) for row in lines] == [
        ("withdrawal", -micros("4.00"), micros("4.75")),
        ("refund", micros("0.25"), micros("8.75")),
        ("redeem_rest", micros("0.50"), micros("8.50")),
        ("authorize", -micros("2.00"), micros("8.00")),
        ("card_top_up", micros("10.00"), micros("10.00")),
    ]
    assert {type(row.balance_after_micros) for row in lines} == {int}
    assert [row.reference for row in lines][2:4] == [cake.id, cake.id]
    assert {(row.business_date, row.recorded_at) for row in lines} == {(NOON.date(), NOON)}


def test_the_history_comes_in_pages_that_miss_and_repeat_nothing(scene):
    alice, bakery = scene.purse(), scene.merchant()
    for _ in range(6):
        scene.pay(alice, bakery)
    with scene.database.read() as conn:
        whole = history.lines(conn, alice.id, before=None, limit=100)
        pages, before = [], None
        while page := history.lines(conn, alice.id, before=before, limit=3):
            pages.append(list(page))
            before = page[-1].id
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [row for page in pages for row in page] == list(whole)


def test_a_purse_nobody_used_has_no_history(scene):
    with scene.database.read() as conn:
        assert history.lines(conn, open_purse(scene), before=None, limit=5) == []


# --- freezing ----------------------------------------------------------------------------------------------


def test_a_frozen_purse_withdraws_nothing_until_it_is_free(scene):
    alice = scene.purse("10.00")
    with scene.database.write() as conn:
        purses.freeze(conn, alice.id)
        purses.freeze(conn, alice.id)
    assert view(scene, alice.id).frozen
    with pytest.raises(PurseFrozen):
        withdraw(scene, alice.id, "1.00")
    with scene.database.write() as conn:
        purses.unfreeze(conn, alice.id)
        purses.freeze(conn, alice.id, by_operator=True)
        purses.freeze(conn, alice.id)
        with pytest.raises(FrozenByOperator):
            purses.unfreeze(conn, alice.id)
        assert purses.view(conn, alice.id).frozen
        purses.unfreeze(conn, alice.id, by_operator=True)
    withdraw(scene, alice.id, "1.00")
    assert scene.in_purse(alice) == ("9.00", "0.00")


# --- devices -----------------------------------------------------------------------------------------------


def test_a_key_is_added_to_a_purse_once_and_may_serve_others(scene):
    alice, bob = scene.purse(), scene.purse()
    with scene.database.write() as conn:
        first = purses.add_device(conn, alice.id, public_key=KEY, label="phone", at=NOON)
        purses.add_device(conn, bob.id, public_key=KEY, label="phone", at=NOON)
    assert (first.purse_id, first.public_key, first.label, first.revoked_at) == (alice.id, KEY, "phone", None)
    with pytest.raises(AlreadyExists), scene.database.write() as conn:
        purses.add_device(conn, alice.id, public_key=KEY, label="again", at=NOON)


def test_a_revoked_device_stays_revoked_and_its_key_out(scene):
    alice = scene.purse()
    phone, watch = scene.device(alice), scene.device(alice)
    with scene.database.write() as conn:
        purses.revoke_device(conn, alice.id, phone.id, at=NOON)
        purses.revoke_device(conn, alice.id, phone.id, at=NOON + DAY)
        assert [(row.id, row.revoked_at) for row in purses.devices_of(conn, alice.id)] == [
            (phone.id, NOON),
            (watch.id, None),
        ]
    with pytest.raises(AlreadyExists), scene.database.write() as conn:
        purses.add_device(conn, alice.id, public_key=bytes(phone.key.verify_key), label="back", at=NOON)


def test_nobody_revokes_anothers_device(scene):
    alice, bob = scene.purse(), scene.purse()
    phone = scene.device(alice)
    for purse_id, device_id in ((bob.id, phone.id), (alice.id, new_id())):
        with pytest.raises(DeviceNotFound), scene.database.write() as conn:
            purses.revoke_device(conn, purse_id, device_id, at=NOON)
    with scene.database.read() as conn:
        assert purses.devices_of(conn, alice.id)[0].revoked_at is None
        assert purses.devices_of(conn, bob.id) == []


def test_a_currency_that_iso_dropped_is_seen_spent_and_taken_out_and_nothing_comes_in(iso_drops_the_lev, scene):
    alice, bakery = scene.purse("10.00", currency="BGN"), scene.merchant(currency="BGN")
    iso_drops_the_lev()
    remember({"BGN": 2})
    scene.redeem(bakery, scene.pay(alice, bakery, "4.00"))
    with scene.database.write() as conn:
        money = Money.parse("6.00", "BGN")
        room.withdraw(conn, alice.id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=scene.at)
    assert scene.in_purse(alice) == ("0.00", "0.00")
    with pytest.raises(CurrencyWithdrawn), scene.database.write() as conn:
        request_top_up(conn, alice.id, Money.parse("5.00", "BGN"), TopUpMethod.BANK_TRANSFER, at=scene.at)
    with pytest.raises(CurrencyWithdrawn):
        scene.purse(currency="BGN")
    with pytest.raises(CurrencyWithdrawn):
        scene.merchant(currency="BGN")

"""Limits: set, changed, taken away and listed, each purse's its own."""

import pytest
import sqlalchemy as sa

from tests.wallet.scene import micros
from wallet.ground.errors import CapExceeded, MerchantNotFound, PurseNotFound
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import limits, purses
from wallet.purses.limits import NO_CAPS, Caps


def listed(scene, purse):
    with scene.database.read() as conn:
        return [(row.merchant_id, row.per_day_micros) for row in limits.of_merchants(conn, purse.id)]


def put(scene, purse, merchant, amount):
    with scene.database.write() as conn:
        limits.put_merchant(conn, purse.id, merchant.id, per_day_micros=micros(amount))


def test_a_shopper_may_be_stricter_than_the_operator_and_never_laxer(scene):
    alice = scene.purse("10.00")
    with scene.database.write() as conn:
        limits.change(conn, alice.id, Caps(per_purchase_micros=micros("2.00"), per_day_micros=micros("3.00")))
    for own, most in ((None, "2.00"), ("5.00", "2.00"), ("1.00", "1.00")):
        with scene.database.write() as conn:
            limits.change_own(conn, alice.id, Caps(per_purchase_micros=None if own is None else micros(own)))
        with pytest.raises(CapExceeded):
            scene.pay(alice, scene.merchant(), str(Money(micros(most) + 1, "EUR")))
    scene.pay(alice, scene.merchant(), "1.00")
    with scene.database.write() as conn:
        limits.change_own(conn, alice.id, Caps(per_day_micros=micros("1.50")))
    with pytest.raises(CapExceeded):
        scene.pay(alice, scene.merchant(), "0.51")
    with scene.database.write() as conn, pytest.raises(PurseNotFound):
        limits.change_own(conn, new_id(), Caps(per_purchase_micros=1, per_day_micros=1))


def test_whoever_says_how_much_it_is_read_with_the_purchase_and_the_day_is_added_up_once(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    asked: list[object] = []

    def statements(caps):
        asked.clear()
        scene.pay(alice, bakery, "0.01", caps=caps)
        return len(asked)

    engine = scene.database.engine
    sa.event.listen(engine, "before_cursor_execute", count := lambda *_: asked.append(1))
    try:
        free = statements(NO_CAPS)
        caps = Caps(per_purchase_micros=micros("1.00"), per_day_micros=micros("1.00"))
        with scene.database.write() as conn:
            limits.change(conn, alice.id, caps)
            limits.change_own(conn, alice.id, caps)
        put(scene, alice, bakery, "1.00")
        assert statements(caps) == free + 1
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)


def test_a_purse_takes_the_limits_its_shopper_sets_and_loses_them_again(scene):
    alice = scene.purse(credit_micros=5)
    for per_purchase, per_day in ((2, 3), (None, 0), (None, None)):
        with scene.database.write() as conn:
            limits.change(conn, alice.id, Caps(per_purchase_micros=per_purchase, per_day_micros=per_day))
            now = purses.view(conn, alice.id)
        assert now.credit_micros == 5
        assert now.limits == Caps(per_purchase_micros=per_purchase, per_day_micros=per_day)
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        limits.change(conn, new_id(), Caps(per_purchase_micros=1, per_day_micros=1))


def test_credit_is_what_the_operator_lends_and_never_less_than_what_is_owed(scene):
    alice, bakery = scene.purse("1.00"), scene.merchant()
    with scene.database.write() as conn:
        limits.change_credit(conn, alice.id, credit_micros=micros("5.00"))
    scene.pay(alice, bakery, "3.00")
    with pytest.raises(CapExceeded), scene.database.write() as conn:
        limits.change_credit(conn, alice.id, credit_micros=micros("1.99"))
    with scene.database.write() as conn:
        limits.change_credit(conn, alice.id, credit_micros=micros("2.00"))
        assert purses.view(conn, alice.id).available.micros == 0
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        limits.change_credit(conn, new_id(), credit_micros=1)


def test_a_merchants_limit_is_the_last_one_set_until_it_is_cleared(scene):
    alice, bob, bakery, press = scene.purse(), scene.purse(), scene.merchant(), scene.merchant()
    put(scene, alice, bakery, "2.00")
    put(scene, alice, bakery, "1.00")
    put(scene, alice, press, "0")
    put(scene, bob, bakery, "9.00")
    assert sorted(listed(scene, alice)) == sorted([(bakery.id, 1_000_000), (press.id, 0)])
    with scene.database.write() as conn:
        limits.clear_merchant(conn, alice.id, bakery.id)
        limits.clear_merchant(conn, alice.id, bakery.id)
    assert listed(scene, alice) == [(press.id, 0)]
    assert listed(scene, bob) == [(bakery.id, 9_000_000)]


def test_a_limit_is_for_a_merchant_the_purse_could_pay(scene):
    alice, franc_shop = scene.purse(), scene.merchant(currency="FRF")
    for merchant_id in (franc_shop.id, new_id()):
        with pytest.raises(MerchantNotFound), scene.database.write() as conn:
            limits.put_merchant(conn, alice.id, merchant_id, per_day_micros=1)
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        limits.put_merchant(conn, new_id(), franc_shop.id, per_day_micros=1)

"""A merchant's sales: its own, found by what they were for, and days that add up to the books."""

import datetime as dt

import pytest
from sqlalchemy import select

from settlement import business_day
from tests.wallet.scene import DAY, Merchant, Purse, Scene, micros
from wallet.ground.errors import VoucherNotFound
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.people import identities
from wallet.purchases import checkouts, redemptions, sales
from wallet.purchases.checkouts import Wanted
from wallet.purchases.sales import EVERYTHING, SalesFilter, SaleState
from wallet.tables.people import IdentityKind
from wallet.tables.purses import purses, shoppers


def found(scene: Scene, merchant: Merchant, search: SalesFilter = EVERYTHING) -> list[sales.Sale]:
    with scene.database.read() as conn:
        return sales.listing(conn, scene.issuer.keyring, merchant.id, search, before=None, limit=100)


@pytest.fixture
def bakery(scene: Scene) -> Merchant:
    return scene.merchant("bakery")


@pytest.fixture
def alice(scene: Scene) -> Purse:
    return scene.purse("50.00")


def test_every_sale_is_listed_whatever_became_of_it(scene: Scene, bakery: Merchant, alice: Purse) -> None:
    held = scene.pay(alice, bakery, "1.00")
    lapsed = scene.pay(alice, bakery, "2.00", hold_seconds=60)
    released = scene.pay(alice, bakery, "3.00")
    redeemed = scene.pay(alice, bakery, "4.00")
    refunded = scene.pay(alice, bakery, "5.00")
    scene.redeem(bakery, (redeemed, "3.50"), refunded)
    scene.refund(bakery, refunded, "0.50")
    scene.release(bakery, released)
    scene.at += dt.timedelta(minutes=5)
    scene.lapse()
    listed = found(scene, bakery)
    assert [(sale.id, sale.state) for sale in listed] == [
        (refunded.id, SaleState.REFUNDED),
        (redeemed.id, SaleState.REDEEMED),
        (released.id, SaleState.RELEASED),
        (lapsed.id, SaleState.LAPSED),
        (held.id, SaleState.HELD),
    ]
    assert [sale.refundable_micros for sale in listed] == [4_500_000, 3_500_000, 0, 0, 0]
    for sale in listed:
        assert [each.id for each in found(scene, bakery, SalesFilter(state=sale.state))] == [sale.id]
    with scene.database.read() as conn:
        (refund,) = redemptions.refunds_of(conn, listed[0].id)
        assert refund.amount_micros == 500_000
        page = sales.listing(conn, scene.issuer.keyring, bakery.id, EVERYTHING, before=released.id, limit=1)
    assert [sale.id for sale in page] == [lapsed.id]


def test_a_sale_is_found_by_what_it_was_for_and_when(scene: Scene, bakery: Merchant, alice: Purse) -> None:
    bread = scene.pay(alice, bakery, "1.00", resource="https://bakery.example/Bread?size=100%")
    cake = scene.pay(alice, bakery, "1.00", resource="cake_1")
    scene.at += DAY
    till = scene.pay(alice, bakery, "1.00", resource="cake 2")
    ways = {
        SalesFilter(text="bread"): [bread.id],
        SalesFilter(text="100%"): [bread.id],
        SalesFilter(text="%"): [bread.id],
        SalesFilter(text="cake_"): [cake.id],
        SalesFilter(text=" CAKE "): [till.id, cake.id],
        SalesFilter(text=str(cake.id)): [cake.id],
        SalesFilter(text=str(cake.id).upper()): [cake.id],
        SalesFilter(text="pie"): [],
        SalesFilter(since=scene.at.date()): [till.id],
        SalesFilter(until=(scene.at - DAY).date()): [cake.id, bread.id],
        SalesFilter(text="cake", until=dt.date.max): [till.id, cake.id],
        SalesFilter(text="cake", since=scene.at.date(), state=SaleState.HELD): [till.id],
        SalesFilter(text="cake", since=scene.at.date(), state=SaleState.LAPSED): [],
    }
    for search, expected in ways.items():
        assert [sale.id for sale in found(scene, bakery, search)] == expected, search


def test_a_checkout_is_found_by_the_merchants_order_id(scene: Scene, bakery: Merchant, alice: Purse) -> None:
    scene.pay(alice, bakery, "1.00")
    wanted = Wanted(amount=Money(700_000, "EUR"), order_id="A-17", description="One loaf")
    with scene.database.write() as conn:
        email = conn.execute(select(shoppers.c.email).join(purses).where(purses.c.id == alice.id)).scalar_one()
        who = identities.add(
            conn,
            IdentityKind.SHOPPER,
            identifier=email,
            name="Alice",
            locale="fr",
            at=scene.at,
        )
        row = checkouts.create(conn, bakery.id, wanted, life=DAY, at=scene.at)
        paid = checkouts.pay(conn, scene.issuer, row.id, purse_id=alice.id, identity_id=who, proof=None, at=scene.at)
    (sale,) = found(scene, bakery, SalesFilter(text="a-17"))
    assert (sale.id, sale.order_id, sale.description, sale.state) == (paid.id, "A-17", "One loaf", SaleState.REDEEMED)


def test_a_sale_is_its_merchants_own_and_its_shopper_a_pseudonym(scene: Scene, bakery: Merchant, alice: Purse) -> None:
    press = scene.merchant("press")
    ours, theirs = scene.pay(alice, bakery, "1.00"), scene.pay(alice, press, "1.00")
    keyring = scene.issuer.keyring
    (sale,) = found(scene, bakery)
    assert (sale.id, sale.pseudonym) == (ours.id, keyring.pseudonym(alice.id, bakery.id))
    assert found(scene, bakery, SalesFilter(text=str(theirs.id))) == []
    with scene.database.read() as conn:
        assert sales.find(conn, keyring, bakery.id, ours.id) == sale
        for voucher_id in (theirs.id, new_id()):
            with pytest.raises(VoucherNotFound):
                sales.find(conn, keyring, bakery.id, voucher_id)


def test_days_add_up_to_the_books_and_none_is_left_out(scene: Scene, bakery: Merchant, alice: Purse) -> None:
    first = scene.pay(alice, bakery, "1.25")
    scene.redeem(bakery, first, scene.pay(alice, bakery, "2.00"))
    press = scene.merchant("press")
    scene.redeem(press, scene.pay(alice, press, "9.00"))
    for _ in range(2):
        business_day.close(scene.database, scene.at.date(), at=scene.at)
        business_day.balance(scene.database)
        scene.at += DAY
    scene.redeem(bakery, scene.pay(alice, bakery, "0.002"))
    scene.refund(bakery, first, "1.25")
    with scene.database.read() as conn:
        days = sales.days(conn, bakery.id, "EUR", count=4)
    assert [(day.business_date.day, day.count, day.captured_micros, day.refunded_micros) for day in days] == [
        (22, 0, 0, 0),
        (23, 2, 3_250_000, 0),
        (24, 0, 0, 0),
        (25, 1, 2_000, 1_250_000),
    ]
    assert micros(scene.payable(bakery)) == sum(day.captured_micros - day.refunded_micros for day in days)

"""Purses: opened, topped up, emptied, frozen, and paid from by the devices that may."""

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN
from tests.wallet.scene import DAY, NOON, micros
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding import closing
from wallet.ground.errors import (
    AlreadyExists,
    AmountNotWholeMinor,
    CurrencyMismatch,
    CurrencyWithdrawn,
    DeviceNotFound,
    FrozenByOperator,
    IbanInvalid,
    InsufficientFunds,
    PurseFrozen,
    PurseNotFound,
    WithdrawalTooSmall,
)
from wallet.ground.ids import is_reference, new_id
from wallet.ground.money import Money, remember
from wallet.purses import purses
from wallet.purses.purses import Limits
from wallet.tables.books import AccountKind, Reason
from wallet.tables.funding import TopUpMethod, top_ups, withdrawals
from wallet.tables.purses import shoppers

KEY = bytes(range(32))


def open_purse(scene, email="Alice@Shoppers.example", *, currency="EUR", limits=Limits()):
    with scene.database.write() as conn:
        return purses.open_purse(
            conn, currency=currency, email=email, name="Alice", locale="fr", limits=limits, at=NOON
        )


def view(scene, purse_id):
    with scene.database.read() as conn:
        return purses.view(conn, purse_id)


def in_transit(scene):
    with scene.database.read() as conn:
        return ledger.balance_micros(conn, AccountKind.IN_TRANSIT, "EUR")


def withdraw(scene, purse_id, amount, currency="EUR", iban=SHOPPER_IBAN, minimum_micros=0):
    with scene.database.write() as conn:
        money = Money.parse(amount, currency)
        return purses.withdraw(conn, purse_id, money, iban=iban, name="Alice", minimum_micros=minimum_micros, at=NOON)


def rows(scene, table):
    with scene.database.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


# --- opening -----------------------------------------------------------------------------------------------


def test_a_new_purse_is_empty_and_knows_its_limits(scene):
    limits = Limits(credit_micros=3, per_purchase_micros=2, per_day_micros=0)
    seen = view(scene, open_purse(scene, limits=limits))
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
        lambda conn: purses.request_top_up(conn, new_id(), money, TopUpMethod.CARD, at=NOON),
        lambda conn: purses.withdraw(conn, new_id(), money, iban=SHOPPER_IBAN, name="A", minimum_micros=0, at=NOON),
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
        lines = purses.history(conn, alice.id, before=None, limit=10)
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
        whole = purses.history(conn, alice.id, before=None, limit=100)
        pages, before = [], None
        while page := purses.history(conn, alice.id, before=before, limit=3):
            pages.append(list(page))
            before = page[-1].id
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [row for page in pages for row in page] == list(whole)


def test_a_purse_nobody_used_has_no_history(scene):
    with scene.database.read() as conn:
        assert purses.history(conn, open_purse(scene), before=None, limit=5) == []


# --- top-ups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TopUpMethod)
def test_an_announced_top_up_has_a_reference_and_moves_nothing_yet(scene, method):
    alice = scene.purse("0")
    with scene.database.write() as conn:
        row = purses.request_top_up(conn, alice.id, Money.parse("20.00", "EUR"), method, at=NOON)
    assert is_reference(row.reference)
    assert (row.purse_id, row.amount_micros, row.method, row.requested_at) == (alice.id, 20_000_000, method, NOON)
    assert scene.in_purse(alice) == ("0.00", "0.00")


@pytest.mark.parametrize(
    ("amount", "currency", "refusal"),
    [
        ("1.005", "EUR", AmountNotWholeMinor),
        ("1.00", "FRF", CurrencyMismatch),
        ("1.005", "FRF", CurrencyMismatch),
    ],
)
def test_only_what_a_bank_can_move_crosses_its_border(scene, amount, currency, refusal):
    alice, money = scene.purse(), Money.parse(amount, currency)
    with pytest.raises(refusal), scene.database.write() as conn:
        purses.request_top_up(conn, alice.id, money, TopUpMethod.CARD, at=NOON)
    with pytest.raises(refusal):
        withdraw(scene, alice.id, amount, currency)
    assert rows(scene, top_ups) == rows(scene, withdrawals) == in_transit(scene) == 0


@pytest.mark.parametrize(("amount", "currency"), [("1", "JPY"), ("0.001", "TND"), ("0.01", "EUR")])
def test_the_smallest_amounts_of_banks(scene, amount, currency):
    alice = scene.purse("5", currency=currency)
    withdraw(scene, alice.id, amount, currency)
    with scene.database.write() as conn:
        purses.request_top_up(conn, alice.id, Money.parse(amount, currency), TopUpMethod.CARD, at=NOON)


# --- withdrawals -------------------------------------------------------------------------------------------


def test_a_withdrawal_takes_the_money_at_once_and_waits_for_the_night(scene):
    alice = scene.purse("10.00")
    row = withdraw(scene, alice.id, "10.00", iban="gb29 nwbk 6016 1331 9268 19")
    assert (row.amount_micros, row.creditor_iban, row.creditor_name) == (10_000_000, SHOPPER_IBAN, "Alice")
    assert scene.in_purse(alice) == ("0.00", "0.00")
    assert in_transit(scene) == 10_000_000


def test_what_is_not_in_the_purse_is_not_withdrawn(scene):
    alice, bakery = scene.purse("10.00", credit_micros=5_000_000), scene.merchant()
    scene.pay(alice, bakery, "1.00")
    with pytest.raises(InsufficientFunds):
        withdraw(scene, alice.id, "9.01")
    withdraw(scene, alice.id, "9.00")
    assert rows(scene, withdrawals) == 1
    assert in_transit(scene) == 9_000_000


def test_less_than_the_minimum_is_not_withdrawn_and_a_closed_purse_is_emptied_all_the_same(scene):
    alice = scene.purse("10.00")
    with pytest.raises(WithdrawalTooSmall, match=r"3\.80 EUR"):
        withdraw(scene, alice.id, "3.79", minimum_micros=3_800_000)
    assert (rows(scene, withdrawals), scene.in_purse(alice)) == (0, ("10.00", "0.00"))
    withdraw(scene, alice.id, "3.80", minimum_micros=3_800_000)
    withdraw(scene, alice.id, "6.19", minimum_micros=3_800_000)
    with scene.database.write() as conn:
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=scene.at)
    assert scene.in_purse(alice) == ("0.00", "0.00")
    assert rows(scene, withdrawals) == 3


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


def test_a_withdrawal_needs_an_account_to_go_to(scene):
    alice = scene.purse("10.00")
    with pytest.raises(IbanInvalid):
        withdraw(scene, alice.id, "1.00", iban="GB00NWBK60161331926819")
    assert scene.in_purse(alice) == ("10.00", "0.00")


def test_a_withdrawal_is_posted_once(scene):
    alice = scene.purse("10.00")
    row = withdraw(scene, alice.id, "1.00")
    again = Posting(reason=Reason.WITHDRAWAL, currency="EUR", amount_micros=1, reference=row.id, purse_id=alice.id)
    with pytest.raises(sa.exc.IntegrityError), scene.database.write() as conn:
        ledger.post(conn, again, recorded_at=NOON)


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
        purses.withdraw(conn, alice.id, money, iban=SHOPPER_IBAN, name="Alice", minimum_micros=0, at=scene.at)
    assert scene.in_purse(alice) == ("0.00", "0.00")
    with pytest.raises(CurrencyWithdrawn), scene.database.write() as conn:
        purses.request_top_up(conn, alice.id, Money.parse("5.00", "BGN"), TopUpMethod.BANK_TRANSFER, at=scene.at)
    with pytest.raises(CurrencyWithdrawn):
        scene.purse(currency="BGN")
    with pytest.raises(CurrencyWithdrawn):
        scene.merchant(currency="BGN")

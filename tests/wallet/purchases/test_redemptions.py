"""Redemptions: a voucher is money once, for at most its amount, for its merchant; and refunds stop at what it was."""

import datetime as dt

import pytest
import sqlalchemy as sa

from settlement.runs import nightly
from settlement.tables import payouts
from tests.support import make_settings
from tests.wallet.scene import DAY, NOON, micros
from wallet.ground.errors import (
    CurrencyMismatch,
    MerchantSuspended,
    NotRedeemed,
    RefundExceedsCaptured,
    RefundLimitExceeded,
    VoucherInvalid,
    VoucherNotFound,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.merchants import merchants
from wallet.purchases import redemptions
from wallet.purchases.redemptions import Claim, Redeemed
from wallet.purses import purses
from wallet.tables.books import transfers
from wallet.tables.merchants import MerchantState
from wallet.tables.purchases import refunds, vouchers


@pytest.fixture
def alice(scene):
    return scene.purse("10.00")


@pytest.fixture
def bakery(scene):
    return scene.merchant("bakery")


@pytest.fixture
def cake(scene, alice, bakery):
    return scene.pay(alice, bakery, "2.00")


def moves(scene, voucher):
    with scene.database.read() as conn:
        query = sa.select(transfers.c.reason, transfers.c.amount_micros).where(transfers.c.reference == voucher.id)
        return {row.reason: row.amount_micros for row in conn.execute(query)}


# --- capture -----------------------------------------------------------------------------------------------


def test_a_voucher_becomes_money_owed_to_its_merchant(scene, alice, bakery, cake):
    assert scene.redeem(bakery, cake) == ["redeemed"]
    assert scene.in_purse(alice) == ("8.00", "0.00")
    assert scene.payable(bakery) == "2.00"
    row = scene.voucher(cake)
    assert (row["state"], row["captured_micros"], row["ended_at"]) == ("redeemed", 2_000_000, NOON)
    assert moves(scene, cake) == {"authorize": 2_000_000, "redeem": 2_000_000}


@pytest.mark.parametrize("amount", ["0.000001", "0.07", "1.999999"])
def test_what_is_not_captured_goes_back_to_the_purse(scene, alice, bakery, cake, amount):
    assert scene.redeem(bakery, (cake, amount)) == ["redeemed"]
    rest = micros("2.00") - micros(amount)
    assert scene.in_purse(alice) == (str(Money(micros("8.00") + rest, "EUR")), "0.00")
    assert scene.payable(bakery) == amount
    assert moves(scene, cake)["redeem_rest"] == rest


def test_redeeming_again_answers_the_same_and_pays_once(scene, alice, bakery, cake):
    assert scene.redeem(bakery, (cake, "1.50")) == ["redeemed"]
    scene.at += 30 * DAY
    assert scene.redeem(bakery, (cake, "1.50")) == ["replayed"]
    assert scene.redeem(bakery, (cake, "1.51")) == ["already_redeemed"]
    assert scene.redeem(bakery, cake) == ["already_redeemed"]
    assert scene.payable(bakery) == "1.50"
    assert scene.in_purse(alice) == ("8.50", "0.00")


def test_within_one_batch_the_first_counts(scene, alice, bakery, cake):
    bread = scene.pay(alice, bakery, "0.07")
    answers = scene.redeem(bakery, (cake, "1.00"), bread, (cake, "1.00"), cake, bread, (cake, "2.01"))
    assert answers == ["redeemed", "redeemed", "replayed", "already_redeemed", "replayed", "amount_exceeds_voucher"]
    assert scene.payable(bakery) == "1.07"
    assert scene.in_purse(alice) == ("8.93", "0.00")


def test_one_bad_voucher_spoils_no_other(scene, alice, bakery, cake):
    kiosk = scene.merchant("kiosk")
    others = scene.pay(alice, kiosk)
    released = scene.pay(alice, bakery, "0.20")
    scene.release(bakery, released)
    late = scene.pay(alice, bakery, "0.30", hold_seconds=60)
    lapsed = scene.pay(alice, bakery, "0.40", hold_seconds=60)
    scene.at += dt.timedelta(seconds=60)
    with scene.database.write() as conn:
        assert len(redemptions.redeem(conn, [], merchant_id=bakery.id, at=scene.at)) == 0
    assert scene.lapse(limit=2) == 2
    soon = scene.pay(alice, bakery, "0.50", hold_seconds=60)
    scene.at += dt.timedelta(seconds=60)
    answers = scene.redeem(bakery, others, (cake, "2.000001"), late, lapsed, released, soon, (cake, "2.00"))
    assert answers == [
        "not_your_voucher",
        "amount_exceeds_voucher",
        "voucher_lapsed",
        "voucher_lapsed",
        "voucher_released",
        "voucher_expired",
        "redeemed",
    ]
    assert scene.payable(bakery) == "2.00"
    assert scene.redeem(kiosk, others) == ["redeemed"]


def test_nothing_captured_is_a_release_and_the_first_word_counts(scene, alice, bakery, cake):
    bread = scene.pay(alice, bakery, "0.07")
    answers = scene.redeem(bakery, (cake, "0"), (cake, "0.00"), cake, bread, (bread, "0"), (cake, "2.01"))
    assert answers == [
        *("released", "replayed", "voucher_released"),
        *("redeemed", "already_redeemed", "amount_exceeds_voucher"),
    ]
    assert (scene.in_purse(alice), scene.payable(bakery)) == (("9.93", "0.00"), "0.07")
    row = scene.voucher(cake)
    assert (row["state"], row["captured_micros"], row["ended_at"]) == ("released", None, NOON)
    assert moves(scene, cake) == {"authorize": 2_000_000, "release": 2_000_000}
    scene.at += DAY
    assert scene.redeem(bakery, (cake, "0"), (bread, "0"), cake) == ["replayed", "already_redeemed", "voucher_released"]
    scene.release(bakery, cake)
    assert moves(scene, cake) == {"authorize": 2_000_000, "release": 2_000_000}


def test_a_release_is_a_release_whoever_did_it_and_comes_before_a_lapse(scene, alice, bakery, cake):
    late, lapsed = (scene.pay(alice, bakery, "0.30", hold_seconds=60) for _ in range(2))
    scene.release(bakery, cake)
    assert scene.redeem(bakery, (cake, "0")) == ["replayed"]
    scene.at += dt.timedelta(seconds=60)
    assert scene.redeem(bakery, late, (late, "0")) == ["voucher_expired", "released"]
    assert scene.lapse() == 1
    assert scene.redeem(bakery, (lapsed, "0"), (late, "0")) == ["voucher_lapsed", "replayed"]
    assert scene.in_purse(alice) == ("10.00", "0.00")


def test_what_is_bound_to_a_key_from_before_is_not_captured_but_released(scene, alice, bakery, cake):
    bread = scene.pay(alice, bakery, "0.07")
    redeemed = scene.pay(alice, bakery, "0.20")
    assert scene.redeem(bakery, redeemed) == ["redeemed"]
    with scene.database.write() as conn:
        conn.execute(vouchers.update().values(confirmation_key=bytes(32)))
    assert scene.redeem(bakery, cake, (bread, "0.07"), redeemed) == ["cnf_unsupported", "cnf_unsupported", "replayed"]
    assert scene.redeem(bakery, (cake, "0")) == ["released"]
    scene.release(bakery, bread)
    assert (scene.in_purse(alice), scene.payable(bakery)) == (("9.80", "0.00"), "0.20")


def test_a_voucher_that_is_not_in_the_books_is_not_money(scene, bakery, cake):
    with scene.database.write() as conn:
        claims = [Claim(voucher_id=new_id()), Claim(voucher_id=cake.id)]
        unknown, good = redemptions.redeem(conn, claims, merchant_id=bakery.id, at=NOON)
    assert isinstance(unknown, VoucherInvalid)
    assert isinstance(good, Redeemed)
    assert (good.voucher_id, good.captured) == (cake.id, Money(2_000_000, "EUR"))


def test_a_hold_can_be_redeemed_until_its_last_instant(scene, alice, bakery):
    one, other = (scene.pay(alice, bakery, hold_seconds=60) for _ in range(2))
    end = one.hold_expires_at
    scene.at = end - dt.timedelta(microseconds=1)
    assert scene.redeem(bakery, one) == ["redeemed"]
    scene.at = end
    assert scene.redeem(bakery, other, one) == ["voucher_expired", "replayed"]
    assert scene.lapse() == 1
    assert scene.redeem(bakery, other) == ["voucher_lapsed"]


def test_presentation_ends_before_the_hold_and_does_not_end_redeeming(scene, bakery, cake):
    scene.at = cake.expires_at + DAY
    assert scene.redeem(bakery, cake) == ["redeemed"]


def test_what_was_promised_stands_whatever_became_of_purse_and_merchant(scene, alice, bakery, cake):
    with scene.database.write() as conn:
        purses.freeze(conn, alice.id)
        merchants.set_state(conn, bakery.id, MerchantState.SUSPENDED)
    assert scene.redeem(bakery, (cake, "1.50")) == ["redeemed"]
    assert scene.in_purse(alice) == ("8.50", "0.00")


def test_thousands_at_once_are_redeemed_in_order(scene, bakery):
    alice = scene.purse("10.00")
    issued = [scene.pay(alice, bakery, "0.000001") for _ in range(8)]
    strangers = [Claim(voucher_id=new_id()) for _ in range(2_500)]
    claims = [*strangers, *(Claim(voucher_id=each.id) for each in issued)]
    with scene.database.write() as conn:
        answers = redemptions.redeem(conn, claims, merchant_id=bakery.id, at=NOON)
    assert [type(each) for each in answers[:2_500]] == [VoucherInvalid] * 2_500
    assert [each.voucher_id for each in answers if isinstance(each, Redeemed)] == [each.id for each in issued]
    assert scene.payable(bakery) == "0.000008"


# --- refunds -----------------------------------------------------------------------------------------------


def test_a_refund_goes_from_the_merchant_to_the_purse(scene, alice, bakery, cake):
    scene.redeem(bakery, cake)
    refund_id = scene.refund(bakery, cake, "0.50")
    assert scene.in_purse(alice) == ("8.50", "0.00")
    assert scene.payable(bakery) == "1.50"
    with scene.database.read() as conn:
        row = conn.execute(sa.select(refunds)).one()
        about = conn.execute(sa.select(transfers.c.reference).where(transfers.c.reason == "refund")).scalar_one()
    assert (row.id, row.voucher_id, row.amount_micros, row.refunded_at) == (refund_id, cake.id, 500_000, NOON)
    assert about == refund_id


def test_refunds_stop_at_what_was_captured(scene, alice, bakery, cake):
    scene.redeem(bakery, (cake, "1.50"))
    for amount in ("1.00", "0.499999"):
        scene.refund(bakery, cake, amount)
    with pytest.raises(RefundExceedsCaptured):
        scene.refund(bakery, cake, "0.000002")
    scene.refund(bakery, cake)
    for more in (None, "0.000001"):
        with pytest.raises(RefundExceedsCaptured):
            scene.refund(bakery, cake, more)
    assert scene.in_purse(alice) == ("10.00", "0.00")
    assert scene.payable(bakery) == "0.00"
    assert scene.voucher(cake)["refunded_micros"] == 1_500_000


@pytest.mark.parametrize(
    ("amount", "currency", "refusal"),
    [
        ("1.500001", "EUR", RefundExceedsCaptured),
        ("2.00", "EUR", RefundExceedsCaptured),
        ("0.00", "EUR", RefundExceedsCaptured),
        ("0.01", "FRF", CurrencyMismatch),
        ("9.00", "FRF", CurrencyMismatch),
    ],
)
def test_an_amount_that_cannot_be_refunded(scene, bakery, cake, amount, currency, refusal):
    scene.redeem(bakery, (cake, "1.50"))
    with pytest.raises(refusal):
        scene.refund(bakery, cake, amount, currency)
    assert scene.payable(bakery) == "1.50"


def test_only_what_was_redeemed_can_be_refunded(scene, alice, bakery, cake):
    lapsing = scene.pay(alice, bakery, hold_seconds=1)
    released = scene.pay(alice, bakery)
    scene.release(bakery, released)
    scene.at += DAY
    scene.lapse()
    for voucher in (cake, lapsing, released):
        for amount, currency in ((None, "EUR"), ("0.01", "FRF")):
            with pytest.raises(NotRedeemed):
                scene.refund(bakery, voucher, amount, currency)


def test_nobody_refunds_anothers_sale(scene, bakery, cake):
    scene.redeem(bakery, cake)
    kiosk = scene.merchant("kiosk")
    with pytest.raises(VoucherNotFound):
        scene.refund(kiosk, cake)
    with pytest.raises(VoucherNotFound), scene.database.write() as conn:
        redemptions.refund(conn, new_id(), merchant_id=bakery.id, amount=None, limits_micros={}, at=NOON)


def test_a_frozen_purse_gets_its_refund(scene, alice, bakery, cake):
    scene.redeem(bakery, cake)
    with scene.database.write() as conn:
        purses.freeze(conn, alice.id)
    scene.refund(bakery, cake)
    assert scene.in_purse(alice) == ("10.00", "0.00")


def test_a_refund_after_the_payout_is_owed_by_the_merchant_and_filled_by_later_sales(
    scene, alice, bakery, cake, tmp_path
):
    bank = nightly.bank_of(make_settings(tmp_path, "sqlite:///unused.db"))
    scene.refund_limits = {"EUR": micros("1.50")}
    scene.redeem(bakery, cake)
    nightly.run(scene.database, bank, at=scene.at)
    assert scene.payable(bakery) == "0.00"
    with pytest.raises(RefundLimitExceeded, match=r"1\.51 EUR; 1\.50 EUR can be given back"):
        scene.refund(bakery, cake, "1.51")
    scene.refund(bakery, cake, "1.50")
    assert scene.payable(bakery) == "-1.50"
    assert scene.in_purse(alice) == ("9.50", "0.00")
    scene.at += DAY
    scene.redeem(bakery, scene.pay(alice, bakery, "2.50"))
    nightly.run(scene.database, bank, at=scene.at)
    assert scene.payable(bakery) == "0.00"
    with scene.database.read() as conn:
        paid = conn.execute(sa.select(payouts.c.net_micros).order_by(payouts.c.business_date)).scalars().all()
    assert paid == [micros("2.00"), micros("1.00")]


def test_what_was_paid_out_is_not_given_away_again(scene, alice, bakery, cake, tmp_path):
    bank = nightly.bank_of(make_settings(tmp_path, "sqlite:///unused.db"))
    scene.redeem(bakery, cake)
    nightly.run(scene.database, bank, at=scene.at)
    with pytest.raises(RefundLimitExceeded):
        scene.refund(bakery, cake, "0.01")
    assert (scene.in_purse(alice), scene.payable(bakery)) == (("8.00", "0.00"), "0.00")
    scene.redeem(bakery, scene.pay(alice, bakery, "0.50"))
    scene.refund(bakery, cake, "0.50")
    with pytest.raises(RefundLimitExceeded):
        scene.refund(bakery, cake, "0.01")
    assert (scene.in_purse(alice), scene.payable(bakery)) == (("8.00", "0.00"), "0.00")


def test_a_merchants_own_limit_stands_in_place_of_the_wallets(scene, alice, bakery, cake, tmp_path):
    bank = nightly.bank_of(make_settings(tmp_path, "sqlite:///unused.db"))
    scene.refund_limits = {"EUR": micros("9.00")}
    scene.redeem(bakery, cake)
    nightly.run(scene.database, bank, at=scene.at)

    def limit(limit_micros: int | None) -> None:
        with scene.database.write() as conn:
            merchants.set_refund_limit(conn, bakery.id, limit_micros)

    limit(0)
    with pytest.raises(RefundLimitExceeded):
        scene.refund(bakery, cake, "0.01")
    limit(micros("0.30"))
    scene.refund(bakery, cake, "0.30")
    limit(None)
    scene.refund(bakery, cake)
    assert scene.payable(bakery) == "-2.00"


def test_for_a_suspended_merchant_only_an_operator_gives_money_back(scene, alice, bakery, cake):
    scene.redeem(bakery, cake)
    with scene.database.write() as conn:
        merchants.set_state(conn, bakery.id, MerchantState.SUSPENDED)
    with pytest.raises(MerchantSuspended):
        scene.refund(bakery, cake)
    scene.refund(bakery, cake, by_operator=True)
    assert scene.in_purse(alice) == ("10.00", "0.00")

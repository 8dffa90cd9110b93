"""Closing a purse: nothing is paid any more, and every whole cent goes home, now and whenever some comes back."""

import pytest
import sqlalchemy as sa

from tests.support import MERCHANT_IBAN, SHOPPER_IBAN
from tests.wallet.scene import DAY, HOUR, NOON, micros
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding import closing
from wallet.funding.withdrawals import withdraw
from wallet.ground.errors import (
    IbanInvalid,
    InsufficientFunds,
    NotFound,
    PurseClosing,
    PurseFrozen,
    PurseNotFound,
    ValidationFailed,
)
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.purses import purses
from wallet.tables.books import Reason
from wallet.tables.funding import withdrawals


def begin(scene, purse, iban=SHOPPER_IBAN, name="Alice"):
    with scene.database.write() as conn:
        closing.begin(conn, purse.id, iban=iban, name=name, at=scene.at)


def advance(scene, minimum="0.00"):
    return closing.advance_due(scene.database, minimum_micros=lambda _: micros(minimum), at=scene.at)


def sent(scene):
    with scene.database.read() as conn:
        rows = conn.execute(sa.select(withdrawals).order_by(withdrawals.c.id)).all()
    return [(str(Money(row.amount_micros, row.currency)), row.creditor_iban) for row in rows]


def is_closed(scene, purse):
    with scene.database.read() as conn:
        found = closing.find(conn, purse.id)
    return found is not None and found.closed_at is not None


def test_an_untouched_purse_is_emptied_and_closed_at_once_but_for_the_part_of_a_cent(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    scene.redeem(bakery, scene.pay(alice, bakery, "0.002"))
    begin(scene, alice)
    assert (sent(scene), scene.in_purse(alice)) == ([("9.99", SHOPPER_IBAN)], ("0.008", "0.00"))
    assert is_closed(scene, alice)
    assert advance(scene) == 0
    assert len(sent(scene)) == 1


def test_more_than_one_transaction_carries_is_sent_in_several(scene):
    alice = scene.purse("1000000000.00")
    scene.top_up(alice, "0.05")
    begin(scene, alice)
    assert [amount for amount, _ in sent(scene)] == ["999999999.99", "0.06"]
    assert is_closed(scene, alice)


def test_what_is_held_is_waited_for_and_sent_when_it_comes_back(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    bread, cake = scene.pay(alice, bakery, "1.00"), scene.pay(alice, bakery, "2.00")
    begin(scene, alice)
    assert not is_closed(scene, alice)
    assert advance(scene) == 0
    scene.release(bakery, bread)
    scene.at += HOUR
    assert (advance(scene), is_closed(scene, alice)) == (1, False)
    scene.redeem(bakery, (cake, "2.00"))
    assert (advance(scene), is_closed(scene, alice), advance(scene)) == (1, True, 0)
    # A refund after that is the shopper's all the same.
    scene.refund(bakery, cake, "0.50")
    assert (advance(scene), advance(scene)) == (1, 0)
    assert [amount for amount, _ in sent(scene)] == ["7.00", "1.00", "0.50"]


def test_small_sums_that_come_back_one_by_one_are_sent_in_few_transactions(scene):
    """Each transaction costs the operator a fee, and anybody can let many cents come back at many times."""
    alice, bakery = scene.purse("1.00"), scene.merchant()
    held, eaten = ([scene.pay(alice, bakery, "0.01") for _ in range(20)] for _ in range(2))
    scene.redeem(bakery, *eaten)
    begin(scene, alice)
    moved = 0
    for voucher in held:
        scene.release(bakery, voucher)
        moved += advance(scene, "3.80")
    assert (moved, is_closed(scene, alice)) == (1, True)
    for voucher in eaten:
        scene.refund(bakery, voucher)
        moved += advance(scene, "3.80")
    assert (moved, [amount for amount, _ in sent(scene)]) == (1, ["0.60", "0.20"])
    scene.at += 30 * DAY
    assert (advance(scene, "3.80"), advance(scene, "3.80")) == (1, 0)
    assert [amount for amount, _ in sent(scene)] == ["0.60", "0.20", "0.20"]


def test_what_is_worth_a_withdrawal_goes_at_once_whatever_is_held_or_was_sent(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    cake, bread = scene.pay(alice, bakery, "4.00"), scene.pay(alice, bakery, "1.00")
    begin(scene, alice)
    scene.release(bakery, cake)
    assert advance(scene, "3.80") == 1
    scene.top_up(alice, "3.79")
    assert advance(scene, "3.80") == 0
    scene.release(bakery, bread)
    assert (advance(scene, "3.80"), is_closed(scene, alice)) == (1, True)
    scene.top_up(alice, "3.80")
    assert advance(scene, "3.80") == 1
    assert [amount for amount, _ in sent(scene)] == ["5.00", "4.00", "4.79", "3.80"]


def test_a_closing_purse_pays_nothing_is_not_freed_and_withdraws_nothing_else(scene):
    alice, bakery = scene.purse("10.00"), scene.merchant()
    bread = scene.pay(alice, bakery, "1.00")
    begin(scene, alice)
    scene.release(bakery, bread)
    with pytest.raises(PurseClosing), scene.database.write() as conn:
        purses.unfreeze(conn, alice.id)
    with pytest.raises(PurseFrozen):
        scene.pay(alice, bakery, "0.07")
    with pytest.raises(PurseFrozen), scene.database.write() as conn:
        withdraw(conn, alice.id, Money(1_000_000, "EUR"), iban=MERCHANT_IBAN, name="A thief", minimum_micros=0, at=NOON)
    with pytest.raises(PurseClosing):
        begin(scene, alice, MERCHANT_IBAN)
    assert scene.in_purse(alice) == ("1.00", "0.00")


def test_the_way_out_of_a_closing_purse_is_no_way_out_of_another(scene):
    def last_withdrawal(purse, reason=Reason.WITHDRAWAL, amount="1.00"):
        return Posting(
            reason=reason,
            currency="EUR",
            amount_micros=micros(amount),
            reference=new_id(),
            purse_id=purse.id,
            closes_purse=True,
        )

    active, frozen, ended = scene.purse("10.00"), scene.purse("10.00"), scene.purse("10.00")
    with scene.database.write() as conn:
        purses.freeze(conn, frozen.id)
    begin(scene, ended)
    for posting, refusal in (
        (last_withdrawal(active), InsufficientFunds),
        (last_withdrawal(frozen), PurseFrozen),
        (last_withdrawal(ended), PurseFrozen),
        (last_withdrawal(ended, Reason.AUTHORIZE, "0.01"), PurseFrozen),
    ):
        with pytest.raises(refusal), scene.database.write() as conn:
            ledger.post(conn, posting, recorded_at=NOON)


def test_a_purse_frozen_for_whatever_reason_is_freed_before_it_is_closed(scene):
    alice = scene.purse("10.00")
    with scene.database.write() as conn:
        purses.freeze(conn, alice.id)
    with pytest.raises(PurseFrozen):
        begin(scene, alice)
    with scene.database.write() as conn:
        assert closing.find(conn, alice.id) is None
        purses.unfreeze(conn, alice.id)
    begin(scene, alice)


@pytest.mark.parametrize(
    ("iban", "name", "refusal"),
    [("GB00NWBK60161331926819", "Alice", IbanInvalid), (SHOPPER_IBAN, " ", ValidationFailed)],
)
def test_money_goes_only_where_a_bank_takes_it(scene, iban, name, refusal):
    alice = scene.purse("10.00")
    with pytest.raises(refusal):
        begin(scene, alice, iban, name)
    assert (scene.in_purse(alice), sent(scene)) == (("10.00", "0.00"), [])
    with pytest.raises(PurseNotFound), scene.database.write() as conn:
        closing.begin(conn, new_id(), iban=SHOPPER_IBAN, name="Alice", at=NOON)
    with pytest.raises(NotFound), scene.database.write() as conn:
        closing.redirect(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=NOON)


def test_an_empty_purse_is_closed_at_once_and_one_that_owes_when_it_has_paid(scene):
    empty, postpaid, bakery = scene.purse("0"), scene.purse("0", credit_micros=5_000_000), scene.merchant()
    scene.redeem(bakery, scene.pay(postpaid, bakery, "2.00"))
    begin(scene, empty)
    begin(scene, postpaid)
    assert (is_closed(scene, empty), is_closed(scene, postpaid)) == (True, False)
    scene.top_up(postpaid, "2.50")
    scene.at += DAY
    assert (advance(scene), is_closed(scene, postpaid)) == (1, True)
    assert sent(scene) == [("0.50", SHOPPER_IBAN)]


def test_before_there_is_any_currency_nothing_is_due(db):
    assert closing.advance_due(db, minimum_micros=lambda _: 0, at=NOON) == 0

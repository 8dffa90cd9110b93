"""Withdrawals: only what is in the purse and a bank can move, at once, and to an account that there is."""

import pytest
import sqlalchemy as sa

from tests.support import SHOPPER_IBAN
from tests.wallet.scene import NOON
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.funding import closing
from wallet.funding import withdrawals as room
from wallet.funding.top_ups import request_top_up
from wallet.ground.errors import (
    AmountNotWholeMinor,
    CurrencyMismatch,
    IbanInvalid,
    InsufficientFunds,
    WithdrawalTooSmall,
)
from wallet.ground.money import Money
from wallet.tables.books import AccountKind, Reason
from wallet.tables.funding import TopUpMethod, top_ups, withdrawals


def in_transit(scene):
    with scene.database.read() as conn:
        return ledger.balance_micros(conn, AccountKind.IN_TRANSIT, "EUR")


def withdraw(scene, purse_id, amount, currency="EUR", iban=SHOPPER_IBAN, minimum_micros=0):
    with scene.database.write() as conn:
        money = Money.parse(amount, currency)
        return room.withdraw(conn, purse_id, money, iban=iban, name="Alice", minimum_micros=minimum_micros, at=NOON)


def rows(scene, table):
    with scene.database.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


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
        request_top_up(conn, alice.id, money, TopUpMethod.CARD, at=NOON)
    with pytest.raises(refusal):
        withdraw(scene, alice.id, amount, currency)
    assert rows(scene, top_ups) == rows(scene, withdrawals) == in_transit(scene) == 0


@pytest.mark.parametrize(("amount", "currency"), [("1", "JPY"), ("0.001", "TND"), ("0.01", "EUR")])
def test_the_smallest_amounts_of_banks(scene, amount, currency):
    alice = scene.purse("5", currency=currency)
    withdraw(scene, alice.id, amount, currency)
    with scene.database.write() as conn:
        request_top_up(conn, alice.id, Money.parse(amount, currency), TopUpMethod.CARD, at=NOON)


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

"""The whole story with its real parts: money in by bank, purchases by signed orders, the run, the bank, the proof.

Then the same with a bank that errs in every way it can be told to: each ends in a state with a name, nothing is paid
twice, and the books explain every cent of what the bank did.
"""

import datetime as dt
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sandbox_bank.bank import Bank
from settlement.answers import reconciliation
from settlement.runs import nightly
from settlement.tables import bank_transactions, payouts
from tests.flows import story
from tests.support import Device, Merchant, Purse, Shop, created, make_settings
from wallet.ground import clock
from wallet.merchants.merchants import change_iban

PURCHASES = 240
PRICES = ("0.02", "0.05", "0.002", "0.07", "0.11", "0.000001", "0.3", "0.15")


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A wallet and a bank whose account is empty; bookings are single, so that each payment can err on its own."""
    settings = make_settings(tmp_path, database_url, batch_booking=False)
    story.open_bank(settings)
    with Shop(settings) as shop:
        yield shop


@pytest.fixture
def bank(shop: Shop) -> Iterator[Bank]:
    """The bank, to be told to misbehave."""
    assert shop.settings.bank_folder is not None
    with closing(Bank(shop.settings.bank_folder)) as bank:
        yield bank


def run(shop: Shop, day: int = 0) -> Any:
    """Settle the business day that many days from today, on its own evening."""
    at = clock.now() + dt.timedelta(days=day)
    return nightly.run(shop.database, nightly.bank_of(shop.settings), at=at)


def sell(shop: Shop, prices: dict[Merchant, str]) -> Purse:
    """One purse, filled by bank, buys once at each shop, which redeems."""
    purse = shop.purse("0")
    story.fund(shop, {purse: "50.00"})
    for merchant, price in prices.items():
        shop.redeem(merchant, shop.voucher(purse, merchant, price))
    return purse


def by_merchant(shop: Shop) -> dict[Any, Any]:
    """Each merchant's newest payout as the bank's side sees it."""
    with shop.database.read() as conn:
        rows = conn.execute(
            select(payouts.c.merchant_id, bank_transactions)
            .join(bank_transactions, bank_transactions.c.id == payouts.c.id)
            .order_by(payouts.c.business_date)
        ).all()
    return {row.merchant_id: row for row in rows}


def break_kinds(shop: Shop) -> list[str]:
    with shop.database.read() as conn:
        return sorted(row.kind for row in reconciliation.open_breaks(conn, before=None, limit=100))


def payable(shop: Shop, merchant: Merchant) -> dict[str, Any]:
    return created(shop.get("/v1/payable", token=merchant.token), status=200)


@pytest.mark.parametrize("batch_booking", [True, False], ids=["one entry a file", "one entry a payout"])
def test_a_day_from_the_first_top_up_to_the_last_cent(database_url: str, tmp_path: Path, batch_booking: bool):
    settings = make_settings(tmp_path, database_url, batch_booking=batch_booking, bank_file_limit=3)
    story.open_bank(settings)
    with Shop(settings) as shop:
        chance = random.Random(2000)
        bought = _shopping(shop, chance)
        gross = {merchant.id: story.amounts_of(prices) for merchant, (prices, _) in bought.items()}
        for merchant, (_, vouchers) in bought.items():
            assert {each["outcome"] for each in shop.redeem(merchant, *vouchers)} == {"redeemed"}
        finished = run(shop)
        assert finished.state == "submitted"
        story.until_answered(shop)
        story.prove_reconciled(shop)
        paid = {merchant: row.amount_micros for merchant, row in by_merchant(shop).items()}
        # Whole cents are paid; what is left is still the merchant's.
        assert paid == {merchant: micros - micros % 10_000 for merchant, micros in gross.items()}
        assert set(story.states(shop.database).values()) == {"booked"}
        again = run(shop)
        assert again.id == finished.id
        assert len(story.files_sent(tmp_path / "bank")) == 2
        story.prove_reconciled(shop)


def _shopping(shop: Shop, chance: random.Random) -> dict[Merchant, tuple[list[str], list[dict[str, Any]]]]:
    """Purses topped up over HTTP by RF reference, then orders signed by their devices, one by one and in batches."""
    devices: list[Device] = []
    with closing(Bank(shop.settings.bank_folder or "")) as bank:
        for _ in range(5):
            purse = shop.purse("0")
            body = {"amount": "10.00", "currency": "EUR", "method": "bank_transfer"}
            asked = created(shop.post(f"/v1/purses/{purse.id}/top-ups", body, token=purse.token, key="top-up"))
            reference = asked["bank_transfer"]["reference"]
            assert reference.startswith("RF")
            bank.pay_in("10.00", "EUR", name="Shopper", reference=reference)
            devices.append(shop.device(purse))
        bank.work()
    assert story.collect(shop)["breaks"] == 0
    bought: dict[Merchant, tuple[list[str], list[dict[str, Any]]]] = {shop.merchant(): ([], []) for _ in range(6)}
    orders = []
    for _ in range(PURCHASES):
        merchant, price = chance.choice(list(bought)), chance.choice(PRICES)
        orders.append((merchant, price, shop.order(chance.choice(devices), merchant, price)))
    single, batched = orders[:40], orders[40:]
    issued = [created(shop.post("/v1/vouchers", {"order": order})) for *_, order in single]
    answer = shop.post("/v1/vouchers/batch", {"orders": [order for *_, order in batched]})
    issued += created(answer, status=200)["results"]
    for (merchant, price, _), voucher in zip(orders, issued, strict=True):
        prices, vouchers = bought[merchant]
        prices.append(price)
        vouchers.append(voucher)
    return bought


def test_a_rejected_payout_is_owed_again_and_paid_to_a_new_account(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("reject", end_to_end_id=_sent(shop, bakery), reason="AC04")
    story.until_answered(shop)
    assert by_merchant(shop)[bakery.id].state == "rejected"
    assert by_merchant(shop)[press.id].state == "booked"
    story.prove_reconciled(shop)
    # To the same account it is not tried again, to another it is.
    run(shop, day=1)
    assert by_merchant(shop)[bakery.id].state == "rejected"
    _move_account(shop, bakery)
    run(shop, day=2)
    story.until_answered(shop)
    assert by_merchant(shop)[bakery.id].state == "booked"
    assert by_merchant(shop)[bakery.id].amount_micros == 3_000_000
    story.prove_reconciled(shop)


def test_a_payout_that_comes_back_later_is_owed_again(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("return", end_to_end_id=_sent(shop, bakery), reason="AC06", runs=2)
    story.until_answered(shop)
    assert by_merchant(shop)[bakery.id].state == "booked"
    story.prove_reconciled(shop)
    for _ in range(2):
        story.work(shop)
        story.collect(shop)
    assert by_merchant(shop)[bakery.id].state == "returned"
    assert by_merchant(shop)[press.id].state == "booked"
    story.prove_reconciled(shop)
    _move_account(shop, bakery)
    run(shop, day=1)
    story.until_answered(shop)
    assert by_merchant(shop)[bakery.id].amount_micros == 3_000_000
    story.prove_reconciled(shop)


def test_a_delayed_payout_is_waited_for_and_nothing_else_waits(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("delay", end_to_end_id=_sent(shop, bakery), runs=2)
    story.work(shop)
    story.collect(shop)
    assert by_merchant(shop)[bakery.id].state == "submitted"
    assert by_merchant(shop)[press.id].state == "booked"
    story.prove(shop.database)
    run(shop, day=1)
    assert len(story.files_sent(Path(bank.folder))) == 1
    story.until_answered(shop)
    story.prove_reconciled(shop)


def test_a_refusal_does_not_speak_for_a_delayed_payment_of_the_same_file(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("reject", end_to_end_id=_sent(shop, bakery), reason="AC04")
    bank.misbehave("delay", end_to_end_id=_sent(shop, press), runs=2)
    story.work(shop)
    story.collect(shop)
    assert (by_merchant(shop)[bakery.id].state, by_merchant(shop)[press.id].state) == ("rejected", "submitted")
    run(shop, day=1)
    story.until_answered(shop)
    assert by_merchant(shop)[press.id].state == "booked"
    story.prove_reconciled(shop)


def test_answers_repeated_change_nothing(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("repeat", every=True)
    story.until_answered(shop)
    story.collect(shop)
    assert {row.state for row in by_merchant(shop).values()} == {"booked"}
    story.prove_reconciled(shop)


def test_a_payment_the_bank_booked_twice_is_a_break_of_its_amount(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    sell(shop, {bakery: "3.00", press: "4.00"})
    run(shop)
    bank.misbehave("repeat", end_to_end_id=_sent(shop, bakery), book_twice=True)
    story.until_answered(shop)
    assert {row.state for row in by_merchant(shop).values()} == {"booked"}
    assert break_kinds(shop) == ["booked_twice"]
    # The audit holds, because the difference between bank and books is exactly what is listed.
    story.prove(shop.database)
    with shop.database.read() as conn:
        (listed,) = reconciliation.open_breaks(conn, before=None, limit=10)
    assert listed.difference_micros == -3_000_000
    run(shop, day=1)
    assert by_merchant(shop)[bakery.id].state == "booked"
    assert len(story.files_sent(Path(bank.folder))) == 1


def test_a_lost_answer_makes_a_payout_unknown_which_blocks_nothing_and_is_never_sent_again(shop: Shop, bank: Bank):
    bakery, press = shop.merchant(), shop.merchant()
    purse = sell(shop, {bakery: "3.00"})
    run(shop)
    lost = _sent(shop, bakery)
    bank.misbehave("lose-answer", end_to_end_id=lost)
    story.work(shop)
    story.collect(shop)
    assert by_merchant(shop)[bakery.id].state == "submitted"
    late = clock.now() + dt.timedelta(days=shop.settings.bank_answer_days)
    reconciliation.mark_unknown(shop.database, older_than=late, at=late)
    assert by_merchant(shop)[bakery.id].state == "unknown"
    story.prove(shop.database)
    # Both shops sell again: the next day's payouts go out, and the unknown one stays alone.
    for merchant in (bakery, press):
        shop.redeem(merchant, shop.voucher(purse, merchant, "1.00"))
    run(shop, day=1)
    newer = by_merchant(shop)
    assert {newer[merchant.id].amount_micros for merchant in (bakery, press)} == {1_000_000}
    story.work(shop)
    story.collect(shop)
    assert story.states(shop.database)[lost] == "unknown"
    assert {newer[merchant.id].state for merchant in (bakery, press)} <= {"submitted", "accepted", "booked"}
    bank.release_answers()
    story.until_answered(shop)
    assert set(story.states(shop.database).values()) == {"booked"}
    story.prove_reconciled(shop)
    with closing(sqlite3.connect(Path(bank.folder) / "bank.sqlite3")) as books:
        executed = books.execute("SELECT count(*) FROM details WHERE end_to_end_id = ?", (lost,)).fetchone()
    assert executed == (1,)


@pytest.mark.parametrize("executed", [True, False])
def test_a_person_decides_what_became_of_an_unknown_payout(shop: Shop, bank: Bank, executed: bool):
    bakery = shop.merchant()
    sell(shop, {bakery: "3.00"})
    run(shop)
    bank.misbehave("lose-answer" if executed else "delay", end_to_end_id=_sent(shop, bakery), runs=1_000)
    story.work(shop)
    story.collect(shop)
    late = clock.now() + dt.timedelta(days=30)
    reconciliation.mark_unknown(shop.database, older_than=late, at=late)
    transaction = by_merchant(shop)[bakery.id]
    with shop.database.settle() as conn:
        reconciliation.conclude(conn, transaction.id, executed=executed, why="asked by telephone", at=late)
    assert by_merchant(shop)[bakery.id].state == ("accepted" if executed else "rejected")
    story.prove(shop.database)
    if executed:
        bank.release_answers()
        story.until_answered(shop)
        story.prove_reconciled(shop)
        return
    # Never executed: owed again.
    assert payable(shop, bakery)["owed"] == "3.00"


def _sent(shop: Shop, merchant: Merchant) -> str:
    end_to_end_id: str = by_merchant(shop)[merchant.id].end_to_end_id
    return end_to_end_id


def _move_account(shop: Shop, merchant: Merchant) -> None:
    with shop.database.write() as conn:
        change_iban(conn, merchant.id, "FR1420041010050500013M02606")

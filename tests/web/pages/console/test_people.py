"""Purses and merchants on the console: found, frozen, limited, suspended, paid elsewhere; each deed is in the log."""

from uuid import uuid4

import pytest

from settlement.answers import reconciliation
from settlement.payouts import own_money
from settlement.runs import nightly, runs
from tests.books import pain002
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, refused
from tests.web.pages.console.conftest import Console, sell
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.purses import limits, purses
from wallet.purses.limits import Caps
from wallet.tables.merchants import BankFeeBearer


def test_a_purse_is_found_frozen_at_once_and_thawed(console: Console) -> None:
    merchant, purse = console.shop.merchant(), console.shop.purse("5.00")
    assert str(purse.id) in console.client.get("/console/purses?q=shopper").get_data(as_text=True)
    assert "Nothing found." in console.get("/purses?q=nobody")
    console.forget_proof()  # freezing may be urgent
    console.post(f"/purses/{purse.id}/freeze")
    assert console.shop.pay(purse, merchant, "0.10").status_code == 403
    assert "frozen" in console.get(f"/purses/{purse.id}")
    assert console.post(f"/purses/{purse.id}/unfreeze").location.startswith("/prove?")
    console = Console(console.shop, "Pierre")
    console.post(f"/purses/{purse.id}/unfreeze")
    assert console.shop.pay(purse, merchant, "0.10").status_code == 201
    assert [line[:2] for line in console.log()] == [
        ("olga@obole.example", "purse_frozen"),
        ("pierre@obole.example", "purse_unfrozen"),
    ]


def test_a_purses_limits_and_credit_are_changed_or_refused_as_a_whole(console: Console) -> None:
    merchant, purse = console.shop.merchant(), console.shop.purse("1.00")
    path = f"/purses/{purse.id}/limits"
    console.post(path, {"per_purchase": "2,50", "per_day": "", "credit": "4", "why": "a good customer"})
    with console.shop.database.read() as conn:
        view = purses.view(conn, purse.id)
    assert (view.credit_micros, view.limits) == (4_000_000, Caps(per_purchase_micros=2_500_000))
    assert console.shop.pay(purse, merchant, "2.50").status_code == 201
    # The purse owes 1.50 now: a credit of 1 is refused, and the limits beside it stay.
    console.post(path, {"per_purchase": "9", "credit": "1", "why": "less"}, status=403)
    console.post(path, {"per_purchase": "much", "why": "typo"}, status=422)
    with console.shop.database.read() as conn:
        assert purses.view(conn, purse.id).limits.per_purchase_micros == 2_500_000
    (line,) = console.log()
    assert line[1:] == ("purse_limits_changed", str(purse.id))
    page = console.get(f"/purses/{purse.id}")
    assert "Purchase" in page
    console.get(f"/purses/{new_id()}", status=404)


def test_a_merchant_is_suspended_and_sells_again(console: Console) -> None:
    merchant, purse = console.shop.merchant("bakery"), console.shop.purse("5.00")
    assert str(merchant.id) in console.client.get("/console/merchants?q=BAKE").get_data(as_text=True)
    console.post(f"/merchants/{merchant.id}/suspend")
    assert console.shop.pay(purse, merchant, "0.10").status_code == 404
    console.post(f"/merchants/{merchant.id}/resume")
    assert console.shop.pay(purse, merchant, "0.10").status_code == 201
    assert [line[1] for line in console.log()] == ["merchant_suspended", "merchant_resumed"]
    console.post(f"/merchants/{uuid4()}/suspend", status=404)


def test_a_merchants_terms_and_account_are_changed_with_the_reason(console: Console) -> None:
    merchant = sell(console.shop)
    terms = {
        "commission_bp": "150",
        "minimum_payout": "5",
        "maximum_wait_days": "3",
        "maximum_fee_share_bp": "100",
        "bank_fee": "merchant",
        "why": "the new contract",
    }
    console.post(f"/merchants/{merchant.id}/terms", terms | {"commission_bp": "10001"}, status=422)
    console.post(f"/merchants/{merchant.id}/terms", terms)
    console.post(f"/merchants/{merchant.id}/iban", {"iban": "FR00", "why": "x"}, status=422)
    console.post(f"/merchants/{merchant.id}/iban", {"iban": SHOPPER_IBAN, "why": "letter of May"})
    console.post(f"/merchants/{merchant.id}/name", {"legal_name": "", "why": "x"}, status=422)
    console.post(f"/merchants/{merchant.id}/name", {"legal_name": "Boulangerie Martin", "why": "its bank says so"})
    with console.shop.database.read() as conn:
        row = merchants.find(conn, merchant.id)
    assert (row.iban, row.legal_name) == (SHOPPER_IBAN, "Boulangerie Martin")
    assert merchants.terms_of(row) == Terms(
        commission_bp=150,
        minimum_payout_micros=5_000_000,
        maximum_wait_days=3,
        maximum_fee_share_bp=100,
        bank_fee=BankFeeBearer.MERCHANT,
    )
    page = console.get("/log")
    assert "the new contract" in page
    assert f"{MERCHANT_IBAN} to {SHOPPER_IBAN}: letter of May" in page
    assert "to Boulangerie Martin: its bank says so" in page


def test_what_the_bank_refused_is_sent_again_by_an_operators_word(console: Console) -> None:
    shop, bakery = console.shop, sell(console.shop, "2.00")
    page = f"/merchants/{bakery.id}"
    run = console.settle()
    assert "given back by the bank" not in console.get(page)
    console.post(f"{page}/retry", {"why": "nothing waits"}, status=409)
    with shop.database.read() as conn:
        (file,) = runs.files(conn, run.id)
    bank = nightly.bank_of(shop.settings)
    refusal = pain002(file.message_id, "RJCT", "AC06")
    reconciliation.import_message(shop.database, refusal, account_iban=bank.iban, at=clock.now())
    assert "the bank refused the account €2.00" in console.get(page)
    assert "AC06" in console.get("/quarantine")
    console.post(f"{page}/retry", {"why": ""}, status=422)
    console.post(f"{page}/retry", {"why": "the account is free again"})
    assert "paid with the next run" in console.get(page)
    assert "AC06" not in console.get("/quarantine")
    assert [line[1:] for line in console.log()] == [("merchant_retried", str(bakery.id))]


def test_a_merchant_is_registered_and_its_people_invited(console: Console) -> None:
    form = {
        "legal_name": "Bakery",
        "origin": "https://bakery.example",
        "email": "till@bakery.example",
        "iban": MERCHANT_IBAN,
        "currency": "EUR",
    }
    console.post("/merchants/new", form | {"iban": "FR00"}, status=422)
    path = console.post("/merchants/new", form).location.removeprefix("/console")
    console.post("/merchants/new", form, status=409)
    console.post(f"{path}/people", {"name": "Bea", "email": "bea@bakery.example", "locale": "fr"})
    page = console.get(path)
    assert "bea@bakery.example" in page
    assert [line[1] for line in console.log()] == ["merchant_registered", "merchant_person_invited"]


@pytest.mark.only_on("sqlite")
def test_a_purse_with_limits_by_its_shopper_shows_them(console: Console) -> None:
    purse = console.shop.purse("1.00")
    with console.shop.database.write() as conn:
        limits.change(conn, purse.id, Caps(per_purchase_micros=1_230_000))
    assert 'value="1.23"' in console.client.get(f"/console/purses/{purse.id}").get_data(as_text=True)


def test_how_far_refunds_may_go_is_changed_and_money_given_back_for_a_suspended_merchant(console: Console) -> None:
    shop = console.shop
    merchant, purse = shop.merchant(), shop.purse("20.00")
    sold = shop.voucher(purse, merchant, "3.00")
    shop.redeem(merchant, sold)
    console.settle()
    path = f"/merchants/{merchant.id}"
    assert "It can give back €0.00 now." in console.get(path)
    back = {"voucher_id": sold["id"], "amount": "2", "why": "the shop is gone"}
    console.post(f"{path}/refund", back, status=409)
    console.post(f"{path}/refund-limit", {"refund_limit": "2,50", "why": "a good customer"})
    assert "It can give back €2.50 now." in console.get(path)
    console.post(f"{path}/suspend")
    refused(
        shop.post(f"/v1/vouchers/{sold['id']}/refunds", {}, token=merchant.token, key="r"), 403, "merchant_suspended"
    )
    console.post(f"{path}/refund", back)
    page = console.get(path)
    assert "Below zero by €2.00" in page
    assert shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()["balance"] == "19.00"
    console.post(f"{path}/refund-limit", {"refund_limit": "", "why": "as everybody"})
    assert "It can give back €0.00 now." in console.get(path)
    assert [line[1:] for line in console.log() if line[1] != "merchant_suspended"] == [
        ("refund_limit_changed", str(merchant.id)),
        ("sale_refunded", sold["id"]),
        ("refund_limit_changed", str(merchant.id)),
    ]


def test_a_debt_is_announced_to_be_paid_back_or_written_off(console: Console) -> None:
    shop = console.shop
    merchant, purse = shop.merchant(), shop.purse("20.00")
    with shop.database.write() as conn:
        merchants.set_refund_limit(conn, merchant.id, 5_000_000)
    sold = shop.voucher(purse, merchant, "3.005")
    shop.redeem(merchant, sold)
    console.settle()
    assert shop.post(f"/v1/vouchers/{sold['id']}/refunds", {}, token=merchant.token, key="r").status_code == 201
    path = f"/merchants/{merchant.id}"
    console.post(f"{path}/repayment", {"amount": "3.00", "currency": "EUR"})
    with shop.database.read() as conn:
        (row,) = own_money.announced(conn, limit=9, merchant_id=merchant.id)
    assert row.reference in console.get(path)
    console.post(f"{path}/write-off", {"written_off": "3.01", "why": "gone"}, status=409)
    console.post(f"{path}/write-off", {"written_off": "1.50", "why": "half of it"})
    assert "Below zero by €1.50" in console.get(path)
    console.post(f"{path}/write-off", {"written_off": "1.50", "why": "the rest"})
    assert "Below zero by" not in console.get(path)
    assert [line[1] for line in console.log()] == ["repayment_announced", "debt_written_off", "debt_written_off"]

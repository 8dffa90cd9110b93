"""The operator's own money over HTTP: announced, taken out once, given up, and what is owed against what is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settlement.payouts import own_money
from tests.support import OWN_IBAN, Merchant, Purse, Shop, created, make_settings, refused
from wallet.books import ledger
from wallet.books.ledger import Posting
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import actions
from wallet.tables.books import Reason


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A wallet whose operator has an account of its own, and has put in 50.00."""
    with Shop(make_settings(tmp_path, database_url, own_iban=OWN_IBAN)) as shop:
        put_in = Posting(reason=Reason.EQUITY_PAID_IN, currency="EUR", amount_micros=50_000_000, reference=new_id())
        with shop.database.write() as conn:
            ledger.open_currency(conn, "EUR")
            ledger.post(conn, put_in, recorded_at=clock.now())
        yield shop


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant("bakery")


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


def log(shop: Shop) -> list[tuple[str, str]]:
    with shop.database.read() as conn:
        lines: list[Any] = list(actions.listing(conn, before=None, limit=99))
    return [(line.who, line.action) for line in reversed(lines)]


def test_what_is_owed_against_what_is_there(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    shop.redeem(bakery, shop.voucher(alice, bakery, "1.00"))
    shop.voucher(alice, bakery, "0.50")
    (euro,) = created(shop.get("/v1/settlement/safeguarding", token=shop.operator), status=200)["items"]
    assert euro == {
        "currency": "EUR",
        "purses": "8.50",
        "held": "0.50",
        "payable": "1.00",
        "in_transit": "0.00",
        "owed": "10.00",
        "bank": "50.00",
        "card_clearing": "10.00",
        "equity": "50.00",
        "fee_income": "0.00",
        "bank_fees": "0.00",
        "losses": "0.00",
        "lent": "0.00",
        "own": "50.00",
        "free": "40.00",
        "short": "0.00",
    }
    refused(shop.get("/v1/settlement/safeguarding", token=bakery.token), 403, "key_scope")


def test_money_is_announced_once_under_its_key(shop: Shop, bakery: Merchant) -> None:
    path = "/v1/settlement/announcements"
    mine = created(shop.post(path, {"amount": "100.00", "currency": "EUR"}, token=shop.operator, key="a"))
    assert shop.post(path, {"amount": "100.00", "currency": "EUR"}, token=shop.operator, key="a").get_json() == mine
    assert (mine["kind"], mine["merchant_id"], mine["amount"]) == ("equity", None, "100.00")
    theirs = {"amount": "2.00", "currency": "EUR", "merchant_id": str(bakery.id)}
    told = created(shop.post(path, theirs, token=shop.operator, key="b"))
    assert (told["kind"], told["merchant_id"]) == ("repayment", str(bakery.id))
    with shop.database.read() as conn:
        found = [*own_money.announced(conn, limit=9), *own_money.announced(conn, limit=9, merchant_id=bakery.id)]
    assert [row.reference for row in found] == [mine["reference"], told["reference"]]
    assert log(shop) == [("key test", "equity_announced"), ("key test", "repayment_announced")]
    for amount, currency, status, code in (
        ("0.001", "EUR", 422, "amount_not_whole_minor"),
        ("1", "JPY", 422, "currency_mismatch"),
    ):
        body = theirs | {"amount": amount, "currency": currency}
        refused(shop.post(path, body, token=shop.operator, key=currency + amount), status, code)
    nobody = theirs | {"merchant_id": str(new_id())}
    refused(shop.post(path, nobody, token=shop.operator, key="c"), 404, "merchant_not_found")


def test_money_is_taken_out_once_and_goes_to_the_operators_own_account(shop: Shop) -> None:
    path, body = "/v1/settlement/own-payments", {"kind": "equity", "amount": "20.00", "currency": "EUR", "why": "done"}
    paid = created(shop.post(path, body, token=shop.operator, key="a"))
    assert shop.post(path, body, token=shop.operator, key="a").get_json() == paid
    assert (paid["creditor_iban"], paid["state"]) == (OWN_IBAN, None)
    too_much = refused(
        shop.post(path, body | {"amount": "29.63"}, token=shop.operator, key="b"), 409, "own_money_exceeded"
    )
    assert "29.62 EUR" in too_much["detail"]
    refused(shop.post(path, body | {"kind": "income"}, token=shop.operator, key="c"), 409, "own_money_exceeded")
    refused(shop.post(path, body | {"kind": "sent_back"}, token=shop.operator, key="d"), 422, "validation_failed")
    preview = created(shop.get("/v1/settlement/preview", token=shop.operator), status=200)["currencies"]
    assert (preview[0]["own_payments"], preview[0]["needed"]) == ({"count": 1, "amount": "20.00"}, "20.38")
    run = created(shop.post("/v1/settlement/runs", {}, token=shop.operator), status=200)
    assert [(each["kind"], each["amount"]) for each in run["outcome"]] == [("equity", "20.00")]
    (listed,) = created(shop.get(path, token=shop.operator), status=200)["items"]
    assert listed == paid | {"state": "submitted"}


def test_a_debt_is_written_off_and_refunds_have_a_limit(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    merchant = f"/v1/merchants/{bakery.id}"
    sold = shop.voucher(alice, bakery, "3.00")
    shop.redeem(bakery, sold)
    shop.post("/v1/settlement/runs", {"business_date": clock.today().isoformat()}, token=shop.operator)
    refund, all_of_it = f"/v1/vouchers/{sold['id']}/refunds", {"amount": "3.00", "currency": "EUR"}
    told = refused(shop.post(refund, all_of_it, token=bakery.token, key="r"), 409, "refund_limit_exceeded")
    assert told["retryable"]
    assert created(shop.get(merchant, token=bakery.token), status=200)["refund_limit"] is None
    refused(
        shop.client.patch(merchant, json={"refund_limit": "9"}, headers={"Authorization": f"Bearer {bakery.token}"}),
        403,
        "key_scope",
    )
    limited = shop.client.patch(
        merchant, json={"refund_limit": "3.00"}, headers={"Authorization": f"Bearer {shop.operator}"}
    )
    assert created(limited, status=200)["refund_limit"] == "3.00"
    assert shop.post(refund, all_of_it, token=shop.operator, key="r").status_code == 201
    body = {"amount": "3.01", "currency": "EUR", "why": "the shop is gone"}
    refused(shop.post(f"{merchant}/write-offs", body, token=shop.operator, key="w"), 409, "debt_exceeded")
    given_up = created(shop.post(f"{merchant}/write-offs", body | {"amount": "3.00"}, token=shop.operator, key="w"))
    assert (given_up["merchant_id"], given_up["amount"]) == (str(bakery.id), "3.00")
    (euro,) = created(shop.get("/v1/settlement/safeguarding", token=shop.operator), status=200)["items"]
    assert (euro["losses"], euro["lent"], euro["own"]) == ("3.00", "0.00", "47.00")
    assert [action for _, action in log(shop)] == [
        *("run_asked", "refund_limit_changed", "sale_refunded", "debt_written_off"),
    ]

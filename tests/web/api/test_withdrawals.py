"""Withdrawals over HTTP: at par, once, and only what is in the purse and worth its fee."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import SHOPPER_IBAN, Purse, Shop, created, make_settings, refused


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


def see(shop: Shop, purse: Purse, part: str = "") -> dict[str, Any]:
    return created(shop.get(f"/v1/purses/{purse.id}{part}", token=purse.token), status=200)


def withdraw(shop: Shop, purse: Purse, key: str | None = "k", **change: str):
    wish = {"amount": "4.00", "currency": "EUR", "iban": SHOPPER_IBAN, "name": "Alice Martin", **change}
    return shop.post(f"/v1/purses/{purse.id}/withdrawals", wish, token=purse.token, key=key)


def test_a_withdrawal_leaves_the_purse_at_par_and_once(shop: Shop, alice):
    first, again = withdraw(shop, alice), withdraw(shop, alice)
    body = created(first)
    assert (body["amount"], body["iban"], body["name"]) == ("4.00", SHOPPER_IBAN, "Alice Martin")
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert see(shop, alice)["balance"] == "6.00"
    refused(withdraw(shop, alice, name="Bob"), 409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "10.01"}, 402, "insufficient_funds"),
        ({"amount": "0.005"}, 422, "amount_not_whole_minor"),
        ({"amount": "0.99"}, 422, "withdrawal_too_small"),
        ({"currency": "USD"}, 422, "currency_mismatch"),
        ({"iban": "GB29NWBK60161331926818"}, 422, "iban_invalid"),
        ({"iban": "nonsense"}, 422, "validation_failed"),
        ({"name": "x" * 71}, 422, "validation_failed"),
        ({"name": "a\u0000"}, 422, "validation_failed"),
    ],
)
def test_withdrawals_that_are_refused(shop: Shop, alice, change, status, code):
    refused(withdraw(shop, alice, **change), status, code)
    assert see(shop, alice)["balance"] == "10.00"


def test_what_is_too_small_to_withdraw_names_the_least_that_is_not(shop: Shop, alice):
    assert "1.00 EUR" in refused(withdraw(shop, alice, amount="0.01"), 422, "withdrawal_too_small")["detail"]
    created(withdraw(shop, alice, amount="1.00"))


def test_where_nothing_is_set_the_least_is_ten_times_the_banks_fee(database_url: str, tmp_path: Path):
    with Shop(make_settings(tmp_path, database_url, withdrawal_minimum={})) as shop:
        alice = shop.purse("10.00")
        assert "3.80 EUR" in refused(withdraw(shop, alice, amount="3.79"), 422, "withdrawal_too_small")["detail"]
        created(withdraw(shop, alice, amount="3.80"))


def test_moving_money_needs_an_idempotency_key(shop: Shop, alice):
    refused(withdraw(shop, alice, key=None), 400, "idempotency_key_required")
    refused(withdraw(shop, alice, key=""), 422, "validation_failed")
    refused(shop.post(f"/v1/purses/{alice.id}/top-ups", {}, token=alice.token), 400, "idempotency_key_required")


def test_credit_cannot_be_withdrawn(shop: Shop):
    purse = shop.purse("1.00", credit_micros=50_000_000)
    refused(withdraw(shop, purse), 402, "insufficient_funds")

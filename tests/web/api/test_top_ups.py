"""Topping up over HTTP: what a shopper is told, and when the sandbox bank is asked."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import segno
import segno.helpers
from sqlalchemy import func, select

from tests.support import OPERATOR_IBAN, SHOPPER_IBAN, Purse, Shop, created, refused
from wallet.funding import closing
from wallet.ground import clock
from wallet.ground.ids import is_reference
from wallet.tables.funding import top_ups


@pytest.fixture
def alice(shop: Shop) -> Purse:
    return shop.purse("10.00")


def see(shop: Shop, purse: Purse, part: str = "") -> dict[str, Any]:
    return created(shop.get(f"/v1/purses/{purse.id}{part}", token=purse.token), status=200)


def top_up(shop: Shop, purse: Purse, key: str = "k", **change: str):
    wish = {"amount": "20.00", "currency": "EUR", "method": "bank_transfer", **change}
    return shop.post(f"/v1/purses/{purse.id}/top-ups", wish, token=purse.token, key=key)


def test_a_top_up_by_bank_transfer_says_how_to_pay(shop: Shop, alice):
    body = created(top_up(shop, alice))
    how = body["bank_transfer"]
    assert (body["amount"], body["currency"], body["method"]) == ("20.00", "EUR", "bank_transfer")
    assert (how["name"], how["iban"], how["bic"]) == ("Obole Test", OPERATOR_IBAN, None)
    assert how["reference"] == body["reference"]
    assert is_reference(how["reference"])
    # Nothing is in the purse until the bank has booked it.
    assert see(shop, alice)["balance"] == "10.00"


def test_the_qr_code_is_the_one_banking_apps_read(shop: Shop, alice):
    how = created(top_up(shop, alice))["bank_transfer"]
    assert how["epc"].split("\n") == [
        "BCD", "002", "1", "SCT", "", "Obole Test", OPERATOR_IBAN, "EUR20.00", "", how["reference"],
    ]  # fmt: skip
    # An independent maker of such codes agrees, but for the decimals it leaves out.
    theirs = segno.helpers.make_epc_qr(
        name="Obole Test", iban=OPERATOR_IBAN, amount=Decimal("20.01"), reference=how["reference"], encoding=1
    )
    ours = segno.make(how["epc"].replace("20.00", "20.01"), error="m", boost_error=False, encoding="utf-8", mode="byte")
    assert ours.version == theirs.version
    assert how["qr_svg"].startswith("<svg")


def test_there_is_no_qr_code_outside_the_euro(shop: Shop):
    purse = shop.purse("0", currency="CHF")
    how = created(top_up(shop, purse, currency="CHF"))["bank_transfer"]
    assert (how["epc"], how["qr_svg"]) == (None, None)


def test_a_purse_that_is_being_closed_takes_none_and_answers_what_was_announced_before(shop: Shop, alice):
    before = created(top_up(shop, alice, method="sandbox"))
    with shop.database.write() as conn:
        closing.begin(conn, alice.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
    for method in ("sandbox", "bank_transfer"):
        refused(top_up(shop, alice, key=method, method=method), 409, "purse_closing")
    assert created(top_up(shop, alice, method="sandbox")) == before
    with shop.database.read() as conn:
        assert conn.execute(select(func.count()).select_from(top_ups)).scalar_one() == 1


def test_a_top_up_is_announced_once(shop: Shop, alice):
    first, again = top_up(shop, alice), top_up(shop, alice, amount="20")
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(top_up(shop, alice, amount="21.00"), 409, "idempotency_conflict")


def test_the_sandbox_bank_is_asked_after_the_commit_and_again_on_a_replay(shop: Shop, alice):
    orders = shop.settings.sandbox_folder / "orders"  # type: ignore[operator]
    body = created(top_up(shop, alice, method="sandbox"))
    assert body["bank_transfer"] is None
    file = orders / f"{body['id']}.json"
    asked = file.read_bytes()
    assert json.loads(asked) == {
        "id": body["id"],
        "amount": "20.00",
        "currency": "EUR",
        "name": "Sandbox shopper",
        "reference": body["reference"],
    }
    file.unlink()
    created(top_up(shop, alice, method="sandbox"))
    assert file.read_bytes() == asked
    assert [path.name for path in orders.iterdir()] == [file.name]


def test_ways_to_top_up_that_are_not_set_up_are_not_offered(tmp_path: Path, shop: Shop, alice):
    refused(top_up(shop, alice, method="card"), 409, "top_up_method_unavailable")
    bare = replace(shop.settings, bank_iban=None, sandbox_folder=None)
    with Shop(bare) as other:
        for method in ("bank_transfer", "sandbox", "card"):
            refused(top_up(other, alice, method=method), 409, "top_up_method_unavailable")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "0.001"}, "amount_not_whole_minor"),
        ({"currency": "USD"}, "currency_mismatch"),
        ({"amount": "0"}, "validation_failed"),
        ({"method": "cheque"}, "validation_failed"),
    ],
)
def test_top_ups_that_are_refused(shop: Shop, alice, change, code):
    refused(top_up(shop, alice, **change), 422, code)

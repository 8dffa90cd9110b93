"""The sales' pages: what matches is listed, and money goes back once, however often the button is pressed."""

import re
from typing import Any

import pytest

from tests.support import Purse, Shop, created
from tests.web.pages.merchant.conftest import Seat, gone_to, sell, settle, words
from wallet.merchants import merchants
from wallet.tables.merchants import MerchantState


@pytest.fixture
def sold(shop: Shop, bakery: Seat, alice: Purse) -> dict[str, Any]:
    """A sale of 2.00."""
    return sell(shop, alice, bakery.merchant, "2.00", resource="two loaves")[0]


def refunded(shop: Shop, seat: Seat, voucher: dict[str, Any]) -> str:
    answer = created(shop.get(f"/v1/vouchers/{voucher['id']}", token=seat.merchant.token), status=200)
    return str(answer["refunded"])


def test_sales_are_found_page_by_page(shop: Shop, bakery: Seat, alice: Purse, sold: dict[str, Any]) -> None:
    sell(shop, alice, bakery.merchant, *["0.10"] * 30, resource="roll")
    shop.voucher(alice, bakery.merchant, "0.30", resource="cake")
    page = bakery.get("/merchant/sales").get_data(as_text=True)
    assert page.count('class="what"') == 25
    (older,) = re.findall(r'href="(/merchant/sales\?[^"]*before=[^"]*)"', page)
    assert bakery.get(older).get_data(as_text=True).count('class="what"') == 7
    searches = {"q": "loaves"}, {"q": sold["id"]}
    for search in searches:
        text = bakery.text("/merchant/sales", **search)
        assert "two loaves" in text
        assert "roll" not in text
    assert "cake" in bakery.text("/merchant/sales", state="held")
    assert "roll" not in bakery.text("/merchant/sales", state="held")
    assert "No sale matches." in bakery.text("/merchant/sales", since="2999-01-01")
    assert "A date such as" in words(bakery.get("/merchant/sales", since="soon"), status=422)
    assert bakery.get("/merchant/sales", before="x").status_code == 404


def test_one_click_gives_all_of_it_back_once(shop: Shop, bakery: Seat, sold: dict[str, Any]) -> None:
    path = f"/merchant/sales/{sold['id']}"
    button = re.search(
        r'name="amount" value="([^"]+)">\s*<input type="hidden" name="refunded" value="([^"]+)"',
        bakery.get(path).get_data(as_text=True),
    )
    assert button is not None
    for _ in range(2):
        assert gone_to(bakery.post(f"{path}/refund", amount=button[1], refunded=button[2])) == path
    assert refunded(shop, bakery, sold) == "2.00"
    assert "Refund all" not in bakery.text(path)


def test_a_part_is_confirmed_first_and_given_back_once(shop: Shop, bakery: Seat, sold: dict[str, Any]) -> None:
    path = f"/merchant/sales/{sold['id']}"
    asked = bakery.text(f"{path}/refund", amount="0,50")
    assert "Refund €0.50?" in asked
    assert "Stays with you €1.50" in asked
    assert refunded(shop, bakery, sold) == "0.00"
    for _ in range(2):
        gone_to(bakery.post(f"{path}/refund", amount="0.50", refunded="0"))
    assert refunded(shop, bakery, sold) == "0.50"
    # A colleague who still sees nothing refunded does not add to it, whatever the amount.
    for amount in ("0.70", "1.50"):
        answer = bakery.post(f"{path}/refund", amount=amount, refunded="0")
        assert "Part of this sale was refunded meanwhile." in words(answer, status=409)
    assert refunded(shop, bakery, sold) == "0.50"
    # Nor to what the shop's own program refunded.
    body = {"amount": "0.10", "currency": "EUR"}
    created(shop.post(f"/v1/vouchers/{sold['id']}/refunds", body, token=bakery.merchant.token, key="r"))
    answer = bakery.post(f"{path}/refund", amount="0.20", refunded="500000")
    assert "Part of this sale was refunded meanwhile." in words(answer, status=409)
    gone_to(bakery.post(f"{path}/refund", amount="1.40", refunded="600000"))
    assert refunded(shop, bakery, sold) == "2.00"


@pytest.mark.parametrize("amount", ["", "0", "-1", "2.01", "1e3", "0.0000001"])
def test_what_cannot_be_refunded_is_refused_next_to_the_form(
    shop: Shop, bakery: Seat, sold: dict[str, Any], amount: str
) -> None:
    path = f"/merchant/sales/{sold['id']}"
    status = 409 if amount == "2.01" else 422
    assert 'role="alert"' in bakery.get(f"{path}/refund", amount=amount).get_data(as_text=True)
    assert bakery.get(f"{path}/refund", amount=amount).status_code == status
    assert bakery.post(f"{path}/refund", amount=amount, refunded="0").status_code == status
    assert refunded(shop, bakery, sold) == "0.00"


def test_a_hold_is_taken_or_given_back(shop: Shop, bakery: Seat, alice: Purse) -> None:
    taken, given = (shop.voucher(alice, bakery.merchant, "1.00") for _ in "12")
    paths = [f"/merchant/sales/{each['id']}" for each in (taken, given)]
    assert "Take €1.00" in bakery.text(paths[0])
    assert gone_to(bakery.post(f"{paths[0]}/redeem")) == paths[0]
    assert gone_to(bakery.post(f"{paths[1]}/release")) == paths[1]
    assert "redeemed €1.00" in bakery.text(paths[0])
    assert "released €0.00" in bakery.text(paths[1])
    assert "back in the purse" in words(bakery.post(f"{paths[1]}/redeem"), status=409)
    assert "refund it instead" in words(bakery.post(f"{paths[0]}/release"), status=409)


def test_a_sale_comes_with_the_proof_that_it_was_paid_out(
    shop: Shop, bakery: Seat, press: Seat, sold: dict[str, Any]
) -> None:
    path = f"/merchant/sales/{sold['id']}/proof"
    assert bakery.get(path).status_code == 404
    settle(shop)
    payout = created(shop.get("/v1/payouts", token=bakery.merchant.token), status=200)["items"][0]["id"]
    query = {"voucher": sold["id"]}
    proof = created(shop.get(f"/v1/payouts/{payout}/proof", token=bakery.merchant.token, **query), status=200)
    assert bakery.get(path).get_json() == proof
    assert press.get(path).status_code == 404
    assert path in bakery.get(f"/merchant/sales/{sold['id']}").get_data(as_text=True)


def test_another_merchants_sale_is_not_there(
    shop: Shop, bakery: Seat, press: Seat, alice: Purse, sold: dict[str, Any]
) -> None:
    held = shop.voucher(alice, bakery.merchant, "1.00")
    for voucher, deeds in ((sold, ("refund",)), (held, ("redeem", "release"))):
        path = f"/merchant/sales/{voucher['id']}"
        assert press.get(path).status_code == 404
        for deed in deeds:
            assert press.post(f"{path}/{deed}", amount="1.00", refunded="0").status_code == 404
    assert press.get(f"/merchant/sales/{sold['id']}/refund", amount="1.00").status_code == 404
    assert refunded(shop, bakery, sold) == "0.00"
    assert "held" in bakery.text(f"/merchant/sales/{held['id']}")
    assert "two loaves" not in press.text("/merchant/sales")


def test_a_form_without_its_token_does_nothing(shop: Shop, bakery: Seat, sold: dict[str, Any]) -> None:
    path = f"/merchant/sales/{sold['id']}/refund"
    form = {"amount": "2.00", "refunded": "0"}
    answer = bakery.client.post(path, data=form, base_url=shop.settings.origin)
    assert "form_outdated" in words(answer, status=answer.status_code)
    assert answer.status_code >= 400
    assert refunded(shop, bakery, sold) == "0.00"


def test_a_refund_that_goes_too_far_is_refused_before_the_button_is_pressed(
    shop: Shop, bakery: Seat, sold: dict[str, Any]
) -> None:
    settle(shop)
    path = f"/merchant/sales/{sold['id']}/refund"

    def asked_and_pressed(status: int) -> list[str]:
        tried = bakery.get(path, amount="0.01"), bakery.post(path, amount="0.01", refunded="0")
        return [words(answer, status=status) for answer in tried]

    asked, pressed = asked_and_pressed(409)
    assert "The merchant is not owed enough to give that back." in asked
    assert "0.00 EUR can be given back now" in pressed
    with shop.database.write() as conn:
        merchants.set_refund_limit(conn, bakery.merchant.id, 500_000)
        merchants.set_state(conn, bakery.merchant.id, MerchantState.SUSPENDED)
    for said in asked_and_pressed(403):
        assert "only an operator gives money back for it" in said
    with shop.database.write() as conn:
        merchants.set_state(conn, bakery.merchant.id, MerchantState.ACTIVE)
    gone_to(bakery.post(path, amount="0.50", refunded="0"))
    assert refunded(shop, bakery, sold) == "0.50"

"""A merchant's payouts over HTTP: what was paid, every line of it, and what is owed now."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from tests.support import MERCHANT_IBAN, Merchant, Purse, Shop, created, refused
from wallet.ground import clock
from wallet.ground.ids import new_id


def got(shop: Shop, path: str, token: str, **query: Any) -> dict[str, Any]:
    return created(shop.get(path, token=token, **query), status=200)


def sell(shop: Shop, purse: Purse, merchant: Merchant, *amounts: str, **more: Any) -> list[dict[str, Any]]:
    vouchers = [shop.voucher(purse, merchant, amount, **more) for amount in amounts]
    shop.redeem(merchant, *vouchers)
    return vouchers


def settle(shop: Shop) -> dict[str, Any]:
    return created(shop.post("/v1/settlement/runs", token=shop.operator), status=200)


@pytest.fixture
def paid(shop: Shop, bakery: Merchant, alice: Purse) -> dict[str, Any]:
    """A payout of three purchases (1.572) and a refund (0.20)."""
    *_, last = sell(shop, alice, bakery, "1.07", "0.002", "0.50", resource="bread")
    body = {"amount": "0.20", "currency": "EUR"}
    created(shop.post(f"/v1/vouchers/{last['id']}/refunds", body, token=bakery.token, key="r"))
    settle(shop)
    (payout,) = got(shop, "/v1/payouts", bakery.token)["items"]
    return payout


def test_a_payout_and_its_arithmetic(shop: Shop, bakery: Merchant, paid: dict[str, Any]) -> None:
    known = ("id", "state_since", "reference", "end_to_end_id", "execution_date")
    assert {name: value for name, value in paid.items() if name not in known} == {
        "business_date": clock.today().isoformat(),
        "after_date": None,
        "currency": "EUR",
        "carried_in": "0.00",
        "captured": "1.572",
        "refunded": "0.20",
        "came_back": "0.00",
        "repaid": "0.00",
        "commission": "0.0343",
        "bank_fee": "0.38",
        "net": "0.95",
        "carried_out": "0.0077",
        "purchases": 3,
        # 0.4143 over three purchases, rounded up; the bank alone would have taken more than was sold.
        "fee_per_purchase": "0.1381",
        "bank_fee_one_by_one": "1.14",
        "state": "submitted",
        "state_detail": None,
        "payee_name": None,
        "creditor_iban": MERCHANT_IBAN,
    }
    assert got(shop, f"/v1/payouts/{paid['id']}", bakery.token) == paid


def test_every_line_of_it_page_by_page(shop: Shop, bakery: Merchant, paid: dict[str, Any]) -> None:
    path = f"/v1/payouts/{paid['id']}/lines"
    whole = got(shop, path, bakery.token)
    assert [(line["reason"], line["amount"], line["resource"]) for line in whole["items"]] == [
        ("redeem", "1.07", "bread"),
        ("redeem", "0.002", "bread"),
        ("redeem", "0.50", "bread"),
        ("refund", "-0.20", "bread"),
    ]
    assert whole["next_cursor"] is None
    # The refund is of the third purchase.
    assert whole["items"][3]["voucher_id"] == whole["items"][2]["voucher_id"] == whole["items"][2]["reference"]
    assert whole["items"][3]["reference"] != whole["items"][3]["voucher_id"]
    pages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while not pages or cursor:
        pages.append(got(shop, path, bakery.token, limit=3, **cursor))
        cursor = {"cursor": pages[-1]["next_cursor"]} if pages[-1]["next_cursor"] else {}
    assert [len(page["items"]) for page in pages] == [3, 1]
    assert [line for page in pages for line in page["items"]] == whole["items"]


def statement(shop: Shop, merchant: Merchant, payout_id: str) -> list[dict[str, str]]:
    answer = shop.get(f"/v1/payouts/{payout_id}/statement.csv", token=merchant.token)
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True), newline="")))


def test_the_csv_adds_up_to_the_payout(shop: Shop, bakery: Merchant, paid: dict[str, Any]) -> None:
    rows = statement(shop, bakery, paid["id"])
    totals = {row["kind"]: Decimal(row["amount"]) for row in rows if not row["line"]}
    lines = sum(Decimal(row["amount"]) for row in rows if row["line"])
    assert len([row for row in rows if row["line"]]) == 4
    assert totals.pop("bank_fee_if_paid_one_by_one") == Decimal("1.14")
    assert lines + sum(totals.values()) - totals["paid"] == totals["paid"] == Decimal(paid["net"])
    assert {row["currency"] for row in rows} == {"EUR"}


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "x;=1+1", " =1", 'x"=1', "\uff1d1"]


def test_the_csv_holds_no_formula(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    for text in FORMULAS:
        sell(shop, alice, bakery, "1.00", resource=text)
    settle(shop)
    (payout,) = got(shop, "/v1/payouts", bakery.token)["items"]
    resources = [row["resource"] for row in statement(shop, bakery, payout["id"]) if row["line"]]
    assert [resource.replace("'", "") for resource in resources] == FORMULAS
    # No cell begins a formula, whichever character a spreadsheet splits at.
    cells = [cell for resource in resources for cell in resource.replace(";", ",").replace('"', ",").split(",")]
    assert not [cell for cell in cells if cell.strip()[:1] in ("=", "+", "-", "@", "\uff1d")]


def test_payouts_are_listed_newest_first(shop: Shop, alice: Purse) -> None:
    kiosk = shop.merchant("kiosk", maximum_wait_days=0)
    dates = []
    for _ in range(3):
        sell(shop, alice, kiosk, "1.00")
        with shop.database.read() as conn:
            date = str(conn.exec_driver_sql("SELECT max(business_date) FROM business_days").scalar_one())
        body = {"business_date": date}
        answer = shop.post("/v1/settlement/runs", body, token=shop.operator)
        if answer.status_code != 200:
            break  # no further ahead than tomorrow
        dates.append(date)
    first = got(shop, "/v1/payouts", kiosk.token, limit=1)
    second = got(shop, "/v1/payouts", kiosk.token, limit=1, cursor=first["next_cursor"])
    assert [page["items"][0]["business_date"] for page in (second, first)] == dates
    assert second["next_cursor"] is None
    assert second["items"][0]["after_date"] is None
    assert first["items"][0]["after_date"] == dates[0]


def test_what_is_owed_now(shop: Shop, bakery: Merchant, alice: Purse, paid: dict[str, Any]) -> None:
    sell(shop, alice, bakery, "2.00")
    owed = got(shop, "/v1/payable", bakery.token)
    assert (owed["currency"], owed["owed"], owed["commission"], owed["bank_fee"]) == ("EUR", "2.0077", "0.05", "0.38")
    sent, tonight, rest = owed["parts"]
    assert (sent["reason"], sent["amount"], sent["payout_id"]) == ("with_the_bank", "0.95", paid["id"])
    assert sent["date"] == paid["execution_date"]
    assert (tonight["reason"], tonight["amount"], tonight["payout_id"]) == ("next_run", "1.57", None)
    assert (rest["reason"], rest["amount"], rest["date"]) == ("below_minor_unit", "0.0077", None)


def test_nothing_is_owed_to_who_sold_nothing(shop: Shop) -> None:
    kiosk = shop.merchant("kiosk")
    assert got(shop, "/v1/payable", kiosk.token) == {
        "currency": "EUR",
        "owed": "0.00",
        "commission": "0.00",
        "bank_fee": "0.00",
        "parts": [],
    }
    assert got(shop, "/v1/payouts", kiosk.token) == {"items": [], "next_cursor": None}


def test_somebody_elses_payout_is_not_there(shop: Shop, paid: dict[str, Any]) -> None:
    stranger = shop.merchant("stranger")
    for tail in ("", "/lines", "/statement.csv"):
        refused(shop.get(f"/v1/payouts/{paid['id']}{tail}", token=stranger.token), 404, "payout_not_found")
        refused(shop.get(f"/v1/payouts/{new_id()}{tail}", token=stranger.token), 404, "payout_not_found")
        refused(shop.get(f"/v1/payouts/nonsense{tail}", token=stranger.token), 404, "not_found")
    assert got(shop, "/v1/payouts", stranger.token)["items"] == []


def test_only_merchants_see_payouts(shop: Shop, alice: Purse) -> None:
    paths = ["/v1/payouts", "/v1/payable", *(f"/v1/payouts/{new_id()}{t}" for t in ("", "/lines", "/statement.csv"))]
    for path in paths:
        refused(shop.get(path), 401, "unauthorized")
        refused(shop.get(path, token=alice.token), 403, "key_scope")
        refused(shop.get(path, token=shop.operator), 403, "key_scope")


def test_a_cursor_is_good_for_its_own_list_only(shop: Shop, bakery: Merchant, paid: dict[str, Any]) -> None:
    lines = f"/v1/payouts/{paid['id']}/lines"
    cursor = got(shop, lines, bakery.token, limit=1)["next_cursor"]
    refused(shop.get("/v1/payouts", token=bakery.token, cursor=cursor), 422, "validation_failed")
    refused(shop.get(lines, token=bakery.token, cursor=cursor + "x"), 422, "validation_failed")
    refused(shop.get(lines, token=bakery.token, limit=0), 422, "validation_failed")
    refused(shop.get(lines, token=bakery.token, colour="red"), 422, "validation_failed")


def test_who_wants_json_gets_no_csv(shop: Shop, bakery: Merchant, paid: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {bakery.token}", "Accept": "application/json"}
    answer = shop.client.get(f"/v1/payouts/{paid['id']}/statement.csv", headers=headers)
    refused(answer, 406, "not_acceptable")

"""Breaks over HTTP: what can be done about one, who it may be for, and how a program closes it, once under its key."""

import datetime as dt
from typing import Any

import pytest

from tests.books import camt, entry
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN, Merchant, Purse, Shop, bearer, created, refused
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import actions
from wallet.tables.purses import shoppers

DAY = dt.date(2026, 11, 23)


def got(shop: Shop, path: str, **query: Any) -> dict[str, Any]:
    return created(shop.get(path, token=shop.operator, **query), status=200)


def told(shop: Shop, *entries: str, closing: int = 12_000_000) -> None:
    told_by(shop, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": closing}, list(entries), day=DAY))


def told_by(shop: Shop, message: bytes) -> None:
    answer = shop.client.post(
        "/v1/settlement/statements", data=message, content_type="application/xml", headers=bearer(shop.operator)
    )
    created(answer, status=200)


@pytest.fixture
def stranger(shop: Shop) -> str:
    """The break of 12.00 that nobody announced."""
    told(shop, entry("A1", 12_000_000, "EUR", text="hello", payer=("Erika", SHOPPER_IBAN)))
    (found,) = got(shop, "/v1/settlement/breaks")["items"]
    return str(found["id"])


def resolve(shop: Shop, break_id: str, body: dict[str, Any], *, key: str = "first") -> Any:
    return shop.post(f"/v1/settlement/breaks/{break_id}/resolve", body, token=shop.operator, key=key)


def test_a_break_says_how_it_can_be_closed_and_whom_it_may_be_for(shop: Shop, stranger: str, alice: Purse) -> None:
    found = got(shop, f"/v1/settlement/breaks/{stranger}")
    assert found["ways"][:3] == ["assign", "split", "repayment"]
    assert (found["difference"], found["payer_name"], found["payer_iban"]) == ("12.00", "Erika", SHOPPER_IBAN)
    assert (found["suggestions"], found["resolution"], found["resolved_at"]) == ([], None, None)
    body = {"method": "bank_transfer", "amount": "12.00", "currency": "EUR"}
    announced = created(shop.post(f"/v1/purses/{alice.id}/top-ups", body, token=alice.token, key="t"))
    (suggested,) = got(shop, f"/v1/settlement/breaks/{stranger}")["suggestions"]
    assert (suggested["purse_id"], suggested["because"]) == (str(alice.id), "amount")
    assert suggested["reference"] == announced["reference"]
    refused(shop.get(f"/v1/settlement/breaks/{new_id()}", token=shop.operator), 404, "not_found")
    refused(shop.get(f"/v1/settlement/breaks/{stranger}", token=alice.token), 403, "key_scope")


def test_a_merchant_that_may_have_paid_it_back_is_suggested(shop: Shop, bakery: Merchant) -> None:
    told(shop, entry("A1", 12_000_000, "EUR", text="hello", payer=("Somebody", MERCHANT_IBAN)))
    (found,) = got(shop, "/v1/settlement/breaks")["items"]
    (suggested,) = got(shop, f"/v1/settlement/breaks/{found['id']}")["suggestions"]
    assert (suggested["purse_id"], suggested["merchant_id"]) == (None, str(bakery.id))
    assert suggested["because"] == "account"


def test_a_break_is_closed_once_under_its_key(shop: Shop, stranger: str, alice: Purse) -> None:
    body = {"way": "assign", "why": "asked", "who": alice.id}
    refused(resolve(shop, stranger, body | {"who": "nobody"}), 404, "purse_not_found")
    done = created(resolve(shop, stranger, body), status=200)
    assert done == {
        "way": "assign",
        "closed": True,
        "break_ids": [stranger],
        "currency": "EUR",
        "amount": "12.00",
        "loss": "0.00",
        "shares": [{"purse_id": str(alice.id), "merchant_id": None, "amount": "12.00"}],
        "payment_id": None,
    }
    again = resolve(shop, stranger, body)
    assert (again.headers["Idempotent-Replayed"], again.get_json()) == ("true", done)
    assert created(shop.get(f"/v1/purses/{alice.id}", token=alice.token), status=200)["balance"] == "32.00"
    refused(resolve(shop, stranger, body | {"why": "other"}), 409, "idempotency_conflict")
    refused(resolve(shop, stranger, body, key="second"), 404, "not_found")
    with shop.database.read() as conn:
        line = actions.listing(conn, before=None, limit=1)[0]
    assert (line.who, line.action, line.subject) == ("key test", "break_resolved", stranger)
    closed = got(shop, f"/v1/settlement/breaks/{stranger}")
    assert (closed["resolution"], closed["ways"]) == ("assign: asked", [])


def test_one_payment_is_split_over_several(shop: Shop, stranger: str, alice: Purse, bakery: Merchant) -> None:
    parts = [{"who": str(alice.id), "amount": "5.00"}, {"who": str(bakery.id), "amount": "6.00"}]
    body = {"way": "split", "why": "they said so", "parts": parts}
    refused(resolve(shop, stranger, body), 409, "break_unexplained")
    done = created(resolve(shop, stranger, body | {"parts": [*parts, {"amount": "1.00"}]}), status=200)
    assert [(each["purse_id"], each["merchant_id"], each["amount"]) for each in done["shares"]] == [
        (str(alice.id), None, "5.00"),
        (None, str(bakery.id), "6.00"),
        (None, None, "1.00"),
    ]


def test_it_is_sent_back_with_the_next_run(shop: Shop, stranger: str) -> None:
    done = created(resolve(shop, stranger, {"way": "send_back", "why": "nobody knows them"}), status=200)
    run = created(shop.post("/v1/settlement/runs", {}, token=shop.operator), status=200)
    assert [(each["kind"], each["amount"]) for each in run["outcome"]] == [("sent_back", "12.00")]
    (payment,) = got(shop, "/v1/settlement/own-payments")["items"]
    assert (payment["id"], payment["creditor_iban"]) == (done["payment_id"], SHOPPER_IBAN)


def test_what_never_came_is_undone(shop: Shop, alice: Purse, bakery: Merchant) -> None:
    today = clock.today()
    long_ago = today - dt.timedelta(days=15)
    early = entry("N1", 3_000_000, "EUR", text="early", day=long_ago)
    told_by(shop, camt("054", "N1", "EUR", {}, [early], day=long_ago))
    (found,) = got(shop, "/v1/settlement/breaks")["items"]
    parts = [{"who": str(alice.id), "amount": "2.00"}, {"amount": "1.00"}]
    created(resolve(shop, found["id"], {"way": "split", "why": "they said so", "parts": parts}), status=200)
    shop.redeem(bakery, shop.voucher(alice, bakery, "21.00"))
    fee = entry("S1", -380_000, "EUR", code="ACMT/MDOP/CHRG", day=today)
    told_by(shop, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": -380_000}, [fee], day=today))
    (found,) = got(shop, "/v1/settlement/breaks")["items"]
    assert got(shop, f"/v1/settlement/breaks/{found['id']}")["ways"] == ["undo", "offset", "acknowledge"]
    done = created(resolve(shop, found["id"], {"way": "undo", "why": "it never came"}, key="second"), status=200)
    assert (done["break_ids"], done["amount"], done["loss"]) == ([found["id"]], "3.00", "1.00")
    assert created(shop.get(f"/v1/purses/{alice.id}", token=alice.token), status=200)["balance"] == "0.00"
    assert got(shop, "/v1/audit")["ok"] is True


def test_what_does_not_explain_a_break_is_refused(shop: Shop, stranger: str, alice: Purse) -> None:
    for body, status, code in (
        ({"way": "assign"}, 422, "validation_failed"),
        ({"way": "nonsense", "why": "x"}, 422, "validation_failed"),
        ({"way": "assign", "why": "x"}, 404, "purse_not_found"),
        ({"way": "repayment", "why": "x", "who": str(alice.id)}, 404, "merchant_not_found"),
        ({"way": "take_back", "why": "x"}, 409, "break_unexplained"),
        ({"way": "return", "why": "x", "payment_ids": [str(new_id())]}, 404, "payout_not_found"),
        ({"way": "offset", "why": "x", "break_ids": [str(new_id())]}, 404, "not_found"),
    ):
        refused(resolve(shop, stranger, body), status, code)
    (still,) = got(shop, "/v1/settlement/breaks")["items"]
    assert still["id"] == stranger
    without_a_key = shop.post(f"/v1/settlement/breaks/{stranger}/resolve", {}, token=shop.operator)
    refused(without_a_key, 400, "idempotency_key_required")


def test_an_account_that_the_bank_would_not_pay_to_is_refused(shop: Shop) -> None:
    told(shop, entry("A1", 12_000_000, "EUR", text="hello"))
    (found,) = got(shop, "/v1/settlement/breaks")["items"]
    body = {"way": "send_back", "why": "x", "name": "Erika", "iban": "FR00"}
    refused(resolve(shop, found["id"], body), 422, "iban_invalid")


def test_a_name_that_several_have_is_refused(shop: Shop, stranger: str, alice: Purse, bakery: Merchant) -> None:
    shop.purse("0.00")
    with shop.database.write() as conn:
        conn.execute(shoppers.update().values(name="Ada", name_key="ada"))
    refused(resolve(shop, stranger, {"way": "assign", "why": "x", "who": "ada"}), 409, "name_ambiguous")


def test_what_is_only_noted_stays_open(shop: Shop, stranger: str) -> None:
    done = created(resolve(shop, stranger, {"way": "acknowledge", "why": "asked the bank"}), status=200)
    assert (done["closed"], done["shares"]) == (False, [])
    assert got(shop, f"/v1/settlement/breaks/{stranger}")["resolution"] == "asked the bank"

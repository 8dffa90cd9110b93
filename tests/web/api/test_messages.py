"""The bank's messages over HTTP: each document has its answer, and what is refused is kept and tried again."""

import datetime as dt
from typing import Any

import pytest

from settlement.answers import quarantine, reconciliation
from settlement.bank.formats import envelope
from tests.books import camt, entry, pain002
from tests.support import Merchant, Purse, Shop, bearer, created, refused
from wallet.ground.ids import new_id
from wallet.people import actions

DAY = dt.date(2026, 11, 23)
GARBLED = b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><A/></Document>'


@pytest.fixture
def run(shop: Shop, bakery: Merchant, alice: Purse) -> str:
    """The file that pays a purchase."""
    shop.redeem(bakery, shop.voucher(alice, bakery, "1.07"))
    run = created(shop.post("/v1/settlement/runs", {}, token=shop.operator), status=200)
    return str(run["files"][0]["message_id"])


def got(shop: Shop, path: str, **query: Any) -> dict[str, Any]:
    return created(shop.get(path, token=shop.operator, **query), status=200)


def told(shop: Shop, message: bytes, content_type: str = "application/xml") -> Any:
    return shop.client.post(
        "/v1/settlement/statements", data=message, content_type=content_type, headers=bearer(shop.operator)
    )


def test_what_is_refused_is_kept_in_quarantine(shop: Shop) -> None:
    problem = refused(told(shop, GARBLED), 422, "bank_message_invalid")
    with shop.database.read() as conn:
        (message,) = quarantine.listing(conn)
        assert quarantine.find(conn, message.id).content == GARBLED
    assert message.reason == problem["detail"]


def test_a_failure_that_nobody_foresaw_is_told_by_its_code(
    shop: Shop, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = pain002(run, "ACSP", None)
    with monkeypatch.context() as patch:
        patch.setattr(reconciliation, "import_message", lambda *_, **__: dict[str, object]()["nothing"])
        problem = refused(told(shop, message), 500, "bank_message_failed")
    assert (problem["retryable"], "KeyError" in problem["detail"]) == (False, True)
    assert created(told(shop, message), status=200)["statuses"] == 1


def test_of_several_documents_each_is_told_by_itself(shop: Shop, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "documents", lambda data: tuple(data.split(b"|")))
    one, two = pain002(run, "ACSP", None), pain002("NOT-OURS", "ACSP", None)
    answer = created(told(shop, b"|".join((one, b"<x/>", two)), "application/zip"), status=200)
    first, bad, second = answer.pop("documents")
    assert (first["imported"]["statuses"], first["refused"]) == (1, None)
    assert (bad["imported"], bad["refused"]["code"]) == (None, "bank_message_invalid")
    assert (second["imported"]["breaks"], second["refused"]) == (["unknown_transaction"], None)
    assert answer == first["imported"] | {"breaks": ["unknown_transaction"]}
    again = created(told(shop, b"|".join((one, two)), "application/zip"), status=200)
    assert (again["seen_before"], again["statuses"], again["breaks"]) == (True, 0, [])
    refused(told(shop, b"<x/>|<y/>", "application/zip"), 422, "bank_message_invalid")


def test_what_is_in_quarantine_is_listed_page_by_page_without_its_bytes(shop: Shop) -> None:
    for number in range(3):
        refused(told(shop, b"<x%d/>" % number), 422, "bank_message_invalid")
    page = got(shop, "/v1/settlement/quarantine", limit=2)
    rest = got(shop, "/v1/settlement/quarantine", limit=2, cursor=page["next_cursor"])
    listed = page["items"] + rest["items"]
    assert [(each["name"], each["size"]) for each in listed] == [("sent over HTTP", 5)] * 3
    assert len({each["sha256"] for each in listed}) == 3
    assert set(listed[0]) == {"id", "name", "reason", "size", "sha256", "refused_at"}
    assert rest["next_cursor"] is None


def test_a_message_in_quarantine_is_tried_again(shop: Shop, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = pain002(run, "ACSP", None)
    with monkeypatch.context() as patch:
        patch.setattr(reconciliation, "import_message", lambda *_, **__: dict[str, object]()["nothing"])
        refused(told(shop, message), 500, "bank_message_failed")
        (waiting,) = got(shop, "/v1/settlement/quarantine")["items"]
        again = f"/v1/settlement/quarantine/{waiting['id']}/retry"
        refused(shop.post(again, token=shop.operator), 500, "bank_message_failed")
    answer = created(shop.post(again, token=shop.operator), status=200)
    assert (answer["kind"], answer["statuses"], len(answer["documents"])) == ("pain.002", 1, 1)
    assert got(shop, "/v1/settlement/quarantine")["items"] == []
    refused(shop.post(again, token=shop.operator), 404, "not_found")
    refused(shop.post(f"/v1/settlement/quarantine/{new_id()}/retry", token=shop.operator), 404, "not_found")
    with shop.database.read() as conn:
        newest = actions.listing(conn, before=None, limit=1)[0]
    assert (newest.who, newest.action, newest.subject) == ("key test", "message_imported", waiting["id"])


def test_messages_are_listed_with_what_became_of_each_entry(shop: Shop, run: str, alice: Purse) -> None:
    body = {"method": "bank_transfer", "amount": "5.00", "currency": "EUR"}
    top_up = created(shop.post(f"/v1/purses/{alice.id}/top-ups", body, token=alice.token, key="t"))
    said = [
        entry("A1", 5_000_000, "EUR", rf=top_up["reference"], day=DAY),
        entry("A2", 7_000_000, "EUR", text="hello", day=DAY),
    ]
    created(told(shop, camt("054", "N1", "EUR", {}, said[:1], day=DAY)), status=200)
    created(told(shop, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 12_000_000}, said, day=DAY)), status=200)
    statement, notification = got(shop, "/v1/settlement/messages")["items"]
    assert (statement["kind"], statement["entries"], statement["open_breaks"]) == ("camt.053", 2, 1)
    assert (notification["kind"], notification["is_done"]) == ("camt.054", True)
    path = f"/v1/settlement/messages/{statement['id']}/entries"
    page = got(shop, path, limit=1)
    (again,), (unknown,) = page["items"], got(shop, path, cursor=page["next_cursor"])["items"]
    assert (again["became"], again["first_told_in"], again["shares"]) == ("paired", notification["id"], [])
    (broken,) = got(shop, "/v1/settlement/breaks")["items"]
    assert (unknown["became"], unknown["break_id"], unknown["amount"]) == ("break", broken["id"], "7.00")
    (first,) = got(shop, f"/v1/settlement/messages/{notification['id']}/entries")["items"]
    assert (first["id"], first["became"]) == (again["first_told_by"], "top_up")
    assert first["shares"] == [{"purse_id": str(alice.id), "merchant_id": None, "amount": "5.00"}]
    nowhere = shop.get(f"/v1/settlement/messages/{new_id()}/entries", token=shop.operator)
    refused(nowhere, 404, "not_found")

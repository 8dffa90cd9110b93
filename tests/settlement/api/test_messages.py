"""The bank's messages over HTTP: each document has its answer, and what is refused is kept and tried again."""

from typing import Any

import pytest

from settlement import envelope, quarantine, reconciliation
from tests.books import pain002
from tests.support import Merchant, Purse, Shop, bearer, created, refused
from wallet import actions
from wallet.ids import new_id

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

"""The settlement over HTTP: run it, look at it, import what the bank says, prove the books. For operators only."""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from settlement.audit import audits
from settlement.bank.formats import xml
from tests.books import camt, entry, pain002
from tests.settlement.verifications import one, verified
from tests.support import (
    MERCHANT_IBAN,
    OPERATOR_IBAN,
    ORIGIN,
    Merchant,
    Purse,
    Shop,
    bearer,
    created,
    hashed,
    make_settings,
    refused,
)
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.people import actions, identities
from wallet.tables.people import IdentityKind
from wallet.tables.telling import mails
from web.http import bodies


@pytest.fixture
def bakery(shop: Shop) -> Merchant:
    return shop.merchant("bakery")


@pytest.fixture
def run(shop: Shop, bakery: Merchant, alice: Purse) -> dict[str, Any]:
    """The run that pays a purchase of 1.07 and a withdrawal of 3.00."""
    shop.redeem(bakery, shop.voucher(alice, bakery, "1.07"))
    withdrawal = {"amount": "3.00", "currency": "EUR", "iban": MERCHANT_IBAN, "name": "Alice"}
    created(shop.post(f"/v1/purses/{alice.id}/withdrawals", withdrawal, token=alice.token, key="w"))
    return created(shop.post("/v1/settlement/runs", {}, token=shop.operator), status=200)


def got(shop: Shop, path: str, **query: Any) -> dict[str, Any]:
    return created(shop.get(path, token=shop.operator, **query), status=200)


def told(shop: Shop, message: bytes, content_type: str = "application/xml") -> Any:
    return shop.client.post(
        "/v1/settlement/statements", data=message, content_type=content_type, headers=bearer(shop.operator)
    )


def statement(*entries: str, closing: int = 0, statement_id: str = "S1", iban: str = OPERATOR_IBAN) -> bytes:
    balances = {"OPBD": 0, "CLBD": closing}
    return camt("053", statement_id, "EUR", balances, list(entries), day=dt.date(2026, 11, 24), iban=iban)


def end_to_end_id(shop: Shop, merchant: Merchant) -> str:
    payouts = created(shop.get("/v1/payouts", token=merchant.token), status=200)["items"]
    return str(payouts[0]["end_to_end_id"])


# --- runs --------------------------------------------------------------------------------------------------


def test_a_run_with_its_outcome_and_files(shop: Shop, run: dict[str, Any], tmp_path: Path) -> None:
    assert (run["business_date"], run["state"]) == (clock.today().isoformat(), "submitted")
    assert run["outcome"] == [
        {"kind": "payout", "state": "submitted", "currency": "EUR", "count": 1, "amount": "1.07"},
        {"kind": "withdrawal", "state": "submitted", "currency": "EUR", "count": 1, "amount": "3.00"},
    ]
    (file,) = run["files"]
    assert (file["state"], file["transactions"], file["control_sum"]) == ("submitted", 2, "4.07")
    assert file["execution_date"] == run["execution_date"] >= run["business_date"]
    answer = shop.get(f"/v1/settlement/files/{file['message_id']}", token=shop.operator)
    assert (answer.status_code, answer.content_type) == (200, "application/xml")
    assert answer.data == (tmp_path / "bank" / "outbox" / f"{file['message_id']}.xml").read_bytes()
    assert hashlib.sha256(answer.data).hexdigest() == file["sha256"]
    assert run.pop("settled") == [run["business_date"]]
    assert got(shop, f"/v1/settlement/runs/{run['id']}") == run


def test_running_it_again_changes_nothing(shop: Shop, run: dict[str, Any]) -> None:
    for body in (None, {}, {"business_date": run["business_date"]}, {"business_date": None}):
        again = created(shop.post("/v1/settlement/runs", body, token=shop.operator), status=200)
        # It is audited again.
        assert again == {**run, "audit": again["audit"], "settled": []}
    assert [each["id"] for each in got(shop, "/v1/settlement/runs")["items"]] == [run["id"]]


def test_a_day_that_cannot_be_settled(shop: Shop) -> None:
    for date in ("2020-01-01", "9999-12-31"):
        answer = shop.post("/v1/settlement/runs", {"business_date": date}, token=shop.operator)
        refused(answer, 422, "business_date_invalid")
    assert got(shop, "/v1/settlement/runs")["items"] == []


def test_what_is_no_date(shop: Shop) -> None:
    for date in ("2026-02-30", "20261123", "tomorrow", "2026-11-23\n", 20261123, "\uff12026-11-23"):
        answer = shop.post("/v1/settlement/runs", {"business_date": date}, token=shop.operator)
        assert "business_date" in refused(answer, 422, "validation_failed")["errors"], date


def test_nothing_due_is_said_so(shop: Shop) -> None:
    with shop.database.write_alone() as conn:
        later = (clock.today() + dt.timedelta(days=2)).isoformat()
        conn.exec_driver_sql(f"UPDATE business_days SET business_date = '{later}'")
    problem = refused(shop.post("/v1/settlement/runs", token=shop.operator), 422, "business_date_invalid")
    assert "due" in problem["detail"]


def test_books_that_were_never_opened(shop: Shop) -> None:
    bakery = shop.merchant()
    with shop.database.write_alone() as conn:
        conn.exec_driver_sql("DELETE FROM business_days")
    refused(shop.post("/v1/settlement/runs", token=shop.operator), 422, "business_date_invalid")
    refused(shop.get("/v1/settlement/preview", token=shop.operator), 422, "business_date_invalid")
    refused(shop.get("/v1/payable", token=bakery.token), 422, "business_date_invalid")


def test_a_wallet_without_a_bank_tells_its_operator_what_to_set(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url, bank_iban=None)) as shop:
        problem = refused(shop.post("/v1/settlement/runs", token=shop.operator), 409, "bank_not_configured")
        assert "OBOLE_BANK_IBAN" in problem["detail"]
        headers = {"Authorization": f"Bearer {shop.operator}"}
        told = shop.client.post("/v1/settlement/statements", data=b"<x/>", content_type="text/xml", headers=headers)
        refused(told, 409, "bank_not_configured")


def test_a_run_that_waits_for_approval_says_so(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url, approvals=1)) as shop:
        merchant, purse = shop.merchant(), shop.purse("5.00")
        shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
        run = created(shop.post("/v1/settlement/runs", token=shop.operator), status=200)
        assert (run["state"], [file["state"] for file in run["files"]]) == ("rendered", ["rendered"])
        assert run["approvals_missing"] == 1
        (checksum,) = [file["sha256"] for file in run["files"]]
        assert run["files_sha256"] == hashlib.sha256(checksum.encode()).hexdigest()


def test_runs_page_by_page(shop: Shop, run: dict[str, Any]) -> None:
    tomorrow = (clock.today() + dt.timedelta(days=1)).isoformat()
    second = created(shop.post("/v1/settlement/runs", {"business_date": tomorrow}, token=shop.operator), status=200)
    assert (second["outcome"], second["files"]) == ([], [])
    page = got(shop, "/v1/settlement/runs", limit=1)
    rest = got(shop, "/v1/settlement/runs", limit=1, cursor=page["next_cursor"])
    assert [each["id"] for each in page["items"] + rest["items"]] == [second["id"], run["id"]]
    assert rest["next_cursor"] is None
    more = {"outcome", "files", "files_sha256", "approvals_missing", "audit", "settled"}
    assert rest["items"] == [{name: value for name, value in run.items() if name not in more}]


def test_what_is_not_there(shop: Shop) -> None:
    refused(shop.get(f"/v1/settlement/runs/{new_id()}", token=shop.operator), 404, "run_not_found")
    refused(shop.get("/v1/settlement/runs/nonsense", token=shop.operator), 404, "not_found")
    for name in ("OBOLE-1", "x" * 36, "%00", "é", "a b"):
        refused(shop.get(f"/v1/settlement/files/{name}", token=shop.operator), 404, "bank_file_not_found")
    refused(shop.get("/v1/settlement/files/../audit", token=shop.operator), 404, "not_found")


def test_a_file_that_is_not_rendered_yet(shop: Shop, run: dict[str, Any]) -> None:
    (file,) = run["files"]
    with shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE bank_files SET state = 'cut', content = NULL, sha256 = NULL, submitted_at = NULL")
    answer = shop.get(f"/v1/settlement/files/{file['message_id']}", token=shop.operator)
    refused(answer, 404, "bank_file_not_found")


# --- preview -----------------------------------------------------------------------------------------------


def test_a_preview(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    kiosk = shop.merchant("kiosk", minimum_payout_micros=5_000_000)
    shop.redeem(bakery, shop.voucher(alice, bakery, "1.07"))
    shop.redeem(kiosk, shop.voucher(alice, kiosk, "0.50"))
    seen = got(shop, "/v1/settlement/preview")
    assert seen["business_date"] == clock.today().isoformat() <= seen["execution_date"]
    assert seen["currencies"] == [
        {
            "currency": "EUR",
            "payouts": {"count": 1, "amount": "1.07"},
            "withdrawals": {"count": 0, "amount": "0.00"},
            "own_payments": {"count": 0, "amount": "0.00"},
            "commission": "0.00",
            "merchant_fees": "0.00",
            "bank_fees": "0.38",
            "already_sent": "0.00",
            "needed": "1.45",
            "bank_balance": "0.00",
            "waiting": [{"reason": "below_minimum", "merchants": 1, "amount": "0.50"}],
        }
    ]


# --- what the bank says ------------------------------------------------------------------------------------


def test_a_statement_is_imported_once(shop: Shop, bakery: Merchant, run: dict[str, Any]) -> None:
    booked = entry("E1", -1_070_000, "EUR", e2e=end_to_end_id(shop, bakery))
    message = statement(booked, entry("E2", 7_000_000, "EUR", text="Thanks"), closing=5_930_000)
    first = created(told(shop, message, "application/xml; charset=utf-8"), status=200)
    assert first.pop("documents") == [{"imported": first, "refused": None}]
    assert first == {
        "kind": "camt.053",
        "message_id": first["message_id"],
        "seen_before": False,
        "matched": 1,
        "statuses": 0,
        "breaks": ["unknown_entry"],
    }
    for media_type in ("application/xml", "text/xml"):
        again = created(told(shop, message, media_type), status=200)
        del again["documents"]
        assert again == first | {"seen_before": True, "matched": 0, "breaks": []}
    states = {total["kind"]: total["state"] for total in got(shop, f"/v1/settlement/runs/{run['id']}")["outcome"]}
    assert states == {"payout": "booked", "withdrawal": "submitted"}
    assert got(shop, "/v1/audit")["ok"] is True


def test_a_status_report(shop: Shop, bakery: Merchant, run: dict[str, Any]) -> None:
    message = pain002(run["files"][0]["message_id"], "RJCT", "AC04", end_to_end_id(shop, bakery))
    imported = created(told(shop, message), status=200)
    assert (imported["kind"], imported["statuses"], imported["matched"]) == ("pain.002", 1, 0)
    payout = created(shop.get("/v1/payouts", token=bakery.token), status=200)["items"][0]
    assert (payout["state"], payout["state_detail"]) == ("rejected", "AC04")
    (part,) = created(shop.get("/v1/payable", token=bakery.token), status=200)["parts"]
    assert (part["reason"], part["amount"], part["date"]) == ("account_refused", "1.07", None)


def test_what_the_bank_refused_is_sent_again_by_an_operators_word(
    shop: Shop, bakery: Merchant, run: dict[str, Any]
) -> None:
    path, why = f"/v1/merchants/{bakery.id}/retry", {"why": "the account is free again"}
    refused(shop.post(path, why, token=shop.operator), 409, "nothing_waits")
    created(told(shop, pain002(run["files"][0]["message_id"], "RJCT", "AC06", end_to_end_id(shop, bakery))), status=200)
    refused(shop.post(path, {}, token=shop.operator), 422, "validation_failed")
    refused(shop.post(path, why, token=bakery.token), 403, "key_scope")
    refused(shop.post(f"/v1/merchants/{new_id()}/retry", why, token=shop.operator), 404, "merchant_not_found")
    owed = created(shop.post(path, why, token=shop.operator), status=200)
    assert [(part["reason"], part["amount"]) for part in owed["parts"]] == [("next_run", "1.07")]
    with shop.database.read() as conn:
        newest = actions.listing(conn, before=None, limit=1)[0]
    assert (newest.action, newest.subject, newest.detail) == ("merchant_retried", str(bakery.id), why["why"])


GARBAGE = {
    "nothing": b"",
    "no XML": b"\x00\xff\xfe",
    "cut short": b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'>",
    "entities": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><x>&a;</x>',
    "another message": b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><A/></Document>',
    "another account": statement(iban="DE89370400440532013000"),
    "an id too long": statement(statement_id="S" * 36),
    "no such currency": statement().replace(b"EUR", b"QQQ"),
}


def test_garbage_is_refused_and_changes_nothing(shop: Shop, run: dict[str, Any]) -> None:
    for message in GARBAGE.values():
        refused(told(shop, message), 422, "bank_message_invalid")
    assert run.pop("settled") == [run["business_date"]]
    assert got(shop, f"/v1/settlement/runs/{run['id']}") == run
    assert got(shop, "/v1/settlement/breaks")["items"] == []


def test_only_xml_and_zip_are_read(shop: Shop) -> None:
    for media_type in ("application/json", "text/plain", "", "application/x-www-form-urlencoded"):
        refused(told(shop, statement(), media_type), 415, "unsupported_media_type")


def test_a_message_larger_than_this_system_reads(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint, _ = shop.app.url_map.bind("").match("/v1/settlement/statements", method="POST")
    view = shop.app.view_functions[endpoint]
    assert bodies.most_bytes(shop.app, "POST", "/v1/settlement/statements") == xml.MAX_BYTES
    monkeypatch.setattr(view, "most_body_bytes", len(statement()) - 1)
    refused(told(shop, statement()), 413, "payload_too_large")


def test_breaks_page_by_page(shop: Shop, run: dict[str, Any]) -> None:
    names = [f"E{number}" for number in range(3)]
    entries = [entry(name, 1_000_000, "EUR", text=f"for {name}") for name in names]
    created(told(shop, statement(*entries, closing=3_000_000)), status=200)
    created(told(shop, pain002("NOT-OURS", "ACSP", None)), status=200)
    page = got(shop, "/v1/settlement/breaks", limit=3)
    rest = got(shop, "/v1/settlement/breaks", limit=3, cursor=page["next_cursor"])
    listed: list[dict[str, Any]] = page["items"] + rest["items"]
    stranger, found = listed[0], listed[1:]
    assert (stranger["kind"], stranger["currency"], stranger["difference"]) == ("unknown_transaction", None, None)
    assert [(each["kind"], each["difference"], each["text"]) for each in found] == [
        ("unknown_entry", "1.00", f"for {name}") for name in reversed(names)
    ]
    assert {each["booking_date"] for each in found} == {"2026-11-23"}
    assert (page["awaited"], rest["awaited"], rest["next_cursor"]) == ([], [], None)


def test_what_the_bank_has_not_answered(shop: Shop, bakery: Merchant, run: dict[str, Any]) -> None:
    with shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE bank_transactions SET state_since = '2026-01-01 00:00:00' WHERE kind = 'payout'")
    (late,) = got(shop, "/v1/settlement/breaks")["awaited"]
    assert late == {
        "id": late["id"],
        "kind": "payout",
        "end_to_end_id": end_to_end_id(shop, bakery),
        "message_id": run["files"][0]["message_id"],
        "amount": "1.07",
        "currency": "EUR",
        "state": "submitted",
        "state_since": late["state_since"],
        "state_detail": None,
        "creditor_name": "Bakery",
        "payee_name": None,
    }
    assert late["state_since"].startswith(("2026-01-01T", "2025-12-31T"))


def test_what_waits_for_a_word_on_the_name(shop: Shop, bakery: Merchant, run: dict[str, Any]) -> None:
    payment = one("RVMC", e2e=end_to_end_id(shop, bakery), text="Boulangerie Martin")
    assert told(shop, verified(payment, file=run["files"][0]["message_id"])).get_json()["statuses"] == 1
    (waits,) = got(shop, "/v1/settlement/breaks")["awaited"]
    assert (waits["state"], waits["state_detail"]) == ("to_release", "RVMC")
    assert (waits["creditor_name"], waits["payee_name"]) == ("Bakery", "Boulangerie Martin")
    (payout,) = shop.get("/v1/payouts", token=bakery.token).get_json()["items"]
    assert (payout["state"], payout["payee_name"]) == ("to_release", "Boulangerie Martin")
    (part, *_) = shop.get("/v1/payable", token=bakery.token).get_json()["parts"]
    assert (part["reason"], part["amount"], part["date"]) == ("to_release", "1.07", None)
    (payouts, *_) = got(shop, f"/v1/settlement/runs/{run['id']}")["outcome"]
    assert (payouts["kind"], payouts["state"]) == ("payout", "to_release")


# --- the proof ---------------------------------------------------------------------------------------------


def test_the_proof_of_sound_books(shop: Shop, run: dict[str, Any]) -> None:
    proof = got(shop, "/v1/audit")
    assert proof["ok"] is True
    assert all(check["ok"] for check in proof["checks"])
    (sides,) = [check for check in proof["checks"] if check["name"].startswith("purses + held")]
    assert (sides["currency"], sides["figures"]["purse"], sides["figures"]["in_transit"]) == ("EUR", "15.93", "4.07")


def test_the_proof_of_others_says_what_is_wrong(shop: Shop, alice: Purse) -> None:
    with shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE purses SET balance_micros = balance_micros + 1")
    proof = got(shop, "/v1/audit")
    assert proof["ok"] is False
    (wrong,) = [check for check in proof["checks"] if not check["ok"]]
    assert (wrong["name"], wrong["figures"]) == ("each purse's balance equals its transfers", {"wrong": 1})
    (row,) = wrong["findings"]
    assert row["subject"] == f"purse {alice.id}"
    assert row["detail"].startswith("holds 20.000001 EUR; the transfers of its account")
    assert proof["last_kept"] is None
    at = clock.now().replace(microsecond=0)
    audits.prove(shop.database, origin=ORIGIN, wallet_name="Obole", at=at, business_date=at.date())
    kept = got(shop, "/v1/audit")["last_kept"]
    assert (kept["audited_at"], kept["business_date"]) == (clock.rfc3339(at), at.date().isoformat())
    assert (kept["failed"], kept["checks"]) == (1, len(proof["checks"]))


def test_a_run_that_is_asked_for_ends_with_the_proof_and_says_how_it_came_out(shop: Shop, alice: Purse) -> None:
    at = clock.now()
    with shop.database.write() as conn:
        ada = identities.add(conn, IdentityKind.OPERATOR, identifier="ada@a.example", name="Ada", locale="en", at=at)
        identities.set_secret(conn, ada, hashed("a passphrase of Ada's"), at=at)
    sound = created(shop.post("/v1/settlement/runs", {}, token=shop.operator), status=200)
    assert (sound["audit"]["failed"], sound["audit"]["business_date"]) == (0, sound["business_date"])
    with shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE purses SET balance_micros = balance_micros + 1")
    day = {"business_date": sound["business_date"]}
    wrong = created(shop.post("/v1/settlement/runs", day, token=shop.operator), status=200)
    assert (wrong["id"], wrong["audit"]["failed"]) == (sound["id"], 1)
    assert got(shop, f"/v1/settlement/runs/{wrong['id']}")["audit"] == wrong["audit"]
    assert "obole_audit_failed_checks 1" in shop.get("/metrics", token=shop.operator).get_data(as_text=True)
    with shop.database.read() as conn:
        assert conn.execute(sa.select(mails.c.recipient)).scalars().all() == ["ada@a.example"]


# --- who may ask -------------------------------------------------------------------------------------------

CALLS = [
    ("POST", "/v1/settlement/runs"),
    ("GET", "/v1/settlement/runs"),
    ("GET", f"/v1/settlement/runs/{new_id()}"),
    ("GET", "/v1/settlement/files/OBOLE-1"),
    ("GET", "/v1/settlement/preview"),
    ("POST", "/v1/settlement/statements"),
    ("GET", "/v1/settlement/quarantine"),
    ("POST", f"/v1/settlement/quarantine/{new_id()}/retry"),
    ("GET", "/v1/settlement/breaks"),
    ("GET", "/v1/audit"),
]


def test_only_operators_settle(shop: Shop, bakery: Merchant, alice: Purse) -> None:
    for method, path in CALLS:
        refused(shop.client.open(path, method=method), 401, "unauthorized")
        for token in (bakery.token, alice.token):
            refused(shop.client.open(path, method=method, headers=bearer(token)), 403, "key_scope")
    assert got(shop, "/v1/settlement/runs")["items"] == []

"""The command line: the same verbs at a terminal, with an exit status that programs can trust."""

import dataclasses
import datetime as dt
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from settlement import audits, quarantine
from settlement.tables import bank_transactions
from tests.books import camt, entry, pain002
from tests.flows.story import environment
from tests.settlement.verifications import one, verified
from tests.support import MERCHANT_IBAN, OWN_IBAN, SHOPPER_IBAN, Shop, hashed, make_settings
from wallet import actions, checkouts, identities
from wallet.checkouts import Wanted
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import CheckoutState, VoucherState, vouchers
from wallet.tables.purchases import checkouts as checkout_table
from wallet.tables.purses import purses

STATUS = b"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
    <GrpHdr><MsgId>ANSWER-1</MsgId><CreDtTm>2026-05-04T22:10:00Z</CreDtTm></GrpHdr>
    <OrgnlGrpInfAndSts><OrgnlMsgId>%s</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
    <GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"""


# Whose account the machine runs the tests under.
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def _not_by_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


def flask(shop: Shop, *command: str, status: int = 0) -> str:
    """What ``flask …`` prints; fails unless it exits with ``status``."""
    done = shop.app.test_cli_runner().invoke(args=list(command))
    assert done.exit_code == status, (done.output, done.exception)
    return done.stdout if status == 0 else done.output


def said(shop: Shop, *command: str, status: int = 0) -> Any:
    """The JSON that ``flask … --json`` prints."""
    return json.loads(flask(shop, *command, "--json", status=status).splitlines()[-1])


def sold(shop: Shop, amount: str = "0.50") -> Any:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, amount))
    return merchant


def test_a_run_pays_and_run_again_changes_nothing(shop: Shop) -> None:
    sold(shop)
    first, again = said(shop, "settlement", "run"), said(shop, "settlement", "run")
    assert (first.pop("settled"), again.pop("settled")) == ([first["business_date"]], [])
    assert first == again
    assert first["state"] == "submitted"
    assert [each["amount"] for each in first["bank_transactions"]] == ["0.50"]
    said_again = shop.app.test_cli_runner().invoke(args=["settlement", "run"])
    assert "payout" in said_again.stdout
    assert "Nothing was due" in said_again.stderr


def test_the_steps_one_by_one_end_where_the_run_does(shop: Shop) -> None:
    sold(shop)
    closed = said(shop, "settlement", "close")
    assert closed["closed"] is True
    cut = said(shop, "settlement", "cut", "--business-date", closed["business_date"])
    assert (cut["bank_transactions"], cut["files"]) == (1, 1)
    assert said(shop, "settlement", "render", cut["run"])["files"] == 1
    assert said(shop, "settlement", "submit", cut["run"])["files"] == 1
    assert said(shop, "settlement", "run", "--business-date", closed["business_date"])["state"] == "submitted"


def test_a_run_goes_to_the_bank_once_an_operator_has_approved_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Shop(make_settings(tmp_path, database_url, approvals=1)) as shop:
        sold(shop)
        with shop.database.write() as conn:
            at = clock.now()
            ada = identities.add(
                conn, IdentityKind.OPERATOR, identifier="ada@a.example", name="Ada", locale="en", at=at
            )
            identities.set_secret(conn, ada, hashed("a passphrase of Ada's"), at=at)
        run = said(shop, "settlement", "run")
        assert (run["state"], run["approvals_missing"]) == ("rendered", 1)
        assert "approvals_missing" in flask(shop, "settlement", "submit", run["run"], status=1)
        approving = ["settlement", "approve", run["run"], "--operator"]
        assert "identity_not_found" in flask(shop, *approving, "eve@a.example", status=1)
        monkeypatch.setenv("SUDO_USER", "bob")
        approved = said(shop, *approving, "Ada@a.example")
        assert (approved["state"], approved["approvals_missing"]) == ("submitted", 0)
        assert approved["audit"] == {"ok": True, "failed": []}
        with shop.database.read() as conn:
            (line,) = actions.listing(conn, before=None, limit=9)
        # Nobody proved that they are Ada.
        assert (line.who, line.identity_id) == (f"command line ({ACCOUNT} by sudo of bob)", None)
        assert (line.action, line.subject, line.detail) == ("run_approved", run["run"], "for ada@a.example")


def test_preview_says_what_tonight_needs(shop: Shop) -> None:
    sold(shop, "2.00")
    preview = said(shop, "settlement", "preview")
    assert (preview["payouts"], preview["payouts_amount"], preview["needed"]) == (1, "2.00", "2.38")
    assert preview["enough"] is False
    assert (preview["owed"], preview["own"], preview["short"]) == ("5.00", "0.00", "0.00")


def test_the_operators_money_goes_in_and_out_and_a_debt_is_given_up(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url, own_iban=OWN_IBAN)) as shop:
        merchant = sold(shop, "2.00")
        told = said(shop, "settlement", "put-in", "50.00", "EUR")
        paid_in = camt("054", "N", "EUR", {}, [entry("E", 50_000_000, "EUR", rf=told["reference"])], day=clock.today())
        (tmp_path / "paid-in.xml").write_bytes(paid_in)
        assert said(shop, "settlement", "import", str(tmp_path / "paid-in.xml"))["matched"] == 1
        taking = ["settlement", "take-out", "equity", "5.00", "EUR", "--why", "too much"]
        assert said(shop, *taking)["iban"] == OWN_IBAN
        assert "own_money_exceeded" in flask(shop, *taking[:2], "income", *taking[3:], status=1)
        assert said(shop, "settlement", "preview")["own_payments_amount"] == "5.00"
        said(shop, "settlement", "run")
        (voucher,) = shop.get("/v1/payouts", token=merchant.token).get_json()["items"]
        lines = shop.get(f"/v1/payouts/{voucher['id']}/lines", token=merchant.token).get_json()["items"]
        refund = f"/v1/vouchers/{lines[0]['voucher_id']}/refunds"
        assert shop.post(refund, {}, token=merchant.token, key="r").status_code == 409
        flask(shop, "merchant", "refund-limit", str(merchant.id), "2.00")
        assert shop.post(refund, {}, token=merchant.token, key="r").status_code == 201
        flask(shop, "merchant", "refund-limit", str(merchant.id), "default")
        assert said(shop, "merchant", "repays", str(merchant.id), "1.00")["amount"] == "1.00"
        giving_up = ["merchant", "write-off", str(merchant.id)]
        assert "debt_exceeded" in flask(shop, *giving_up, "2.01", "--why", "gone", status=1)
        flask(shop, *giving_up, "2.00", "--why", "gone")
        with shop.database.read() as conn:
            done = [line.action for line in reversed(actions.listing(conn, before=None, limit=99))]
        assert done == [
            *("equity_announced", "own_money_taken_out", "refund_limit_changed", "refund_limit_changed"),
            *("repayment_announced", "debt_written_off"),
        ]


def test_the_audit_exits_with_1_when_a_cent_is_missing(shop: Shop) -> None:
    sold(shop)
    assert "WRONG" not in flask(shop, "audit")
    with shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros - 10_000))
    checks = json.loads(flask(shop, "audit", "--json", status=1))
    assert [check["name"] for check in checks if not check["ok"]] == ["each purse's balance equals its transfers"]
    (wrong,) = [check for check in checks if not check["ok"]]
    assert [row["subject"].partition(" ")[0] for row in wrong["findings"]] == ["purse"]
    shown = flask(shop, "audit", status=1)
    assert "WRONG" in shown
    assert wrong["findings"][0]["subject"] in shown


def test_a_run_ends_with_the_audit_and_its_status(shop: Shop) -> None:
    sold(shop)
    assert said(shop, "settlement", "run")["audit"] == {"ok": True, "failed": []}
    with shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros - 10_000))
        (purse,) = conn.execute(sa.select(purses.c.id)).scalars()
    output = flask(shop, "settlement", "run", status=1)
    assert "1 checks failed" in output
    assert f"purse {purse}" in output
    with shop.database.read() as conn:
        assert [row.failed for row in audits.listing(conn, limit=9)] == [1, 0]


def test_importing_garbage_is_an_error_with_its_code(shop: Shop, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.xml"
    garbage.write_bytes(b"<!DOCTYPE x><x/>")
    assert "bank_message_invalid" in flask(shop, "settlement", "import", str(garbage), status=1)
    (tmp_path / "bank" / "inbox").mkdir(parents=True, exist_ok=True)
    (tmp_path / "bank" / "inbox" / "1.xml").write_bytes(b"<x/>")
    assert said(shop, "settlement", "import", status=1)["refused"] == 1


def test_each_file_that_is_imported_has_its_line_and_a_bad_one_stops_none(shop: Shop, tmp_path: Path) -> None:
    sold(shop)
    message_id = said(shop, "settlement", "run")["files"][0]
    names = ["1-garbled.xml", "2-missing.xml", "3-folder", "4-status.xml", "5-again.xml"]
    files = [str(tmp_path / name) for name in names]
    Path(files[0]).write_bytes(b"<x/>")
    Path(files[2]).mkdir()
    for file in files[3:]:
        Path(file).write_bytes(STATUS % message_id.encode())
    done = shop.app.test_cli_runner().invoke(args=["settlement", "import", *files])
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["4-status.xml: pain.002, 1 status", "5-again.xml: pain.002, seen before"]
    refused = [line for line in done.stderr.splitlines() if line.endswith("[bank_message_invalid]")]
    assert [line.partition(":")[0] for line in refused] == names[:3]
    assert flask(shop, "settlement", "import", *files[3:]).count("seen before") == 2


def test_each_file_that_is_imported_is_a_json_document(shop: Shop, tmp_path: Path) -> None:
    sold(shop)
    message_id = said(shop, "settlement", "run")["files"][0]
    (tmp_path / "1.xml").write_bytes(b"<x/>")
    (tmp_path / "2.xml").write_bytes(STATUS % message_id.encode())
    done = shop.app.test_cli_runner().invoke(
        args=["settlement", "import", "--json", *(str(tmp_path / name) for name in ("1.xml", "2.xml"))]
    )
    assert done.exit_code == 1
    first, second = map(json.loads, done.stdout.splitlines())
    (refused,) = first.pop("refused")
    assert (refused["document"], refused["code"]) == ("1.xml", "bank_message_invalid")
    nothing = {"seen_before": False, "matched": 0, "statuses": 0, "breaks": []}
    assert first == {"file": "1.xml", "kind": None} | nothing
    assert second == {"file": "2.xml", "kind": "pain.002", "refused": []} | nothing | {"statuses": 1}


def test_what_is_in_quarantine_is_listed_tried_again_and_dismissed(shop: Shop, tmp_path: Path) -> None:
    assert flask(shop, "settlement", "quarantine") == flask(shop, "settlement", "retry") == ""
    sold(shop)
    message_id = said(shop, "settlement", "run")["files"][0]
    (tmp_path / "bad.xml").write_bytes(b"<x/>")
    flask(shop, "settlement", "import", str(tmp_path / "bad.xml"), status=1)
    with shop.database.write() as conn:
        content = STATUS % message_id.encode()
        quarantine.put(conn, name="late.xml", content=content, reason="Not yet.", at=clock.now())
    listed = [json.loads(line) for line in flask(shop, "settlement", "quarantine", "--json", status=1).splitlines()]
    assert [(each["name"], each["bytes"]) for each in listed] == [("bad.xml", 4), ("late.xml", len(content))]
    assert listed[1]["reason"] == "Not yet."
    done = shop.app.test_cli_runner().invoke(args=["settlement", "retry"])
    assert (done.exit_code, done.stdout) == (1, f"{listed[1]['id']}: pain.002, 1 status\n")
    assert f"{listed[0]['id']}: Not an ISO 20022 document. [bank_message_invalid]" in done.stderr
    assert "[not_found]" in flask(shop, "settlement", "retry", listed[1]["id"], status=1)
    flask(shop, "settlement", "dismiss", listed[0]["id"], "--why", "no message at all")
    assert "not_found" in flask(shop, "settlement", "dismiss", listed[0]["id"], "--why", "again", status=1)
    assert flask(shop, "settlement", "quarantine") == ""
    with shop.database.read() as conn:
        lines = actions.listing(conn, before=None, limit=9)
    assert [(line.action, line.subject, line.detail) for line in lines] == [
        ("message_dismissed", listed[0]["id"], "no message at all"),
        ("message_imported", listed[1]["id"], "pain.002: 0 matched, 0 breaks"),
    ]


def test_breaks_are_listed_and_make_the_status_1(shop: Shop, tmp_path: Path) -> None:
    assert flask(shop, "settlement", "breaks") == ""
    statement = tmp_path / "statement.xml"
    statement.write_text(statement_with_a_stranger(shop))
    assert said(shop, "settlement", "import", str(statement))["breaks"] == ["unknown_entry"]
    found = said(shop, "settlement", "breaks", status=1)
    assert (found["kind"], found["difference"]) == ("unknown_entry", "12.00")
    purse = shop.purse("0.00")
    assert "purse_not_found" in flask(shop, "settlement", "assign", found["id"], "nobody", status=1)
    done = said(shop, "settlement", "assign", found["id"], str(purse.id))
    assert (done["way"], done["closed"], done["amount"], done["loss"]) == ("assign", True, "12.00", "0")
    assert flask(shop, "settlement", "breaks") == ""
    assert said(shop, "purse", "show", str(purse.id))["balance"] == "12.00"
    assert "not_found" in flask(shop, "settlement", "assign", found["id"], str(purse.id), status=1)


def test_only_an_unknown_payout_is_decided_by_a_person(shop: Shop) -> None:
    merchant = sold(shop)
    run = said(shop, "settlement", "run")
    assert run["state"] == "submitted"
    payout = shop.get("/v1/payouts", token=merchant.token).get_json()["items"][0]["id"]
    output = flask(shop, "settlement", "decide", payout, "executed", "--why", "asked", status=1)
    assert "payout_not_unknown" in output


def test_a_payout_that_waits_for_a_word_on_the_name_is_listed_and_decided(shop: Shop, tmp_path: Path) -> None:
    merchant = sold(shop)
    said(shop, "settlement", "run")
    with shop.database.read() as conn:
        payment = conn.execute(bank_transactions.select()).one()
    report = tmp_path / "vop.xml"
    report.write_bytes(verified(one("RVMC", e2e=payment.end_to_end_id, text="Martin"), file=payment.message_id))
    assert said(shop, "settlement", "import", str(report))["statuses"] == 1
    waits = said(shop, "settlement", "breaks", status=1)
    assert (waits["kind"], waits["state"], waits["payee_name"]) == ("to_release", "to_release", "Martin")
    assert waits["creditor_name"] == payment.creditor_name
    flask(shop, "settlement", "decide", waits["id"], "not-executed", "--why", "refused at the portal")
    assert flask(shop, "settlement", "breaks") == ""
    assert shop.get("/v1/payouts", token=merchant.token).get_json()["items"][0]["state"] == "rejected"


def test_an_operators_key_works_until_it_is_revoked(shop: Shop) -> None:
    token = flask(shop, "operator", "add", "Ada").strip()
    assert shop.get("/v1/audit", token=token).status_code == 200
    listed = said(shop, "operator", "list")
    assert (listed["label"], listed["revoked_at"]) == ("Ada", None)
    assert token not in flask(shop, "operator", "list")
    flask(shop, "operator", "revoke", listed["id"])
    assert shop.get("/v1/audit", token=token).status_code == 401


def test_a_suspended_merchant_sells_nothing_until_it_is_resumed(shop: Shop) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    flask(shop, "merchant", "suspend", str(merchant.id))
    assert shop.pay(purse, merchant, "0.10").status_code == 404
    flask(shop, "merchant", "resume", str(merchant.id))
    assert shop.pay(purse, merchant, "0.10").status_code == 201
    assert "merchant_not_found" in flask(shop, "merchant", "suspend", str(purse.id), status=1)


def test_a_merchant_is_taken_on_paid_elsewhere_and_listed(shop: Shop) -> None:
    command = ["merchant", "add", "--name", "Bakery", "--iban", MERCHANT_IBAN, "--origin", "https://bakery.example"]
    added = flask(shop, *command, "--currency", "EUR", "--email", "till@bakery.example", "--commission-bp", "150")
    merchant_id = added.split()[1]
    flask(shop, "merchant", "iban", merchant_id, SHOPPER_IBAN)
    listed = said(shop, "merchant", "list")
    assert (listed["id"], listed["iban"]) == (merchant_id, SHOPPER_IBAN)
    assert "iban_invalid" in flask(shop, "merchant", "iban", merchant_id, "FR00", status=1)
    flask(shop, "merchant", "name", merchant_id, "Boulangerie Martin")
    assert said(shop, "merchant", "list")["name"] == "Boulangerie Martin"
    assert "validation_failed" in flask(shop, "merchant", "name", merchant_id, "x" * 141, status=1)
    assert "validation_failed" in flask(shop, *command, "--currency", "???", "--email", "x", status=1)


def test_a_purse_is_opened_frozen_and_thawed(shop: Shop) -> None:
    opened = flask(shop, "purse", "open", "--currency", "EUR", "--email", "a@a.example", "--name", "Ada")
    purse_id = opened.split()[1]
    flask(shop, "purse", "freeze", purse_id)
    assert said(shop, "purse", "show", purse_id)["frozen"] is True
    flask(shop, "purse", "unfreeze", purse_id)
    assert said(shop, "purse", "show", purse_id)["frozen"] is False


def test_rotating_the_keys_keeps_the_old_one_listed(shop: Shop) -> None:
    before = said(shop, "keys", "list")["kid"]
    after = flask(shop, "keys", "rotate").strip()
    listed = [json.loads(line) for line in flask(shop, "keys", "list", "--json").splitlines()]
    assert [key["kid"] for key in listed] == [before, after]
    assert listed[0]["retired_at"] is not None


def test_what_the_bank_refused_is_sent_again_by_a_word(shop: Shop, tmp_path: Path) -> None:
    merchant = str(sold(shop).id)
    retry = ["merchant", "retry", merchant, "--why", "the account is free again"]
    assert "nothing_waits" in flask(shop, *retry, status=1)
    run, refusal = said(shop, "settlement", "run"), tmp_path / "refusal.xml"
    refusal.write_bytes(pain002(run["files"][0], "RJCT", "AC06"))
    flask(shop, "settlement", "import", str(refusal))
    assert said(shop, "settlement", "preview")["waiting"] == {"account_refused": 1}
    flask(shop, *retry)
    assert said(shop, "settlement", "preview")["payouts_amount"] == "0.50"
    with shop.database.read() as conn:
        (line,) = actions.listing(conn, before=None, limit=9)
    assert (line.action, line.subject, line.detail) == ("merchant_retried", merchant, "the account is free again")


def test_what_is_done_at_a_terminal_is_in_the_log(shop: Shop) -> None:
    merchant, purse = str(shop.merchant().id), str(shop.purse("0").id)
    flask(shop, "merchant", "suspend", merchant)
    flask(shop, "merchant", "resume", merchant)
    flask(shop, "merchant", "iban", merchant, SHOPPER_IBAN)
    flask(shop, "purse", "freeze", purse)
    flask(shop, "purse", "unfreeze", purse)
    kid = flask(shop, "keys", "rotate").strip()
    flask(shop, "operator", "add", "Ada")
    key = said(shop, "operator", "list")["id"]
    flask(shop, "operator", "revoke", key)
    with shop.database.read() as conn:
        lines = actions.listing(conn, before=None, limit=99)
        assert actions.verify(conn) is None
    assert {line.who for line in lines} == {f"command line ({ACCOUNT})"}
    assert [(line.action, line.subject) for line in reversed(lines)] == [
        ("merchant_suspended", merchant),
        ("merchant_resumed", merchant),
        ("merchant_iban_changed", merchant),
        ("purse_frozen", purse),
        ("purse_unfrozen", purse),
        ("key_rotated", kid),
        ("operator_key_made", key),
        ("operator_key_revoked", key),
    ]


def test_a_break_is_resolved_at_a_terminal(shop: Shop, tmp_path: Path) -> None:
    statement = tmp_path / "statement.xml"
    statement.write_text(statement_with_a_stranger(shop).replace("CRDT</CdtDbtInd><Sts>", "DBIT</CdtDbtInd><Sts>"))
    said(shop, "settlement", "import", str(statement))
    found = [json.loads(line) for line in flask(shop, "settlement", "breaks", "--json", status=1).splitlines()]
    (charge,) = (each for each in found if each["kind"] == "unknown_entry")
    resolve = ["settlement", "resolve", charge["id"], "--why", "a charge"]
    flask(shop, *resolve, "--offset", "--expense", status=2)
    assert "break_unexplained" in flask(shop, *resolve, "--offset", status=1)
    assert "payout_not_found" in flask(shop, *resolve, "--book-file", "NOWHERE", status=1)
    flask(shop, *resolve)
    assert said(shop, "settlement", "breaks", status=1)["noted"] == "a charge"
    flask(shop, *resolve, "--expense")
    assert "not_found" in flask(shop, *resolve, "--expense", status=1)
    with shop.database.read() as conn:
        lines = actions.listing(conn, before=None, limit=9)
    assert [line.action for line in lines] == ["break_resolved", "break_acknowledged"]


@pytest.fixture
def stranger(shop: Shop, tmp_path: Path) -> str:
    """The break of 12.00 that nobody announced."""
    statement = tmp_path / "statement.xml"
    statement.write_text(statement_with_a_stranger(shop))
    said(shop, "settlement", "import", str(statement))
    return str(said(shop, "settlement", "breaks", status=1)["id"])


def test_one_payment_is_split_at_a_terminal(shop: Shop, stranger: str) -> None:
    purse, merchant = shop.purse("0.00"), shop.merchant()
    resolve = ["settlement", "resolve", stranger, "--why", "they said so"]
    for nonsense in ("12.00", "=12.00", f"{purse.id}=twelve"):
        flask(shop, *resolve, "--split", nonsense, status=2)
    parts = ["--split", f"{purse.id}=5.00", "--split", f"{merchant.id}=6.00"]
    assert "break_unexplained" in flask(shop, *resolve, *parts, status=1)
    done = said(shop, *resolve, *parts, "--split", "own=1.00")
    assert (done["way"], done["amount"], done["breaks"]) == ("split", "12.00", [stranger])
    assert said(shop, "purse", "show", str(purse.id))["balance"] == "5.00"
    assert shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "6.00"
    assert flask(shop, "settlement", "breaks") == ""


def test_it_is_sent_back_at_a_terminal(shop: Shop, stranger: str) -> None:
    resolve = ["settlement", "resolve", stranger, "--why", "nobody knows them"]
    assert "break_unexplained" in flask(shop, *resolve, "--send-back", status=1)
    flask(shop, *resolve, "--equity", "--name", "Erika", status=2)
    flask(shop, *resolve, "--send-back", "--take-back", status=2)
    done = said(shop, *resolve, "--send-back", "--name", "Erika", "--iban", SHOPPER_IBAN)
    run = said(shop, "settlement", "run")
    assert [(each["kind"], each["amount"]) for each in run["bank_transactions"]] == [("sent_back", "12.00")]
    with shop.database.read() as conn:
        assert str(conn.execute(bank_transactions.select()).one().id) == done["payment"]


@pytest.mark.parametrize("way", ["--equity", "--assign", "--repayment"])
def test_whose_it_is_is_said_at_a_terminal(shop: Shop, stranger: str, way: str) -> None:
    whose = {"--assign": shop.purse("0.00").id, "--repayment": shop.merchant().id}
    options = [way, *([str(whose[way])] if way in whose else [])]
    assert said(shop, "settlement", "resolve", stranger, "--why", "asked", *options)["closed"] is True
    assert flask(shop, "settlement", "breaks") == ""


def test_what_never_came_is_undone_at_a_terminal(shop: Shop, tmp_path: Path) -> None:
    today, fee = clock.today(), entry("S1", -380_000, "EUR", code="ACMT/MDOP/CHRG", day=clock.today())
    long_ago = today - dt.timedelta(days=15)
    early = entry("N1", -500_000, "EUR", code="ACMT/MDOP/CHRG", day=long_ago)
    messages = (
        camt("054", "N1", "EUR", {}, [early], day=long_ago),
        camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": -380_000}, [fee], day=today),
    )
    for number, message in enumerate(messages):
        file = tmp_path / f"{number}.xml"
        file.write_bytes(message)
        flask(shop, "settlement", "import", str(file))
    found = said(shop, "settlement", "breaks", status=1)
    assert "undo, offset, acknowledge" in flask(shop, "settlement", "suggest", found["id"])
    done = said(shop, "settlement", "resolve", found["id"], "--why", "the bank knows nothing of it", "--undo")
    assert (done["way"], done["amount"], done["loss"]) == ("undo", "0.50", "0")
    assert flask(shop, "settlement", "breaks") == ""


def test_what_cannot_be_done_about_a_break_is_refused_at_a_terminal(shop: Shop, stranger: str) -> None:
    for way in ("--take-back", "--undo", "--again", "--loss", "--expense"):
        refused = flask(shop, "settlement", "resolve", stranger, "--why", "no", way, status=1)
        assert "break_unexplained" in refused, way


def test_what_speaks_for_whom_is_said_at_a_terminal(shop: Shop, stranger: str) -> None:
    assert "assign, split, repayment" in flask(shop, "settlement", "suggest", stranger)
    assert flask(shop, "settlement", "suggest", stranger, "--json") == ""
    purse = shop.purse("0.00")
    body = {"method": "bank_transfer", "amount": "12.00", "currency": "EUR"}
    announced = shop.post(f"/v1/purses/{purse.id}/top-ups", body, token=purse.token, key="t").get_json()
    suggested = said(shop, "settlement", "suggest", stranger)
    assert (suggested["purse"], suggested["because"]) == (str(purse.id), "amount")
    assert suggested["reference"] == announced["reference"]


def test_what_became_of_each_entry_is_said_at_a_terminal(shop: Shop, stranger: str) -> None:
    message = said(shop, "settlement", "messages")
    assert (message["kind"], message["name"], message["entries"], message["open_breaks"]) == (
        "camt.053",
        "statement.xml",
        1,
        1,
    )
    entry = said(shop, "settlement", "entries", message["id"])
    assert (entry["amount"], entry["became"], entry["break_id"]) == ("12.00", "break", stranger)
    purse = shop.purse("0.00")
    flask(shop, "settlement", "assign", stranger, str(purse.id), "--why", "asked")
    entry = said(shop, "settlement", "entries", message["id"])
    assert (entry["became"], entry["whose"]) == ("top_up", [f"{purse.id} 12.00"])
    assert "not_found" in flask(shop, "settlement", "entries", stranger, status=1)


def test_migrating_again_changes_nothing(shop: Shop) -> None:
    flask(shop, "migrate")
    with shop.database.read() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM business_days")).scalar_one() == 1


def statement_with_a_stranger(shop: Shop) -> str:
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
        <GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-05-04T22:10:00Z</CreDtTm></GrpHdr>
        <Stmt><Id>S1</Id><CreDtTm>2026-05-04T22:10:00Z</CreDtTm>
        <Acct><Id><IBAN>{shop.settings.bank_iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>
        <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">0.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
        <Dt><Dt>2026-05-04</Dt></Dt></Bal>
        <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">12.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
        <Dt><Dt>2026-05-04</Dt></Dt></Bal>
        <Ntry><Amt Ccy="EUR">12.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
        <BookgDt><Dt>2026-05-04</Dt></BookgDt><AcctSvcrRef>A1</AcctSvcrRef>
        <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
        <NtryDtls><TxDtls><RmtInf><Ustrd>for my purse</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
        </Stmt></BkToCstmrStmt></Document>"""


def test_an_operator_is_invited_begins_anew_and_both_are_logged(shop: Shop) -> None:
    runner = shop.app.test_cli_runner()
    links = [
        runner.invoke(args=["operator", *command]).output.strip()
        for command in (["invite", "ada@obole.example", "--name", "Ada"], ["reset", "ada@obole.example"])
    ]
    with shop.database.read() as conn:
        assert [row.action for row in actions.listing(conn, before=None, limit=5)] == [
            "operator_reset",
            "operator_invited",
        ]
        found = [identities.look_at_link(conn, link.rpartition("/")[2], at=clock.now()) for link in links[1:]]
    assert len(found) == 1
    assert links[0] != links[1]
    assert "identity_not_found" in runner.invoke(args=["operator", "reset", "nobody@obole.example"]).output


def test_without_a_bank_the_scheduler_does_all_that_needs_none_and_says_what_does(shop: Shop, tmp_path: Path) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.voucher(purse, merchant, "0.10")
    wanted = Wanted(amount=Money.parse("0.20", "EUR"), order_id="7", description="An article")
    with shop.database.write() as conn:
        checkouts.create(conn, merchant.id, wanted, life=dt.timedelta(0), at=clock.now())
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        conn.execute(vouchers.update().values(expires_at=past, hold_expires_at=past))
    log, bankless = tmp_path / "log", dataclasses.replace(shop.settings, bank_folder=None)
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "flask", "--app", "app", "scheduler", "--every", "1"]
        running = subprocess.Popen(command, env=os.environ | environment(bankless), stderr=stderr)
    try:
        while running.poll() is None and not _both_ended(shop):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0, log.read_text()
    finally:
        running.kill()
        running.wait()
    assert _both_ended(shop)
    line = next(json.loads(line) for line in log.read_text().splitlines() if "jobs that do not run" in line)
    assert line["jobs"] == ["settle", "collect", "catch-up"]
    assert "OBOLE_BANK_FOLDER must be set" in line["why"]


def _both_ended(shop: Shop) -> bool:
    with shop.database.read() as conn:
        checkout = conn.execute(sa.select(checkout_table.c.state)).scalar_one()
        voucher = conn.execute(sa.select(vouchers.c.state)).scalar_one()
    return (checkout, voucher) == (CheckoutState.EXPIRED.value, VoucherState.LAPSED.value)

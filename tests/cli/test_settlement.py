"""The command line: the same verbs at a terminal, with an exit status that programs can trust."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from settlement.audit import audits
from tests.books import camt, entry
from tests.cli.terminal import ACCOUNT, flask, said, sold
from tests.support import OWN_IBAN, Shop, hashed, make_settings
from wallet.ground import clock
from wallet.people import actions, identities
from wallet.tables.people import IdentityKind
from wallet.tables.purses import purses

STATUS = b"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
    <GrpHdr><MsgId>ANSWER-1</MsgId><CreDtTm>2026-05-04T22:10:00Z</CreDtTm></GrpHdr>
    <OrgnlGrpInfAndSts><OrgnlMsgId>%s</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
    <GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"""


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


def test_what_speaks_for_whom_is_said_at_a_terminal(shop: Shop, stranger: str) -> None:
    assert "assign, split, repayment" in flask(shop, "settlement", "suggest", stranger)
    assert flask(shop, "settlement", "suggest", stranger, "--json") == ""
    purse = shop.purse("0.00")
    body = {"method": "bank_transfer", "amount": "12.00", "currency": "EUR"}
    announced = shop.post(f"/v1/purses/{purse.id}/top-ups", body, token=purse.token, key="t").get_json()
    suggested = said(shop, "settlement", "suggest", stranger)
    assert (suggested["purse"], suggested["because"]) == (str(purse.id), "amount")
    assert suggested["reference"] == announced["reference"]

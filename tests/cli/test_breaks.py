"""What does not match, at a terminal."""

import datetime as dt
import json
from pathlib import Path

import pytest

from settlement.tables import bank_transactions
from tests.books import camt, entry
from tests.cli.conftest import statement_with_a_stranger
from tests.cli.terminal import flask, said, sold
from tests.settlement.verifications import one, verified
from tests.support import SHOPPER_IBAN, Shop
from wallet.ground import clock
from wallet.people import actions


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

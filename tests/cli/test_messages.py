"""What the bank says, at a terminal."""

import json
from pathlib import Path

from settlement.answers import quarantine
from tests.cli.terminal import flask, said, sold
from tests.cli.test_settlement import STATUS
from tests.support import Shop
from wallet.ground import clock
from wallet.people import actions


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

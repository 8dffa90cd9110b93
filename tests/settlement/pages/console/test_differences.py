"""Breaks and quarantine on the console: every way to close one, with its reason, in the log with who it was."""

from uuid import UUID

from settlement import breaks
from settlement.models import bank_transactions
from tests.settlement.pages.console.conftest import Console, sell
from tests.settlement.verifications import one, verified
from wallet import purses
from wallet.ids import new_id
from wallet.models import transfers


def open_breaks(console: Console) -> list[UUID]:
    with console.shop.database.read() as conn:
        return [row.id for row in breaks.listing(conn, closed=False, before=None, limit=99)]


def told(console: Console, *messages: bytes) -> None:
    folder = console.shop.settings.bank_folder
    assert folder
    (folder / "inbox").mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(messages):
        (folder / "inbox" / f"{number}.xml").write_bytes(message)
    console.collect()


def test_an_unexpected_credit_is_given_to_a_purse(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    purse = console.shop.purse("0.00")
    (found,) = open_breaks(console)
    assert "+€12.00" in console.get("/breaks")
    assert "It is a top-up" in console.get(f"/breaks/{found}")
    form = {"way": "assign", "purse_id": str(purse.id), "why": "Ada called"}
    console.post(f"/breaks/{found}", form | {"purse_id": str(new_id())}, status=404)
    console.post(f"/breaks/{found}", form | {"why": ""}, status=422)
    assert console.log() == []
    console.post(f"/breaks/{found}", form)
    with console.shop.database.read() as conn:
        assert str(purses.view(conn, purse.id).balance) == "12.00"
    assert console.log() == [("olga@obole.example", "break_resolved", str(found))]
    assert "assign: Ada called" in console.get("/breaks/closed")
    assert "There are no open breaks." in console.get("/breaks")


def test_an_acknowledged_break_stays_open_and_apart(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    (found,) = open_breaks(console)
    console.post(f"/breaks/{found}", {"way": "acknowledge", "why": "asked the bank"})
    assert open_breaks(console) == [found]
    assert "Acknowledged, and still open" in console.get("/breaks")
    assert "1 open break" in console.get("")
    assert [line[1] for line in console.log()] == ["break_acknowledged"]
    console.post(f"/breaks/{found}", {"way": "expense", "why": "no"}, status=409)


def test_the_log_names_no_break_that_nothing_was_done_about(console: Console, statement_of_a_stranger: bytes) -> None:
    told(console, statement_of_a_stranger)
    (mine,), other = open_breaks(console), new_id()
    console.post(f"/breaks/{mine}", {"way": "acknowledge", "why": "asked the bank", "with": str(other)}, on="/breaks")
    assert [line[1:] for line in console.log()] == [("break_acknowledged", str(mine))]


def test_breaks_that_make_each_other_up_are_ticked(
    console: Console, statement_of_a_stranger: bytes, statement_of_its_correction: bytes
) -> None:
    told(console, statement_of_a_stranger, statement_of_its_correction)
    correction, stranger = open_breaks(console)
    form = {"way": "offset", "why": "the bank's mistake"}
    console.post(f"/breaks/{stranger}", form, status=409)
    console.post(f"/breaks/{stranger}", form | {"with": "nonsense"}, status=404)
    console.post(f"/breaks/{stranger}", form | {"with": [str(correction)]})
    assert open_breaks(console) == []
    assert sorted(line[2] for line in console.log()) == sorted([str(correction), str(stranger)])


def test_what_the_bank_took_becomes_an_expense(console: Console, statement_of_its_correction: bytes) -> None:
    told(console, statement_of_its_correction)
    gap, entry = open_breaks(console)
    console.post(f"/breaks/{gap}", {"way": "expense", "why": "no entry"}, status=409)
    console.post(f"/breaks/{entry}", {"way": "expense", "why": "a charge"})
    with console.shop.database.read() as conn:
        reasons = conn.execute(transfers.select().where(transfers.c.reason == "bank_fee")).all()
    assert [row.amount_micros for row in reasons] == [12_000_000]


def test_a_payment_whose_outcome_is_unknown_is_decided_on_the_page(console: Console) -> None:
    merchant = sell(console.shop)
    console.settle()
    with console.shop.database.write() as conn:
        payment = conn.execute(
            bank_transactions.update().values(state="unknown").returning(bank_transactions.c.id)
        ).scalar_one()
    assert "outcome unknown" in console.get("/breaks")
    console.post(f"/payments/{payment}/decide", {"executed": "false"}, status=422)
    console.post(f"/payments/{payment}/decide", {"executed": "false", "why": "bank never had it"})
    assert console.shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "0.50"
    console.post(f"/payments/{payment}/decide", {"executed": "true", "why": "again"}, status=409)
    assert console.log() == [("olga@obole.example", "payout_decided", str(payment))]


def test_a_payment_that_waits_for_a_word_on_the_name_is_shown_and_decided(console: Console) -> None:
    merchant = sell(console.shop)
    console.settle()
    with console.shop.database.read() as conn:
        (payment,) = conn.execute(bank_transactions.select()).all()
    assert "waits for a word" not in console.get("/breaks")
    near = one("RVMC", iban=payment.creditor_iban, name=payment.creditor_name, text="Boulangerie Martin & fils")
    told(console, verified(near, file=payment.message_id))
    page = console.get("/breaks")
    for said in (
        "The bank waits for a word on the name",
        f"Name that was sent {payment.creditor_name}",
        "Name that the bank suggests Boulangerie Martin & fils",
        "What the bank found nearly the account’s name",
        "release the payment where you sign at the bank",
    ):
        assert said in page, said
    assert "The bank owes an answer" not in page
    assert "1 payment waits at the bank for a word on the name" in console.get("")
    console.post(f"/payments/{payment.id}/decide", {"executed": "false"}, status=422)
    console.post(f"/payments/{payment.id}/decide", {"executed": "false", "why": "refused at the portal"})
    assert console.shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "0.50"
    assert "waits for a word" not in console.get("/breaks")
    assert "for a word on the name" not in console.get("")
    assert console.log() == [("olga@obole.example", "payout_decided", str(payment.id))]


def test_a_message_nobody_could_read_is_looked_at_tried_again_and_dismissed(console: Console) -> None:
    told(console, b"<garbled/>")
    page = console.get("/quarantine")
    assert all(shown in page for shown in ("0.xml", "Not an ISO 20022 document.", "Size 10 Bytes"))
    raw = console.client.get("/console/quarantine").get_data(as_text=True)
    message = raw.split('action="/console/quarantine/')[1].split("/")[0]
    download = console.client.get(f"/console/quarantine/{message}")
    assert (download.data, download.content_type) == (b"<garbled/>", "application/octet-stream")
    console.post(f"/quarantine/{message}/retry", status=422)
    console.post(f"/quarantine/{message}/dismiss", {"why": "a test of the bank's"})
    console.post(f"/quarantine/{message}/dismiss", {"why": "again"}, status=404)
    assert "Every message could be read." in console.get("/quarantine")
    assert console.log() == [("olga@obole.example", "message_dismissed", message)]
    console.get(f"/quarantine/{new_id()}", status=404)
    console.get(f"/breaks/{new_id()}", status=404)

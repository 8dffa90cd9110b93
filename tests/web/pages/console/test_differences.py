"""What the bank owes an answer for, and the quarantine, on the console: decided with a reason, in the log with who."""

from settlement.tables import bank_transactions
from tests.settlement.verifications import one, verified
from tests.web.pages.console.conftest import Console, sell, told
from wallet.ground.ids import new_id


def test_a_payment_whose_outcome_is_unknown_is_decided_on_the_page(console: Console) -> None:
    merchant = sell(console.shop)
    console.settle()
    with console.shop.database.write() as conn:
        payment = conn.execute(
            bank_transactions.update().values(state="unknown").returning(bank_transactions.c.id)
        ).scalar_one()
    assert "outcome unknown" in console.get("/breaks")
    console.post(f"/breaks/payments/{payment}/decide", {"executed": "false"}, status=422)
    console.post(f"/breaks/payments/{payment}/decide", {"executed": "false", "why": "bank never had it"})
    assert console.shop.get("/v1/payable", token=merchant.token).get_json()["owed"] == "0.50"
    console.post(f"/breaks/payments/{payment}/decide", {"executed": "true", "why": "again"}, status=409)
    assert console.log() == [("olga@obole.example", "payout_decided", str(payment))]


def test_a_payment_that_waits_for_a_word_on_the_name_is_shown_and_decided(console: Console) -> None:
    merchant = sell(console.shop)
    console.settle()
    with console.shop.database.read() as conn:
        (payment,) = conn.execute(bank_transactions.select()).all()
    assert "waits for a word" not in console.get("/breaks")
    near = one("RVMC", iban=payment.creditor_iban, name=payment.creditor_name, text="Boulangerie Martin")
    told(console, verified(near, file=payment.message_id))
    page = console.get("/breaks")
    for said in (
        "The bank waits for a word on the name",
        f"Name that was sent {payment.creditor_name}",
        "Name that the bank suggests Boulangerie Martin",
        "What the bank found nearly the account’s name",
        "release the payment where you sign at the bank",
    ):
        assert said in page, said
    assert "The bank owes an answer" not in page
    run = console.get(f"/runs/{payment.run_id}")
    assert "to release nearly the account’s name" in run
    assert "The bank knows the account as Boulangerie Martin." in run
    assert "1 payment waits at the bank for a word on the name" in console.get("")
    console.post(f"/breaks/payments/{payment.id}/decide", {"executed": "false"}, status=422)
    console.post(f"/breaks/payments/{payment.id}/decide", {"executed": "false", "why": "refused at the portal"})
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

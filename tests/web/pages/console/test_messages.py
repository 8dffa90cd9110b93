"""The bank's messages on the console: each of its entries says what became of it, in words."""

import datetime as dt

from settlement.tables import bank_files, bank_transactions
from tests.books import camt, entry, pain002
from tests.web.pages.console.conftest import Console, open_breaks, sell, told
from wallet.ground.ids import new_id

DAY = dt.date(2026, 11, 23)


def the_newest(console: Console) -> str:
    page = console.client.get("/console/messages").get_data(as_text=True)
    return str(page.split('href="/console/messages/')[1].split('"')[0])


def test_a_statement_says_what_became_of_each_entry(console: Console) -> None:
    sell(console.shop)
    run = console.settle()
    with console.shop.database.read() as conn:
        payment = conn.execute(bank_transactions.select()).one()
    entries = [
        entry("B1", -500_000, "EUR", e2e=payment.end_to_end_id, day=DAY),
        entry("B2", -380_000, "EUR", code="ACMT/MDOP/CHRG", day=DAY),
        entry("B3", 7_000_000, "EUR", text="hello", day=DAY),
        entry("B4", 1_000_000, "EUR", text="soon", status="PDNG", day=DAY),
    ]
    told(console, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": 6_120_000}, entries, day=DAY))
    page = console.get(f"/messages/{the_newest(console)}")
    for said in (
        "Statement 0.xml",
        "Opens with €0.00",
        "Closes with €6.12",
        f"our payment to {payment.creditor_name}, booked",
        "booked as a bank fee",
        "a break: Entry nobody expected",
        "not booked by the bank yet: it moved nothing",
        "1 open break",
    ):
        assert said in page, said
    assert not any(raw in page for raw in ("payout_booked", "unknown_entry", "pending", "camt.053", "bank_fee"))
    assert f"/console/messages/{the_newest(console)}" in console.client.get(f"/console/runs/{run.id}").text
    (found,) = open_breaks(console)
    console.post(f"/breaks/{found}", {"way": "equity", "why": "ours"})
    page = console.get(f"/messages/{the_newest(console)}")
    assert "booked as your own money · its break" in page
    assert "1 open break" not in page


def test_messages_are_listed_and_status_reports_lead_to_their_run(console: Console) -> None:
    assert "Nothing was imported yet." in console.get("/messages")
    sell(console.shop)
    console.settle()
    with console.shop.database.read() as conn:
        file = conn.execute(bank_files.select()).one()
    told(console, pain002(file.message_id, "ACSP", None))
    assert "Status report 0.xml" in console.get("/messages")
    assert "A status report has no entries" in console.get(f"/messages/{the_newest(console)}")
    console.get(f"/messages/{new_id()}", status=404)
    console.get("/messages/1", status=404)


def test_a_long_statement_goes_on_where_the_page_before_ended(console: Console) -> None:
    fees = [entry(f"F{n}", -10_000, "EUR", text=f"fee {n:02}", code="ACMT/MDOP/CHRG", day=DAY) for n in range(30)]
    told(console, camt("053", "S1", "EUR", {"OPBD": 0, "CLBD": -300_000}, fees, day=DAY))
    message = the_newest(console)
    first = console.client.get(f"/console/messages/{message}").get_data(as_text=True)
    assert "fee 24" in first
    assert "fee 25" not in first
    following = first.split(f'href="/console/messages/{message}?after=')[1].split('"')[0]
    page = console.get(f"/messages/{message}?after={following}")
    assert "fee 24" not in page
    assert "fee 25" in page
    assert "fee 29" in page
    console.get(f"/messages/{message}?after=nonsense", status=404)
    console.get(f"/messages/{message}?after={new_id()}", status=404)

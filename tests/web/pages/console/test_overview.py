"""The first page and health: figures of the books, and what wants attention."""

import datetime as dt
import html
import json
import re

from settlement.tables import bank_transactions
from tests.web.pages.console.conftest import Console, sell
from wallet.ground import clock
from wallet.tables.books import business_days


def test_the_overview_shows_who_owns_the_money_and_what_became_of_the_purchases(console: Console) -> None:
    merchant, purse = console.shop.merchant(), console.shop.purse("20.00")
    for amount in ("0.50", "0.25", "0.25"):
        console.shop.redeem(merchant, console.shop.voucher(purse, merchant, amount))
    page = console.get("")
    assert "In purses €19.00" in page
    assert "Owed to merchants €1.00" in page
    console.settle()
    page = console.get("")
    assert "In transit €1.00" in page
    assert "Bank fees saved: €0.76 (purchases: 3, payouts: 1)." in page
    raw = console.client.get("/console").get_data(as_text=True)
    found = re.search(r'data-days="([^"]+)"', raw)
    assert found
    chart = json.loads(html.unescape(found.group(1)))
    assert (chart["purchases"][-1], chart["bank_transactions"][-1], len(chart["dates"])) == (3, 1, 30)
    assert console.log() == []


def test_what_wants_attention_comes_first(console: Console, statement_of_a_stranger: bytes) -> None:
    assert "Wants attention" not in console.get("")
    sell(console.shop)
    console.settle()
    with console.shop.database.write() as conn:
        conn.execute(bank_transactions.update().values(state="unknown"))
    inbox = console.shop.settings.bank_folder
    assert inbox is not None
    (inbox / "inbox" / "1.xml").write_bytes(b"<x/>")
    (inbox / "inbox" / "2.xml").write_bytes(statement_of_a_stranger)
    console.collect()
    page = console.get("")
    assert "1 open break" in page
    assert "1 payment whose outcome is unknown" in page
    assert "1 bank message that could not be read" in page


def test_a_scheduler_that_stands_still_shows(console: Console) -> None:
    assert "What is due is done yes" in console.get("/health")
    with console.shop.database.write_alone() as conn:
        conn.execute(business_days.update().values(business_date=clock.today() - dt.timedelta(days=3)))
    assert "Late: the nightly run" in console.get("/health")
    assert "The scheduler seems to stand still" in console.get("")


def test_health_says_what_the_wallet_stands_on(console: Console, database_kind: str) -> None:
    page = console.get("/health")
    assert {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database_kind] in page
    assert "Schema up to date" in page
    assert "no mail server is set up" in page
    assert "Folder not there" in page
    console.collect()  # which makes the folder
    assert "Free on its disk" in console.get("/health")

"""Audit, log and keys on the console."""

import datetime as dt

import sqlalchemy as sa

from settlement import scheduler
from settlement.runs import nightly
from settlement.tables import audits
from tests.web.pages.console.conftest import Console, sell, text
from wallet.ground import clock
from wallet.tables.purses import purses


def test_the_audit_is_run_when_it_is_asked_for_and_says_what_is_wrong(console: Console) -> None:
    sell(console.shop)
    assert "The books have not been audited yet." in console.get("/audit")
    page = text(console.post("/audit", status=200))
    assert "The books are sound" in page
    assert "Owed" not in page
    assert "each purse's balance equals its transfers wrong 0 holds" in page.replace("&#39;", "'")
    with console.shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros - 1))
        (purse,) = conn.execute(sa.select(purses.c.id)).scalars()
    page = text(console.post("/audit", status=200)).replace("&#39;", "'")
    assert "1 check failed." in page
    assert "each purse's balance equals its transfers wrong 1 wrong" in page
    assert f"purse {purse} holds 19.499999 EUR; the transfers of its account" in page
    # It is kept: whoever looks later sees it, on the first page too.
    assert f"purse {purse} holds 19.499999 EUR" in console.get("/audit")
    assert "The books do not add up: 1 check failed" in console.get("")
    with console.shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros + 1))
    console.post("/audit", status=200)
    assert "The books are sound" in console.get("")
    assert console.get("/audit").count("1 check failed") == 1


def test_last_nights_audit_is_shown_on_the_first_page(console: Console) -> None:
    sell(console.shop)
    assert "books" not in console.get("").partition("</nav>")[2]
    settings = console.shop.settings
    scheduler.settle(console.shop.database, nightly.bank_of(settings), settings)
    assert "The books are sound audited " in console.get("")
    assert "after the run of" in console.get("/audit")


def test_an_audit_that_is_overdue_shows(console: Console) -> None:
    console.post("/audit", status=200)
    assert "Late" not in console.get("/health")
    with console.shop.database.write() as conn:
        conn.execute(audits.update().values(audited_at=clock.now() - dt.timedelta(days=2)))
    assert "Late: the nightly audit" in console.get("/health")


def test_rotating_the_key_is_confirmed_done_and_logged(console: Console) -> None:
    before = console.shop.obole.keyring.active_kid
    assert before in console.get("/keys")
    console.post("/keys/rotate")
    after = console.shop.obole.keyring.active_kid
    assert after != before
    assert console.log() == [("olga@obole.example", "key_rotated", after)]
    page = console.get("/log?verify=1")
    assert "made a new signing key" in page
    assert "The chain holds." in page


def test_the_log_goes_back_page_by_page(console: Console) -> None:
    purse = console.shop.purse("1.00")
    for _ in range(15):
        console.post(f"/purses/{purse.id}/freeze")
        console.post(f"/purses/{purse.id}/unfreeze")
    first = console.get("/log")
    assert first.count("froze a purse") == 25
    raw = console.client.get("/console/log").get_data(as_text=True)
    older = raw.split("before=")[1].split('"')[0]
    assert console.get(f"/log?before={older}").count("froze a purse") == 5

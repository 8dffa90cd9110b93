"""Audit, log and keys on the console."""

from tests.settlement.pages.console.conftest import Console, sell
from wallet.models import purses


def test_the_audit_is_run_when_it_is_asked_for_and_says_what_is_wrong(console: Console) -> None:
    sell(console.shop)
    assert "holds" not in console.get("/audit")
    assert "The books are sound" in console.get("/audit?run=1")
    with console.shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros - 1))
    page = console.get("/audit?run=1")
    assert "1 check failed." in page
    assert "each purse's balance equals its transfers wrong 1 wrong" in page.replace("&#39;", "'")
    with console.shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=purses.c.balance_micros + 1))


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

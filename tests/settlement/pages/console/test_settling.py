"""Settling on the console: a preview, a run that is asked for, approvals by two, and the bank's files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement import nightly
from tests.settlement.pages.console.conftest import Console, sell
from tests.support import Shop, make_settings


@pytest.fixture
def careful(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A wallet whose runs two operators must approve."""
    with Shop(make_settings(tmp_path, database_url, approvals=2)) as shop:
        yield shop


def outbox(shop: Shop) -> list[Path]:
    assert shop.settings.bank_folder
    return list((shop.settings.bank_folder / "outbox").iterdir())


def only_run(shop: Shop) -> str:
    with shop.database.read() as conn:
        (run,) = nightly.listing(conn, before=None, limit=2)
    return str(run.id)


def test_tonight_is_previewed_against_what_the_bank_holds(console: Console) -> None:
    sell(console.shop, "2.00")
    page = console.get("/tonight")
    assert "1 payout €2.00" in page
    assert "Needed at the bank €2.38" in page
    assert "The account lacks €2.38." in page


def test_a_run_that_is_asked_for_is_done_logged_and_shown_with_its_files(console: Console) -> None:
    sell(console.shop, "2.00")
    answer = console.post("/tonight")
    assert answer.location == f"/console/runs/{only_run(console.shop)}"
    page = console.get(answer.location.removeprefix("/console"))
    (file,) = outbox(console.shop)
    assert hashlib.sha256(file.read_bytes()).hexdigest() in page
    assert "Payout sent 1 €2.00" in page
    download = console.client.get(f"/console/files/{file.stem}")
    assert download.data == file.read_bytes()
    assert download.headers["Content-Disposition"] == f'attachment; filename="{file.stem}.xml"'
    assert "2.00" in console.get("/runs")
    assert [line[:2] for line in console.log()] == [("olga@obole.example", "run_asked")]
    console.get("/files/NOWHERE", status=404)


def test_two_operators_approve_a_run_and_one_of_them_twice_is_one(careful: Shop) -> None:
    olga, pierre = Console(careful), Console(careful, "Pierre")
    sell(careful)
    olga.post("/tonight")
    run = only_run(careful)
    assert "waits for approval" in olga.get("")
    for _ in range(2):
        olga.post(f"/runs/{run}/approve")
    assert outbox(careful) == []
    assert "Another operator must, too." in olga.get(f"/runs/{run}")
    pierre.post(f"/runs/{run}/approve")
    assert len(outbox(careful)) == 1
    assert "with the bank" in pierre.get(f"/runs/{run}")
    assert [line[:2] for line in olga.log()] == [
        ("olga@obole.example", "run_asked"),
        ("olga@obole.example", "run_approved"),
        ("pierre@obole.example", "run_approved"),
    ]
    pierre.post(f"/runs/{run}/approve", status=409)


def test_where_nobody_need_approve_nobody_can(console: Console) -> None:
    sell(console.shop)
    run = console.settle()
    console.post(f"/runs/{run.id}/approve", status=409)
    assert console.log() == []


def test_a_wallet_without_a_bank_says_so_on_the_page(database_url: str, tmp_path: Path) -> None:
    with Shop(make_settings(tmp_path, database_url, bank_iban=None)) as shop:
        console = Console(shop)
        answer = console.post("/tonight", status=409)
        assert "There is no bank to settle with" in answer.get_data(as_text=True)
        assert console.log() == []

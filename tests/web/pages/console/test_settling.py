"""Settling on the console: a preview, a run that is asked for, approvals by two, and the bank's files."""

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from settlement import business_day
from settlement.audit import audits
from settlement.files import approvals, bank_files
from settlement.files.place import advance, place
from settlement.payouts.cut import cut
from settlement.runs import nightly, runs
from settlement.tables import RunState
from tests.support import Shop, make_settings
from tests.web.pages.console.conftest import Console, sell, text
from wallet.ground import clock
from wallet.tables.books import business_days
from wallet.tables.telling import mails


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
        (run,) = runs.listing(conn, before=None, limit=2)
    return str(run.id)


def test_tonight_is_previewed_against_what_the_bank_holds(console: Console) -> None:
    sell(console.shop, "2.00")
    page = console.get("/tonight")
    assert "1 payout €2.00" in page
    assert "Needed at the bank €2.38" in page
    assert "The account lacks €2.38." in page


def test_the_night_and_a_run_now_ask_for_their_own_days_and_a_day_ahead_is_not_offered(console: Console) -> None:
    sell(console.shop, "2.00")
    profile, now = nightly.profile_of(console.shop.settings), clock.now()
    tonight = profile.execution_date(dt.datetime.combine(now.date(), console.shop.settings.cutoff, dt.UTC))
    page = console.get("/tonight")
    assert f"The nightly run would ask the bank to pay on {tonight.day} {tonight:%B %Y}" in page
    today = profile.execution_date(now)
    assert f"Now the bank would be asked to pay on {today.day} {today:%B %Y}" in page
    console.run_now()
    page = console.get("/tonight")
    assert "Today was closed already" in page
    assert "to be closed and settled now" not in page


def test_a_run_that_is_asked_for_is_done_logged_and_shown_with_its_files(console: Console) -> None:
    sell(console.shop, "2.00")
    answer = console.run_now()
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


def open_days(shop: Shop) -> list[dt.date]:
    with shop.database.read() as conn:
        return list(
            conn.execute(select(business_days.c.business_date).where(business_days.c.state == "open")).scalars()
        )


def test_pressing_again_says_that_nothing_was_done_and_pays_nobody(console: Console) -> None:
    sell(console.shop, "2.00")
    named = {"business_date": clock.today().isoformat()}
    assert "The run is done." in console.get(console.post("/tonight", named).location.removeprefix("/console"))
    sell(console.shop, "3.00")
    again = console.post("/tonight", named)
    assert again.location == f"/console/runs/{only_run(console.shop)}"
    said = console.get(again.location.removeprefix("/console"))
    assert "was settled before: nothing was done now, and nobody was paid." in said
    assert "The run is done." not in said
    assert len(outbox(console.shop)) == 1


def test_what_is_settled_is_the_day_that_the_page_named_also_past_midnight(console: Console) -> None:
    yesterday = clock.today() - dt.timedelta(days=1)
    with console.shop.database.write_alone() as conn:
        conn.execute(business_days.update().values(business_date=yesterday))
    sell(console.shop, "2.00")
    console.run_now()
    assert open_days(console.shop) == [clock.today()]
    # The page is still open in another window, and today has a sale.
    sell(console.shop, "3.00")
    again = console.post("/tonight", {"business_date": yesterday.isoformat()})
    assert "nobody was paid" in console.get(again.location.removeprefix("/console"))
    assert open_days(console.shop) == [clock.today()]


@pytest.mark.parametrize(("date", "said"), [(1, "That day has not begun."), (-400, "That day was never open.")])
def test_a_day_that_is_not_there_to_be_settled_is_not(console: Console, date: int, said: str) -> None:
    named = clock.today() + dt.timedelta(days=date)
    assert said in text(console.post("/tonight", {"business_date": named.isoformat()}, status=422))
    console.post("/tonight", {"business_date": "tonight"}, status=422)
    console.post("/tonight", status=422)
    assert open_days(console.shop) == [clock.today()]


def test_a_run_that_is_asked_for_ends_with_the_audit_and_its_page_says_how_it_came_out(console: Console) -> None:
    sell(console.shop, "2.00")
    run = console.run_now().location.removeprefix("/console")
    assert "Audit at its end sound" in console.get(run)
    with console.shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE purses SET balance_micros = balance_micros + 1")
    with console.shop.database.read() as conn:
        found = runs.find(conn, UUID(run.rpartition("/")[2]))
    nightly.prove(console.shop.database, console.shop.settings, at=clock.now(), business_date=found.business_date)
    for page in (console.get(run), console.get("")):
        assert "The books do not add up: 1 check failed" in page
    with console.shop.database.read() as conn:
        assert [letter.recipient for letter in conn.execute(mails.select())] == [console.email]
    with console.shop.database.write_alone() as conn:
        conn.exec_driver_sql("UPDATE purses SET balance_micros = balance_micros - 1")


def test_an_approval_that_sends_a_run_ends_with_the_audit(careful: Shop) -> None:
    olga, pierre = Console(careful), Console(careful, "Pierre")
    sell(careful)
    olga.run_now()
    for each in (olga, pierre):
        approve(each, only_run(careful))
    with careful.database.read() as conn:
        assert [row.business_date for row in audits.listing(conn, limit=9)] == [clock.today()] * 3


def approve(console: Console, run: str, *, status: int = 303) -> str:
    """Send the button of the run's page, with what that page shows."""
    page = console.client.get(f"/console/runs/{run}").get_data(as_text=True)
    seen = re.findall(r'name="files_sha256" value="([0-9a-f]{64})"', page)
    answer = console.post(f"/runs/{run}/approve", {"files_sha256": seen[0] if seen else ""}, status=status)
    return text(answer)


def test_two_operators_approve_a_run_and_one_of_them_twice_is_one(careful: Shop) -> None:
    olga, pierre = Console(careful), Console(careful, "Pierre")
    sell(careful)
    olga.run_now()
    run = only_run(careful)
    assert "waits for approval" in olga.get("")
    approve(olga, run)
    approve(olga, run, status=409)
    assert outbox(careful) == []
    assert "Another operator must, too." in olga.get(f"/runs/{run}")
    approve(pierre, run)
    assert len(outbox(careful)) == 1
    assert "with the bank" in pierre.get(f"/runs/{run}")
    assert [line[:2] for line in olga.log()] == [
        ("olga@obole.example", "run_asked"),
        ("olga@obole.example", "run_approved"),
        ("pierre@obole.example", "run_approved"),
    ]
    approve(pierre, run, status=409)


def test_approving_too_late_says_the_new_date_and_asks_again(careful: Shop) -> None:
    olga, bank = Console(careful), nightly.bank_of(careful.settings)
    sell(careful)
    business_day.close(careful.database, clock.today(), at=clock.now())
    # Made, and approved by one, nine days ago.
    then = clock.now() - dt.timedelta(days=9)
    made = nightly.start(careful.database, clock.today(), profile=bank.profile, at=then)
    cut(careful.database, made, bank_fees_micros=bank.fees_micros, at=then)
    place(careful.database, made, debtor=bank.debtor, file_limit=9, at=then)
    bank_files.render(careful.database, made.id, profile=bank.profile, at=then)
    with careful.database.settle() as conn:
        advance(conn, made, RunState.CUT, RunState.RENDERED)
    with careful.database.settle() as conn:
        approvals.approve(conn, made.id, olga.id, at=then)
    assert "You approved it. Another operator must, too." in olga.get(f"/runs/{made.id}")
    pierre, date = Console(careful, "Pierre"), bank.profile.execution_date(clock.now())
    assert f"The files ask the bank for {date} now" in approve(pierre, str(made.id), status=409)
    assert outbox(careful) == []
    page = pierre.get(f"/runs/{made.id}")
    assert "Olga of files with an earlier date: counts no more" in page
    assert "The bank could no longer keep the date" in page
    for each in (pierre, olga):
        approve(each, str(made.id))
    (sent,) = outbox(careful)
    assert f"<Dt>{date}</Dt>" in sent.read_text()


def test_what_an_operator_did_not_see_is_not_approved(careful: Shop) -> None:
    olga = Console(careful)
    sell(careful)
    olga.run_now()
    run = only_run(careful)
    for seen in ({}, {"files_sha256": "0" * 64}):
        answer = olga.post(f"/runs/{run}/approve", seen, status=409)
        assert "made anew" in answer.get_data(as_text=True)
    assert "Olga" not in olga.get(f"/runs/{run}").partition("Approval")[2].partition("What became")[0]


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

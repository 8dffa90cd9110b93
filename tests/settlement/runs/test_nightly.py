"""The run: killed anywhere it goes on where it stopped, two at once make one set of payouts, no day is left out."""

import datetime as dt
import re
import threading
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from settlement import business_day
from settlement.bank.directory import Directory
from settlement.bank.profile import Profile
from settlement.files import bank_files
from settlement.files import place as place_module
from settlement.files.place import place
from settlement.payouts import cut as cut_module
from settlement.payouts.cut import cut
from settlement.runs import nightly, runs
from tests.books import MONDAY, Books
from tests.settlement.bank.formats.xsd import xsd_errors
from tests.support import OPERATOR_IBAN, make_settings
from wallet.ground.errors import BankNotConfigured, BusinessDateInvalid

SALES = """
    merchant bakery commission=100
    merchant press
    top_up   alice 20.00
    buy      alice bakery 1.07
    buy      alice press 2.00
    withdraw alice 3.00 w1
"""


class Killed(BaseException):
    """The process ends here."""


def run(books: Books, **more: Any) -> Any:
    return nightly.run(books.database, books.bank, at=books.at, **more)


def outbox(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (folder / "bank" / "outbox").iterdir()}


def stored(books: Books) -> dict[str, bytes]:
    with books.database.read() as conn:
        found = runs.listing(conn, before=None, limit=99)
        names = [file.message_id for each in found for file in runs.files(conn, each.id)]
        return {name: bank_files.find(conn, name).content for name in names}


def settled_once(books: Books, folder: Path) -> None:
    """What every interrupted night must come to."""
    assert sorted((row.amount_micros, row.state) for row in books.transactions()) == [
        (1_050_000, "submitted"),
        (2_000_000, "submitted"),
        (3_000_000, "submitted"),
    ]
    assert outbox(folder) == stored(books)
    assert len(outbox(folder)) == 1
    assert list((folder / "bank" / "staged").iterdir()) == []
    assert books.audit() == "sound"


def test_a_night(books: Books, tmp_path: Path) -> None:
    books.run(SALES)
    steps: list[str] = []
    done = run(books, progress=steps.append)
    assert steps == ["close", "balance", "cut", "render", "submit"]
    assert (done.business_date, done.state) == (MONDAY.date(), "submitted")
    settled_once(books, tmp_path)
    with books.database.read() as conn:
        assert runs.find(conn, done.id) == done
        assert business_day.closed_dates(conn) == [MONDAY.date()]
        totals: list[Any] = list(map(tuple, runs.outcome(conn, done.id)))
        assert totals == [
            ("EUR", "payout", "submitted", 2, 3_050_000),
            ("EUR", "withdrawal", "submitted", 1, 3_000_000),
        ]


def test_running_it_again_changes_nothing(books: Books, tmp_path: Path) -> None:
    books.run(SALES)
    first = run(books)
    steps: list[str] = []
    assert run(books, progress=steps.append) == first
    assert run(books, business_date=MONDAY.date()) == first
    assert "cut" not in steps
    settled_once(books, tmp_path)


@pytest.mark.parametrize("step", ["close", "balance", "cut", "render", "submit"])
def test_a_run_killed_before_a_step_goes_on_there(books: Books, tmp_path: Path, step: str) -> None:
    books.run(SALES)

    def kill(reached: str) -> None:
        if reached == step:
            raise Killed

    with pytest.raises(Killed):
        run(books, progress=kill)
    run(books)
    settled_once(books, tmp_path)


# Each of these is called inside a step; the kill comes right before or right after it has done its work.
INSIDE: list[tuple[Any, str]] = [
    (cut_module, "_cut_merchants"),
    (cut_module, "_cut_asked_for"),
    (place_module, "_place_file"),
    (place_module, "advance"),
    (bank_files, "_content"),
    (bank_files, "acknowledge"),
    (Directory, "stage"),
    (Directory, "hand_over"),
]


def killing(work: Any, *, after: bool) -> Any:
    """The process ends where this is called, before or after the work is done."""

    def killed(*words: Any, **more: Any) -> Any:
        if after:
            work(*words, **more)
        raise Killed

    return killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("where", "name"), INSIDE, ids=[name for _, name in INSIDE])
def test_a_run_killed_inside_a_step_goes_on_there(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: bool
) -> None:
    books.run(SALES)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, killing(getattr(where, name), after=after))
        with pytest.raises(Killed):
            run(books)
    run(books)
    settled_once(books, tmp_path)


def test_two_runs_at_once_make_one_set(books: Books, tmp_path: Path) -> None:
    books.run(SALES)
    start, failures = threading.Barrier(2), []

    def settle() -> None:
        try:
            start.wait()
            run(books)
        except BaseException as error:  # noqa: BLE001  # told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=settle) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    settled_once(books, tmp_path)


def test_days_of_downtime_are_caught_up_in_one_run(books: Books) -> None:
    books.run("""
        merchant bakery
        top_up   alice 10.00
        buy      alice bakery 1.00
        later    3
        buy      alice bakery 0.50
        day             -> 2026-11-23
        night    0      -> 2026-11-26
        day             -> 2026-11-27
        payouts  bakery -> 1
        night    0      -> 2026-11-26
        day             -> 2026-11-27
        buy      alice bakery 1.25
        night           -> 2026-11-26
        payouts  bakery -> 1
        night           -> 2026-11-27
        payouts  bakery -> 2
        audit           -> sound
    """)


def test_days_closed_but_never_settled_are_settled_each(books: Books) -> None:
    books.run("merchant bakery wait=0\n top_up alice 10.00")
    for _ in range(2):
        books.run("buy alice bakery 1.00")
        business_day.close(books.database, books.at.date(), at=books.at)
        books.later("1")
    books.run("""
        night           -> 2026-11-25
        payouts  bakery -> 2
        audit           -> sound
    """)


def test_a_day_by_its_date(books: Books) -> None:
    books.run(SALES)
    assert run(books, business_date=MONDAY.date()).business_date == MONDAY.date()
    tomorrow = MONDAY.date() + dt.timedelta(days=1)
    assert run(books, business_date=tomorrow).business_date == tomorrow
    for date in (MONDAY.date() - dt.timedelta(days=1), tomorrow + dt.timedelta(days=1), dt.date.max):
        with pytest.raises(BusinessDateInvalid):
            run(books, business_date=date)


def test_nothing_due(books: Books) -> None:
    books.at -= dt.timedelta(days=1)
    assert books.night() == "nothing due"


def test_books_that_were_never_opened(books: Books) -> None:
    books.sql("DELETE FROM business_days")
    with pytest.raises(BusinessDateInvalid):
        run(books)


# --- when the bank is asked to pay -------------------------------------------------------------------------


def asked_for(content: bytes) -> dt.date:
    """The date in a bank file, as the bank reads it."""
    (said,) = re.findall(rb"<ReqdExctnDt><Dt>([0-9-]+)</Dt></ReqdExctnDt>", re.sub(rb">\s+<", b"><", content))
    return dt.date.fromisoformat(said.decode())


def test_the_first_day_that_the_bank_can_keep(books: Books, tmp_path: Path) -> None:
    books.at = MONDAY.replace(day=28)
    books.run(SALES)
    done = run(books)
    (content,) = outbox(tmp_path).values()
    assert asked_for(content) == done.execution_date == dt.date(2026, 11, 30)


# A summer night after 22:00 UTC is the next day at the bank.
@pytest.mark.parametrize(("at", "date"), [("2026-07-06T22:30", "2026-07-07"), ("2026-07-06T12:59", "2026-07-06")])
def test_a_night_is_dated_by_the_banks_clock(books: Books, tmp_path: Path, at: str, date: str) -> None:
    books.at = dt.datetime.fromisoformat(f"{at}+00:00")
    books.sql(f"UPDATE business_days SET business_date = '{books.at.date()}'")
    books.run(SALES)
    run(books)
    (content,) = outbox(tmp_path).values()
    assert asked_for(content) == dt.date.fromisoformat(date)


# Where a kill lets days pass: the file that leaves afterwards asks for a date that the bank can keep.
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("where", "name"), INSIDE, ids=[name for _, name in INSIDE])
def test_a_file_that_leaves_days_later_asks_for_a_day_to_come(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: bool
) -> None:
    books.run(SALES)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, killing(getattr(where, name), after=after))
        with pytest.raises(Killed):
            run(books)
    left_in_time = bool(outbox(tmp_path))
    books.later("4")
    run(books, business_date=MONDAY.date())
    settled_once(books, tmp_path)
    (content,) = outbox(tmp_path).values()
    assert asked_for(content) == (dt.date(2026, 11, 24) if left_in_time else dt.date(2026, 11, 30))
    assert xsd_errors(content) == []


# Dated anew itself is killed, too, and nothing is lost by it or sent twice.
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [(bank_files, "_write"), (Directory, "take_back"), (bank_files, "_set"), (Directory, "stage")],
    ids=["write", "take_back", "set", "stage"],
)
def test_a_kill_while_a_file_is_dated_anew(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: bool
) -> None:
    books.run(SALES)
    with monkeypatch.context() as patch:
        patch.setattr(Directory, "hand_over", killing(Directory.hand_over, after=False))
        with pytest.raises(Killed):
            run(books)
    books.later("4")
    with monkeypatch.context() as patch:
        patch.setattr(where, name, killing(getattr(where, name), after=after))
        with pytest.raises(Killed):
            run(books, business_date=MONDAY.date())
    assert outbox(tmp_path) == {}
    books.later("3")
    run(books, business_date=MONDAY.date())
    settled_once(books, tmp_path)
    assert [asked_for(content) for content in outbox(tmp_path).values()] == [dt.date(2026, 12, 1)]


def test_a_step_at_a_time_days_apart(books: Books, tmp_path: Path) -> None:
    books.run(SALES)
    business_day.close(books.database, MONDAY.date(), at=books.at)
    this = nightly.start(books.database, MONDAY.date(), profile=books.bank.profile, at=books.at)
    cut(books.database, this, bank_fees_micros={}, at=books.at)
    place(books.database, this, debtor=books.bank.debtor, file_limit=1, at=books.at)
    books.later("1")
    bank_files.render(books.database, this.id, profile=books.bank.profile, at=books.at)
    assert {asked_for(content) for content in stored(books).values()} == {dt.date(2026, 11, 25)}
    books.later("1")
    run(books, business_date=MONDAY.date())
    assert [asked_for(content) for content in outbox(tmp_path).values()] == [dt.date(2026, 11, 26)] * 3
    assert outbox(tmp_path) == stored(books)
    assert books.audit() == "sound"


# --- the bank of the settings ------------------------------------------------------------------------------


def test_the_bank_is_that_of_the_settings(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path,
        "sqlite:///unused.db",
        bank_bic="AGRIFRPP",
        bank_file_limit=7,
        bank_answer_days=3,
        bank_timezone=ZoneInfo("Pacific/Auckland"),
        bank_cutoff=dt.time(9, 30),
    )
    bank = nightly.bank_of(settings)
    assert bank.profile == Profile(timezone=ZoneInfo("Pacific/Auckland"), cutoff=dt.time(9, 30))
    assert isinstance(bank.connector, Directory)
    assert (tmp_path / "bank" / "outbox").is_dir()
    told = (bank.iban, bank.bic, bank.file_limit, bank.answer_days, bank.account_name, bank.fees_micros)
    assert told == (OPERATOR_IBAN, "AGRIFRPP", 7, 3, "Obole Test", settings.bank_fees)


@pytest.mark.parametrize(
    ("unset", "named"),
    [
        ({"bank_iban": None}, ["OBOLE_BANK_IBAN"]),
        ({"bank_folder": None}, ["OBOLE_BANK_FOLDER"]),
        ({"bank_iban": None, "bank_folder": None}, ["OBOLE_BANK_IBAN", "OBOLE_BANK_FOLDER"]),
    ],
)
def test_a_wallet_without_a_bank_says_what_is_missing(tmp_path: Path, unset: dict[str, None], named: list[str]) -> None:
    with pytest.raises(BankNotConfigured) as refusal:
        nightly.bank_of(make_settings(tmp_path, "sqlite:///unused.db", **unset))
    assert [name for name in ("OBOLE_BANK_IBAN", "OBOLE_BANK_FOLDER") if name in refusal.value.detail] == named


def test_a_day_that_is_open_cannot_be_started(books: Books) -> None:
    with pytest.raises(BusinessDateInvalid):
        nightly.start(books.database, MONDAY.date(), profile=books.bank.profile, at=MONDAY)

"""The run: killed anywhere it goes on where it stopped, two at once make one set of payouts, no day is left out."""

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from settlement import bank_files, business_day, nightly, payouts
from settlement.bank.directory import Directory
from tests.books import MONDAY, Books
from tests.support import OPERATOR_IBAN, make_settings
from wallet.errors import BankNotConfigured, BusinessDateInvalid, RunNotFound
from wallet.ids import new_id

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
        runs = nightly.listing(conn, before=None, limit=99)
        names = [file.message_id for each in runs for file in nightly.files(conn, each.id)]
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
        assert nightly.find(conn, done.id) == done
        assert business_day.closed_dates(conn) == [MONDAY.date()]
        totals: list[Any] = list(map(tuple, nightly.outcome(conn, done.id)))
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
    (payouts, "_cut_merchants"),
    (payouts, "_cut_withdrawals"),
    (payouts, "_place_file"),
    (payouts, "advance"),
    (bank_files, "_content"),
    (bank_files, "acknowledge"),
    (Directory, "stage"),
    (Directory, "hand_over"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("where", "name"), INSIDE, ids=[name for _, name in INSIDE])
def test_a_run_killed_inside_a_step_goes_on_there(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: bool
) -> None:
    books.run(SALES)
    work = getattr(where, name)

    def killed(*words: Any, **more: Any) -> Any:
        if after:
            work(*words, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
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


def test_runs_are_listed_newest_first(books: Books) -> None:
    for _ in range(3):
        books.night()
    with books.database.read() as conn:
        runs = nightly.listing(conn, before=None, limit=2)
        rest = nightly.listing(conn, before=runs[-1].id, limit=9)
        dates = [each.business_date.day for each in [*runs, *rest]]
        with pytest.raises(RunNotFound):
            nightly.find(conn, new_id())
    assert dates == [25, 24, 23]


# 2026: Good Friday is April 3rd, Easter Monday the 6th (T2 calendar: ECB/2022/8, annex I).
BANKING_DAYS = {
    "2026-11-23": "2026-11-23",
    "2026-11-27": "2026-11-27",
    "2026-11-28": "2026-11-30",
    "2026-11-29": "2026-11-30",
    "2026-04-03": "2026-04-07",
    "2026-05-01": "2026-05-04",
    "2026-07-14": "2026-07-14",
    "2026-12-25": "2026-12-28",
    "2027-01-01": "2027-01-04",
}


@pytest.mark.parametrize(("date", "banking_day"), BANKING_DAYS.items())
def test_the_next_banking_day(date: str, banking_day: str) -> None:
    assert nightly.next_banking_day(dt.date.fromisoformat(date)) == dt.date.fromisoformat(banking_day)


def test_the_execution_date_is_fixed_with_the_run(books: Books) -> None:
    books.at = MONDAY.replace(day=28)
    books.run(SALES)
    assert run(books).execution_date == dt.date(2026, 11, 30)


# --- the bank of the settings ------------------------------------------------------------------------------


def test_the_bank_is_that_of_the_settings(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, "sqlite:///unused.db", bank_bic="AGRIFRPP", bank_file_limit=7, bank_answer_days=3
    )
    bank = nightly.bank_of(settings)
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
        nightly.start(books.database, MONDAY.date(), at=MONDAY)

"""Approvals: nothing leaves before enough operators have looked, and a run that waits holds up nothing else."""

import datetime as dt
import re
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from settlement import scheduler
from settlement.bank.directory import Directory
from settlement.files import approvals, bank_files
from settlement.runs import nightly, runs
from tests.books import MONDAY, Books
from tests.support import hashed, make_settings
from wallet.ground.db import Database
from wallet.ground.errors import (
    ApprovalsMissing,
    FilesChanged,
    IdentityNotFound,
    OboleError,
    RunNotFound,
    RunNotWaiting,
)
from wallet.ground.ids import new_id
from wallet.people import identities
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as identities_table

SALES = """
    merchant bakery
    top_up   alice 20.00
    buy      alice bakery 1.07
"""


@pytest.fixture
def books(db: Database, tmp_path: Path) -> Books:
    """Books whose runs two operators must approve."""
    return Books(db, tmp_path / "bank", approvals=2)


def somebody(books: Books, name: str, kind: IdentityKind = IdentityKind.OPERATOR) -> UUID:
    with books.database.write() as conn:
        address = f"{name}@wallet.example"
        identity_id = identities.add(conn, kind, identifier=address, name=name, locale="en", at=books.at)
        conn.execute(identities_table.update().values(activated_at=books.at))
    return identity_id


def run(books: Books, **more: Any) -> Any:
    return nightly.run(books.database, books.bank, at=books.at, **more)


def approve(books: Books, run_id: UUID, who: UUID) -> bool:
    with books.database.settle() as conn:
        return approvals.approve(conn, run_id, who, at=books.at)


def approve_seen(books: Books, run_id: UUID, who: UUID) -> str:
    """As an operator does: look, approve what was looked at, and let it be sent; answers the state then, or the no."""
    with books.database.read() as conn:
        seen = approvals.files_sha256(conn, run_id)
    try:
        nightly.keep_dates(books.database, books.bank, run_id, at=books.at)
        with books.database.settle() as conn:
            approvals.approve(conn, run_id, who, seen_sha256=seen, at=books.at)
    except OboleError as refusal:
        return f"{refusal.code} {refusal.detail.split()[6]}"
    return str(run(books, business_date=MONDAY.date()).state)


def dates(folder: Path) -> list[str]:
    files = (path.read_text() for path in (folder / "bank" / "outbox").iterdir())
    return ["".join(re.findall(r"<ReqdExctnDt>\s*<Dt>([0-9-]+)", text)) for text in files]


def outbox(folder: Path) -> list[str]:
    return [path.name for path in (folder / "bank" / "outbox").iterdir()]


def test_a_run_waits_until_two_have_approved_it(books: Books, tmp_path: Path) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    waiting = run(books)
    assert (waiting.state, outbox(tmp_path)) == ("rendered", [])
    assert run(books).state == "rendered"
    assert approve(books, waiting.id, ada)
    assert not approve(books, waiting.id, ada)  # who approves twice counts once
    assert (run(books).state, outbox(tmp_path)) == ("rendered", [])
    assert approve(books, waiting.id, bob)
    assert outbox(tmp_path) == []
    assert run(books).state == "submitted"
    assert len(outbox(tmp_path)) == 1
    with books.database.read() as conn:
        assert [each.name for each in approvals.approvals_of(conn, waiting.id)] == ["ada", "bob"]
        assert approvals.missing(conn, waiting.id, 2) == 0
    assert books.audit() == "sound"


def test_a_run_that_waits_does_not_hold_up_the_next(books: Books, tmp_path: Path) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    monday = run(books)
    books.run("later 1\n buy alice bakery 0.50")
    tuesday = run(books)
    assert (monday.state, tuesday.state) == ("rendered", "rendered")
    for who in (ada, bob):
        approve(books, tuesday.id, who)
    run(books)
    with books.database.read() as conn:
        assert [each.state for each in runs.listing(conn, before=None, limit=9)] == ["submitted", "rendered"]
    for who in (ada, bob):
        approve(books, monday.id, who)
    run(books)
    assert len(outbox(tmp_path)) == 2
    assert books.audit() == "sound"


# Two approve: one on Monday evening, one later; the bank takes Tuesday's date until 15:00 its time (14:00 UTC).
def test_an_evening_and_the_next_morning_are_in_time(books: Books, tmp_path: Path) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    waiting = run(books)
    assert approve_seen(books, waiting.id, ada) == "rendered"
    books.at = dt.datetime(2026, 11, 24, 13, 59, tzinfo=dt.UTC)
    assert approve_seen(books, waiting.id, bob) == "submitted"
    assert dates(tmp_path) == ["2026-11-24"]


def test_who_approves_too_late_moves_the_date_and_approves_again(books: Books, tmp_path: Path) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    waiting = run(books)
    assert approve_seen(books, waiting.id, ada) == "rendered"
    books.at = dt.datetime(2026, 11, 24, 14, 0, tzinfo=dt.UTC)
    assert approve_seen(books, waiting.id, bob) == "files_changed 2026-11-25"
    assert outbox(tmp_path) == []
    # What Ada approved are other bytes: both look at the new date.
    with books.database.read() as conn:
        assert approvals.missing(conn, waiting.id, 2) == 2
    assert approve_seen(books, waiting.id, bob) == "rendered"
    assert approve_seen(books, waiting.id, ada) == "submitted"
    assert dates(tmp_path) == ["2026-11-25"]
    with books.database.read() as conn:
        digest = approvals.files_sha256(conn, waiting.id)
        told = [(each.name, each.files_sha256 == digest) for each in approvals.approvals_of(conn, waiting.id)]
    assert sorted(told) == [("ada", False), ("ada", True), ("bob", True)]
    assert books.audit() == "sound"


def test_an_approved_run_that_was_never_sent_in_time_waits_again(books: Books, tmp_path: Path) -> None:
    both = [somebody(books, "ada"), somebody(books, "bob")]
    books.run(SALES)
    waiting = run(books)
    for who in both:
        approve(books, waiting.id, who)
    books.later("1")  # nobody was there to send it
    assert run(books, business_date=MONDAY.date()).state == "rendered"
    with pytest.raises(ApprovalsMissing):
        nightly.submit(books.database, books.bank, waiting, at=books.at)
    assert outbox(tmp_path) == []
    assert [approve_seen(books, waiting.id, who) for who in both] == ["rendered", "submitted"]
    assert dates(tmp_path) == ["2026-11-25"]


def test_a_night_gives_what_waits_a_date_that_can_be_kept(books: Books) -> None:
    books.run(SALES)
    waiting = run(books)
    books.later("4")
    run(books)
    with books.database.read() as conn:
        (file,) = runs.files(conn, waiting.id)
    assert file.execution_date == dt.date(2026, 11, 30)
    assert file.state == "rendered"


def test_what_was_not_looked_at_is_not_approved(books: Books) -> None:
    ada = somebody(books, "ada")
    books.run(SALES)
    waiting = run(books)
    with books.database.settle() as conn, pytest.raises(FilesChanged):
        approvals.approve(conn, waiting.id, ada, seen_sha256="0" * 64, at=books.at)
    with books.database.read() as conn:
        assert approvals.missing(conn, waiting.id, 2) == 2


def test_bytes_changed_between_the_last_look_and_the_hand_over_stay(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process dates the files anew (its clock is a day ahead) just before ours stages what was approved."""
    both = [somebody(books, "ada"), somebody(books, "bob")]
    books.run(SALES)
    waiting = run(books)
    for who in both:
        approve(books, waiting.id, who)
    hand_over = bank_files.submit

    def meanwhile(*words: Any, **more: Any) -> int:
        tomorrow = books.at + dt.timedelta(days=1)
        bank_files.date_anew(books.database, waiting.id, profile=books.bank.profile, at=tomorrow)
        return hand_over(*words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(bank_files, "submit", meanwhile)
        assert run(books).state == "rendered"
    assert outbox(tmp_path) == []
    assert [approve_seen(books, waiting.id, who) for who in both] == ["rendered", "submitted"]
    assert dates(tmp_path) == ["2026-11-25"]


def test_the_scheduler_leaves_a_waiting_run_alone_and_ends_an_approved_one(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    monkeypatch.setattr("wallet.ground.clock.now", lambda: books.at)
    cutoff, settings = dt.time(20, 0), make_settings(tmp_path, "sqlite:///elsewhere.db")
    scheduler.catch_up(books.database, books.bank, settings, cutoff=cutoff)
    with books.database.read() as conn:
        (waiting,) = runs.listing(conn, before=None, limit=9)
        assert waiting.state == "rendered"
        assert not runs.is_unfinished(conn, books.bank.approvals)
    looked: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "settle", lambda *words, **_: looked.append(words))
        scheduler.catch_up(books.database, books.bank, settings, cutoff=cutoff)
    assert looked == []
    for who in (ada, bob):
        approve(books, waiting.id, who)
    scheduler.catch_up(books.database, books.bank, settings, cutoff=cutoff)
    assert len(outbox(tmp_path)) == 1


def test_an_approved_run_killed_as_it_is_handed_over_goes_on(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    waiting = run(books)
    for who in (ada, bob):
        approve(books, waiting.id, who)
    for where, name in ((Directory, "stage"), (Directory, "hand_over"), (bank_files, "acknowledge")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, killed)
            with pytest.raises(Killed):
                run(books)
    assert run(books).state == "submitted"
    assert len(outbox(tmp_path)) == 1
    assert books.audit() == "sound"


def test_two_who_approve_at_once_send_the_files_once(books: Books, tmp_path: Path) -> None:
    both = [somebody(books, "ada"), somebody(books, "bob")]
    books.run(SALES)
    waiting = run(books)
    start, failures = threading.Barrier(2), []

    def approve_and_run(who: UUID) -> None:
        try:
            start.wait()
            assert approve(books, waiting.id, who)
            run(books)
        except BaseException as error:  # noqa: BLE001  # told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=approve_and_run, args=(who,)) for who in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert run(books).state == "submitted"
    assert len(outbox(tmp_path)) == 1
    assert books.audit() == "sound"


def test_submitting_by_hand_needs_the_approvals_too(books: Books, tmp_path: Path) -> None:
    ada = somebody(books, "ada")
    books.run(SALES)
    waiting = run(books)
    approve(books, waiting.id, ada)
    with pytest.raises(ApprovalsMissing):
        nightly.submit(books.database, books.bank, waiting, at=books.at)
    assert outbox(tmp_path) == []


def test_only_an_operator_approves_and_only_while_one(books: Books) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    shopper = somebody(books, "eve", IdentityKind.SHOPPER)
    books.run(SALES)
    waiting = run(books)
    for nobody in (shopper, new_id()):
        with pytest.raises(IdentityNotFound):
            approve(books, waiting.id, nobody)
    for who in (ada, bob):
        approve(books, waiting.id, who)
    with books.database.write() as conn:
        identities.end(conn, bob, at=MONDAY)
    with pytest.raises(IdentityNotFound):
        approve(books, waiting.id, bob)
    assert run(books).state == "rendered"


def test_who_was_ended_and_came_back_approves_anew(books: Books) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    books.run(SALES)
    waiting = run(books)
    assert approve(books, waiting.id, ada)
    with books.database.write() as conn:
        identities.end(conn, ada, at=books.at)
    books.later("1")
    with books.database.write() as conn:
        address, kind = "ada@wallet.example", IdentityKind.OPERATOR
        assert identities.add(conn, kind, identifier=address, name="Ada", locale="en", at=books.at) == ada
        identities.set_secret(conn, ada, hashed("a passphrase of Ada's"), at=books.at)
    assert approve(books, waiting.id, bob)
    with books.database.read() as conn:
        assert approvals.missing(conn, waiting.id, 2) == 1
    assert approve(books, waiting.id, ada)
    assert not approve(books, waiting.id, ada)
    with books.database.read() as conn:
        assert approvals.missing(conn, waiting.id, 2) == 0


def test_only_a_rendered_run_is_approved(books: Books) -> None:
    ada, bob = somebody(books, "ada"), somebody(books, "bob")
    with pytest.raises(RunNotFound):
        approve(books, new_id(), ada)
    books.run(SALES)
    waiting = run(books)
    for who in (ada, bob):
        approve(books, waiting.id, who)
    run(books)
    with pytest.raises(RunNotWaiting):
        approve(books, waiting.id, ada)

"""Receiving: whatever is in a message, it is imported or kept with the reason, and the next is read all the same."""

import contextlib
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from settlement import scheduler
from settlement.answers import quarantine, receiving, reconciliation
from settlement.answers.imports import Imported
from settlement.bank.formats import envelope
from settlement.bank.formats.xml import MAX_BYTES
from settlement.tables import bank_messages
from tests.books import MONDAY, Books, camt, entry, pain002
from wallet.books import ledger
from wallet.ground.errors import BankMessageFailed, BankMessageInvalid, NotFound, Unavailable

GARBLED = b"<not-a-message/>"


@pytest.fixture
def night(books: Books) -> Books:
    """Two payouts are with the bank, which has not said anything yet."""
    books.run("""
        merchant bakery
        merchant press
        top_up   alice 9.00
        buy      alice bakery 1.00
        buy      alice press 2.00
        night
    """)
    return books


def status(books: Books, merchant: str, code: str = "ACSP") -> bytes:
    """What the bank says of one payout."""
    row = books.transaction(merchant)
    return pain002(row.message_id, code, "AC04" if code == "RJCT" else None, row.end_to_end_id)


def waiting(books: Books) -> list[Any]:
    with books.database.read() as conn:
        return list(quarantine.listing(conn))


def one_of(books: Books, query: str) -> Any:
    with books.database.read() as conn:
        return conn.exec_driver_sql(query).scalar_one()


def messages(books: Books) -> int:
    with books.database.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(bank_messages)).scalar_one())


def receive(books: Books, content: bytes, name: str = "1.xml", flaw: str | None = None) -> list[receiving.Received]:
    return receiving.receive(books.database, books.bank, content, name=name, at=books.at, flaw=flaw)


@pytest.fixture
def bomb(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, Exception], None]:
    """Let the import of a message fail as nobody foresaw."""

    def plant(message: bytes, error: Exception) -> None:
        real = reconciliation.import_message

        def imported(database: Any, data: bytes, **how: Any) -> Imported:
            if data == message:
                raise error
            return real(database, data, **how)

        monkeypatch.setattr(reconciliation, "import_message", imported)

    return plant


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of several documents, whatever else may be one: they are told apart by a bar."""
    monkeypatch.setattr(envelope, "documents", lambda data: tuple(filter(None, data.split(b"|"))))


def test_what_can_be_read_is_imported(night: Books) -> None:
    (told,) = receive(night, status(night, "bakery"))
    assert (told.name, told.refusal) == ("1.xml", None)
    assert told.imported is not None
    assert told.imported.statuses == 1
    night.run("state bakery -> accepted\n state press -> submitted")
    assert waiting(night) == []


def test_what_cannot_be_read_is_kept_with_the_reason(night: Books) -> None:
    (told,) = receive(night, GARBLED, name="a\udcff.xml", flaw="It ends in the middle.")
    assert told.imported is None
    assert isinstance(told.refusal, BankMessageInvalid)
    (message,) = waiting(night)
    assert (message.name, message.reason, message.size) == ("a?.xml", told.refusal.detail, len(GARBLED))
    assert message.reason.startswith("It ends in the middle. ")
    assert len(message.reason) > len("It ends in the middle. ")


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.MultipleResultsFound("two of our references"),
        KeyError("Ccy"),
        RecursionError(),
        MemoryError(),
        sa.exc.IntegrityError("INSERT", None, ValueError("CHECK constraint failed")),
    ],
)
def test_a_failure_that_nobody_foresaw_stops_neither_this_night_nor_the_next(
    night: Books, bomb: Callable[[bytes, Exception], None], tmp_path: Path, error: Exception
) -> None:
    bad, good = status(night, "bakery", "RJCT"), status(night, "press")
    bomb(bad, error)
    inbox = tmp_path / "bank" / "inbox"
    (inbox / "1.xml").write_bytes(bad)
    (inbox / "2.xml").write_bytes(good)
    assert scheduler.collect(night.database, night.bank) == {"imported": 1, "refused": 1, "breaks": 0}
    assert scheduler.collect(night.database, night.bank) == {"imported": 0, "refused": 0, "breaks": 0}
    night.run("state bakery -> submitted\n state press -> accepted")
    (message,) = waiting(night)
    assert (message.name, type(error).__name__ in message.reason) == ("1.xml", True)
    with night.database.read() as conn:
        assert quarantine.find(conn, message.id).content == bad
    assert [path.name for path in (tmp_path / "bank" / "refused").iterdir()] == ["1.xml"]


def test_what_fails_half_way_moves_nothing(night: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "post", failing)
        (told,) = receive(night, status(night, "bakery", "RJCT"))
    assert isinstance(told.refusal, BankMessageFailed)
    night.run("state bakery -> submitted\n payable bakery -> 0.00\n audit -> sound")
    assert messages(night) == 0


def test_a_database_that_does_not_answer_is_no_fault_of_the_message(
    night: Books, bomb: Callable[[bytes, Exception], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = status(night, "bakery"), status(night, "press")
    inbox = tmp_path / "bank" / "inbox"
    (inbox / "1.xml").write_bytes(first)
    (inbox / "2.xml").write_bytes(second)
    with monkeypatch.context():
        bomb(first, Unavailable())
        with pytest.raises(Unavailable):
            scheduler.collect(night.database, night.bank)
    assert sorted(path.name for path in inbox.iterdir()) == ["1.xml", "2.xml"]
    assert waiting(night) == []
    monkeypatch.undo()
    assert scheduler.collect(night.database, night.bank)["imported"] == 2


@pytest.mark.only_on("sqlite")
def test_a_full_disk_is_no_fault_of_the_message_wherever_it_is(night: Books, tmp_path: Path) -> None:
    """Also where there would be room to put the message into quarantine."""
    inbox = tmp_path / "bank" / "inbox"
    entries = [entry(f"E-{number}", 1_000_000, "EUR", text="hello " * 30) for number in range(60)]
    (inbox / "1.xml").write_bytes(camt("053", "S", "EUR", {"OPBD": 0, "CLBD": 60_000_000}, entries, day=MONDAY.date()))
    pages, tries = one_of(night, "PRAGMA page_count"), 0

    def without_room(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + tries}")

    sa.event.listen(night.database.engine, "checkout", without_room)
    while list(inbox.iterdir()):
        tries += 1
        with contextlib.suppress(Unavailable):
            scheduler.collect(night.database, night.bank)
    assert tries > 10
    assert [path.name for path in (tmp_path / "bank" / "imported").iterdir()] == ["1.xml"]
    assert waiting(night) == []
    assert one_of(night, "SELECT sum(difference_micros) FROM breaks WHERE resolved_at IS NULL") == 60_000_000
    night.run("audit -> sound")


def test_what_cannot_even_be_kept_stays_where_it_is(
    night: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "bank" / "inbox"
    (inbox / "1.xml").write_bytes(GARBLED)

    def full(*_: object, **__: object) -> bool:
        raise sa.exc.DatabaseError("INSERT", None, ValueError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "put", full)
        with pytest.raises(sa.exc.DatabaseError):
            scheduler.collect(night.database, night.bank)
    assert [path.name for path in inbox.iterdir()] == ["1.xml"]
    assert scheduler.collect(night.database, night.bank)["refused"] == 1


@pytest.mark.usefixtures("split")
def test_of_several_documents_in_a_file_only_the_bad_one_is_refused(night: Books, tmp_path: Path) -> None:
    file = b"|".join((status(night, "bakery"), GARBLED, status(night, "press")))
    inbox = tmp_path / "bank" / "inbox"
    for _ in range(2):  # found again after a kill, or sent again: nothing more comes of it
        (inbox / "all.xml").write_bytes(file)
        scheduler.collect(night.database, night.bank)
        night.run("state bakery -> accepted\n state press -> accepted")
        (message,) = waiting(night)
        assert (message.name, message.size) == ("all.xml #2", len(GARBLED))
    assert messages(night) == 2
    assert sorted(path.name for path in (tmp_path / "bank" / "imported").iterdir()) == ["all-2.xml", "all.xml"]
    assert list((tmp_path / "bank" / "refused").iterdir()) == []


@pytest.mark.usefixtures("split")
def test_a_file_that_holds_nothing_or_nothing_good_is_refused(night: Books, tmp_path: Path) -> None:
    (told,) = receive(night, b"|", name="empty.zip")
    assert isinstance(told.refusal, BankMessageInvalid)
    (tmp_path / "bank" / "inbox" / "bad.xml").write_bytes(b"<a>1</a>|<a>2</a>")
    assert scheduler.collect(night.database, night.bank) == {"imported": 0, "refused": 2, "breaks": 0}
    assert [message.name for message in waiting(night)] == ["empty.zip", "bad.xml #1", "bad.xml #2"]
    assert [path.name for path in (tmp_path / "bank" / "refused").iterdir()] == ["bad.xml"]


def test_a_container_that_fails_to_open_is_kept_whole(night: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_data: bytes) -> tuple[bytes, ...]:
        raise NotImplementedError("compression type 97")

    monkeypatch.setattr(envelope, "documents", failing)
    (told,) = receive(night, b"PK", name="a.zip")
    assert isinstance(told.refusal, BankMessageFailed)
    assert [(message.name, message.size) for message in waiting(night)] == [("a.zip", 2)]


def test_of_a_message_larger_than_any_the_beginning_is_kept(night: Books) -> None:
    (told,) = receive(night, b"<x>" + b" " * MAX_BYTES)
    assert isinstance(told.refusal, BankMessageInvalid)
    assert [message.size for message in waiting(night)] == [MAX_BYTES]


# --- again -------------------------------------------------------------------------------------------------


def retry(books: Books, message_id: Any, **how: Any) -> list[Imported]:
    return receiving.retry(books.database, books.bank, message_id, at=books.at, **how)


def test_a_message_that_can_be_read_after_all_is_imported_once(
    night: Books, bomb: Callable[[bytes, Exception], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rejection = status(night, "bakery", "RJCT")
    bomb(rejection, KeyError("new code"))
    receive(night, rejection, name="late.xml")
    receive(night, GARBLED, name="garbled.xml")
    late, garbled = waiting(night)
    with pytest.raises(BankMessageFailed):
        retry(night, late.id)
    monkeypatch.undo()  # the upgrade
    noted: list[Any] = []
    (imported,) = retry(night, late.id, note=lambda _conn, did: noted.extend(did))
    assert (imported.statuses, noted) == (1, [imported])
    with pytest.raises(NotFound):
        retry(night, late.id)
    with pytest.raises(BankMessageInvalid):
        retry(night, garbled.id)
    assert [message.id for message in waiting(night)] == [garbled.id]
    night.run("state bakery -> rejected AC04\n payable bakery -> 1.00\n audit -> sound")


def test_a_container_in_quarantine_is_imported_document_by_document(
    night: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = status(night, "bakery") + b"|" + status(night, "press")
    receive(night, both, name="both.zip")
    (message,) = waiting(night)
    monkeypatch.setattr(envelope, "documents", lambda data: tuple(data.split(b"|")))
    assert [imported.statuses for imported in retry(night, message.id)] == [1, 1]
    assert waiting(night) == []
    night.run("state bakery -> accepted\n state press -> accepted")


def test_killed_between_importing_and_letting_go_it_still_waits_and_a_second_try_changes_nothing(
    night: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejection = status(night, "bakery", "RJCT")
    with night.database.write() as conn:
        quarantine.put(conn, name="1.xml", content=rejection, reason="Not yet.", at=night.at)
    (message,) = waiting(night)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "dismiss", killed)
        with pytest.raises(KeyboardInterrupt):
            retry(night, message.id)
    assert [each.id for each in waiting(night)] == [message.id]
    (imported,) = retry(night, message.id)
    assert imported.seen_before
    assert waiting(night) == []
    night.run("payable bakery -> 1.00\n audit -> sound")


def test_half_a_file_waits_until_the_whole_has_come_under_whatever_name(night: Books, tmp_path: Path) -> None:
    one, two = status(night, "bakery"), status(night, "press")
    packed = tmp_path / "statements.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("press.xml", two)
    container = packed.read_bytes()
    after_its_id = one.index(b"</MsgId>") + 30
    for number, half in enumerate((one[:40], one[:after_its_id], one[:-20], container[:-30])):
        (told,) = receive(night, half, name=f"half{number}.xml" if number else "bakery.xml")
        assert told.refusal is not None
    assert len(waiting(night)) == 4
    receive(night, two, name="another.xml")
    assert len(waiting(night)) == 4, "it is the beginning of another message"
    receive(night, one, name="bakery.xml")
    assert [row.name for row in waiting(night)] == ["half3.xml"]
    receive(night, container, name="half3.xml")
    assert waiting(night) == []
    assert one_of(night, "SELECT count(*) FROM refused_messages WHERE dismissed_at IS NOT NULL") == 4


def test_what_is_only_the_beginning_of_every_message_waits_for_its_own(night: Books) -> None:
    one = status(night, "bakery")
    receive(night, one[:40], name="monday.xml")
    receive(night, one, name="tuesday.xml")
    assert [row.name for row in waiting(night)] == ["monday.xml"], "nobody knows what it was the beginning of"


def test_half_a_file_that_comes_after_the_whole_waits_for_nobody(night: Books) -> None:
    one = status(night, "bakery")
    receive(night, one, name="bakery.xml")
    for name, half in (("again.xml", one[:-20]), ("bakery.xml", one[:40])):
        (told,) = receive(night, half, name=name)
        assert told.refusal is not None
    assert waiting(night) == []
    assert one_of(night, "SELECT count(*) FROM refused_messages") == 2


def test_what_began_a_message_that_came_whole_waits_when_it_begins_another(night: Books) -> None:
    one, two = status(night, "bakery"), status(night, "press")
    assert one[:40] == two[:40]
    receive(night, one[:40], name="monday.xml")
    receive(night, one, name="monday.xml")
    assert waiting(night) == []
    for _ in range(2):
        receive(night, two[:40], name="tuesday.xml")
    assert [row.name for row in waiting(night)] == ["tuesday.xml"]
    receive(night, two, name="tuesday.xml")
    assert waiting(night) == []

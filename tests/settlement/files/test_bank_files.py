"""Bank files: stored before they leave, handed over once, and the same bytes every time they are asked for."""

import hashlib
from pathlib import Path
from uuid import UUID

import pytest

from settlement.files import bank_files
from settlement.tables import FileState
from tests.books import MONDAY, Books
from tests.settlement.bank.formats.xsd import xsd_errors
from wallet.ground.errors import BankFileNotFound

SENT = """
    merchant bakery
    top_up   alice 10.00
    buy      alice bakery 1.07
    night
"""


def submit(books: Books, run_id: UUID) -> int:
    return bank_files.submit(books.database, run_id, books.bank.connector, profile=books.bank.profile, at=books.at)


def test_a_file_is_valid_and_its_bytes_are_those_that_left(books: Books, tmp_path: Path) -> None:
    books.run(SENT)
    message_id = books.last_file().message_id
    with books.database.read() as conn:
        file = bank_files.find(conn, message_id)
    assert (tmp_path / "bank" / "outbox" / f"{message_id}.xml").read_bytes() == file.content
    assert file.sha256 == hashlib.sha256(file.content).hexdigest()
    assert xsd_errors(file.content) == []
    assert (file.state, file.control_sum_micros, file.transaction_count) == ("submitted", 1_070_000, 1)
    assert books.transaction("bakery").end_to_end_id.encode() in file.content


def test_rendering_again_gives_the_same_bytes(books: Books) -> None:
    books.run(SENT)
    before = books.last_file()
    books.sql("UPDATE bank_files SET state = 'cut', content = NULL, sha256 = NULL, submitted_at = NULL")
    books.sql("UPDATE bank_transactions SET state = 'cut'")
    assert bank_files.render(books.database, before.run_id, profile=books.bank.profile, at=MONDAY) == 1
    after = books.last_file()
    assert (after.content, after.sha256, after.state) == (before.content, before.sha256, FileState.RENDERED)
    assert books.state("bakery") == "rendered"
    assert bank_files.render(books.database, before.run_id, profile=books.bank.profile, at=books.at) == 0


def test_nothing_is_handed_over_twice(books: Books, tmp_path: Path) -> None:
    books.run(SENT)
    file = books.last_file()
    outbox = tmp_path / "bank" / "outbox"
    for path in outbox.iterdir():
        path.unlink()  # the bank took it
    books.sql("UPDATE bank_files SET state = 'submitting', submitted_at = NULL")
    books.sql("UPDATE bank_transactions SET state = 'rendered'")
    assert submit(books, file.run_id) == 1
    assert list(outbox.iterdir()) == []
    assert books.state("bakery") == "submitted"
    assert submit(books, file.run_id) == 0


def test_what_the_bank_has_is_recorded_once(books: Books) -> None:
    books.run(SENT)
    message_id = books.last_file().message_id
    books.sql("UPDATE bank_files SET state = 'submitting', submitted_at = NULL")
    books.sql("UPDATE bank_transactions SET state = 'rendered'")
    for news in (1, 0):
        with books.database.settle() as conn:
            assert bank_files.acknowledge(conn, message_id, at=books.at) == news
    assert (books.state("bakery"), books.last_file().submitted_at) == ("submitted", books.at)


def test_a_name_without_a_letter_for_the_bank_stops_nobody_else(books: Books) -> None:
    books.run("merchant bakery\n merchant slash\n top_up alice 9.00\n buy alice bakery 1.00\n buy alice slash 1.00")
    books.sql("UPDATE merchants SET legal_name = '/' WHERE legal_name = 'Slash'")
    books.run("night\n state bakery -> submitted\n state slash -> submitted\n audit -> sound")
    assert b"NOTPROVIDED" in books.last_file().content


def test_a_file_that_is_not_there(books: Books) -> None:
    with books.database.read() as conn, pytest.raises(BankFileNotFound):
        bank_files.find(conn, "OBOLE-20261123-00000000-0001")

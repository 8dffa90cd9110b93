"""From the bank's file to the balance: every case of ``bank_messages/`` and of `tests.flows.bank_days`.

The files come into the bank's folder and are collected as every minute; what is compared is what people see: purses,
what the books have in the bank, what is open. Each case with its files in their order and in the reverse, and then
all of them again.
"""

import datetime as dt
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

from settlement import scheduler
from tests.books import Books
from tests.dialects import scene
from tests.dialects.camt import decimal
from tests.flows.bank_days import DAYS, IBAN, Day, File, Names, Right
from tests.support import OPERATOR_IBAN
from wallet.ground.db import Database

CASES = Path(__file__).parent / "bank_messages"
# The Friday before, on which the file of payments leaves.
FRIDAY = dt.datetime(2026, 5, 8, 20, 0, tzinfo=dt.UTC)
READ_AT = dt.datetime(2026, 5, 13, 20, 0, tzinfo=dt.UTC)

ALICE, ALICE_AND_BOB = "20.00 0.00 0.00", "20.00 30.00 0.00"
RIGHT = {
    "01_rf_in_free_text": Right(ALICE, "20.00"),
    "03_notified_without_bank_reference_then_booked": Right(ALICE, "20.00"),
    "06_payment_and_fee_under_one_reference": Right(ALICE, "19.50", fees="0.50"),
    "07_nonref_two_days": Right(ALICE_AND_BOB, "50.00"),
    "09_statement_id_again_next_year": Right(ALICE_AND_BOB, "50.00"),
    "10_two_accounts_in_one_file": Right(ALICE, "20.00"),
    "11_iso_8859_1": Right(ALICE, "20.00"),
    "12_austrian_namespace": Right(ALICE, "20.00"),
    "13_account_as_domestic_number": Right(ALICE, "20.00"),
    "14_decimal_without_leading_zero": Right(ALICE, "20.00"),
    "15_balance_of_more_than_1e9": Right(ALICE, "20.00", breaks=("statement_gap 1200000000.00",)),
    "16_batch_v02_with_InstdAmt_only": Right(ALICE_AND_BOB, "50.00"),
    "17_reversal_with_the_original_sign": Right("20.00 0.00 10.00", "20.00", withdrawal="returned"),
    "18_zip_container": Right(ALICE, "20.00"),
    "19_two_documents_in_one_file": Right(ALICE, "20.00"),
    "20_pain002_national_namespaces": Right("20.00 0.00 10.00", "20.00", withdrawal="rejected"),
    "21_closing_balance_only": Right(ALICE, "20.00", breaks=("statement_gap 586.80",)),
    "22_statement_that_does_not_add_up": Right(ALICE, "20.00", breaks=("statement_sum 30.00",)),
}
WAYS = ("in_order", "in_reverse")


class Desk:
    """Alice and Bob wait for their top-ups, Carol for her money, and the operator for the bank's files."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.folder = folder
        self.books = books = Books(database, folder, at=FRIDAY, answer_days=90)
        books.shopper("alice")
        books.announce("alice", "15.00")
        too = books.references["alice"]
        books.announce("alice", "20.00")
        books.shopper("bob")
        books.announce("bob", "30.00")
        books.top_up("carol", "10.00")
        books.withdraw("carol", "10.00", "withdrawal")
        books.night()
        (sent,) = (folder / "outbox").iterdir()
        root = etree.fromstring(sent.read_bytes())
        end_to_end_id, message_id, information = (
            str(root.findtext(f".//{{*}}{tag}")) for tag in ("EndToEndId", "MsgId", "PmtInfId")
        )
        self.names = Names(
            books.references["alice"], too, books.references["bob"], end_to_end_id, message_id, information
        )
        monkeypatch.setattr("wallet.ground.clock.now", lambda: READ_AT)

    def read(self, files: Sequence[File], *, first: int) -> list[str]:
        """Files come into the inbox one by one, numbered from ``first``; answers their names there."""
        names = []
        for number, (name, content) in enumerate(files, start=first):
            # What is hidden, or unfinished, is so by its beginning or its end.
            dot = "." if name.startswith(".") else ""
            names.append(f"{dot}{number:02}-{name.lstrip('.')}")
            (self.folder / "inbox" / names[-1]).write_bytes(content)
            scheduler.collect(self.database, self.books.bank)
        return names

    def is_right(self, right: Right) -> None:
        """Everything that people see is as it should be, and the audit is sound."""
        books = self.books
        said = {
            "purses": " ".join(books.purse(shopper) for shopper in ("alice", "bob", "carol")),
            "bank": books.at_bank(),
            "breaks": tuple(sorted(_said(each) for each in scene.open_breaks(self.database))),
            "withdrawal": books.transaction("withdrawal").state,
            "fees": books.expenses(),
            "audit": books.audit(),
        }
        assert said == {
            "purses": right.purses,
            "bank": right.bank,
            "breaks": right.breaks,
            "withdrawal": right.withdrawal,
            "fees": right.fees,
            "audit": "sound",
        }

    def in_folder(self, name: str) -> list[str]:
        """The files in one of the bank's folders."""
        return sorted(path.name for path in (self.folder / name).iterdir())


def _said(each: scene.Break) -> str:
    return f"{each.kind} {'-' if each.cents < 0 else ''}{decimal(each.cents)}"


@pytest.fixture
def desk(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(db, tmp_path / "bank", monkeypatch)


def of_folder(name: str, names: Names) -> list[File]:
    """The files of a case, about what this wallet has."""
    said = {
        b"@RF1@": names.alice,
        b"@RF2@": names.bob,
        b"@E2E1@": names.end_to_end_id,
        b"@MSGID@": names.message_id,
    }
    files = []
    for path in sorted((CASES / name).iterdir()):
        content = path.read_bytes()
        if path.suffix == ".zip":
            content = _zip_about(content, said)
        files.append((path.name, _about(content, said)))
    return files


def _about(content: bytes, said: dict[bytes, str]) -> bytes:
    for sign, name in said.items():
        content = content.replace(sign, name.encode())
    return content


def _zip_about(content: bytes, said: dict[bytes, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, _about(old.read(member), said))
    return packed.getvalue()


def tell(desk: Desk, files: Sequence[File], way: str, right: Right) -> None:
    """The files come in their order or in the reverse, and then all of them again; it is right both times."""
    names: list[str] = []
    coming = list(reversed(files)) if way == "in_reverse" else list(files)
    for _ in range(2):
        names += desk.read(coming, first=len(names))
        desk.is_right(right)
    places = [files.index(file) for file in coming] * 2
    for folder, where in (("inbox", right.left), ("refused", right.refused)):
        assert desk.in_folder(folder) == sorted(
            name for name, place in zip(names, places, strict=True) if place in where
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RIGHT)
def test_a_folder_of_messages_comes_out_right(desk: Desk, name: str, way: str) -> None:
    tell(desk, of_folder(name, desk.names), way, RIGHT[name])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_a_day_at_the_bank_comes_out_right(desk: Desk, day: Day, way: str) -> None:
    tell(desk, day.files(desk.names), way if day.reversible else "in_order", day.right)


def test_every_folder_has_its_right_value() -> None:
    assert sorted(path.name for path in CASES.iterdir()) == sorted(RIGHT)


def test_the_account_is_the_operators() -> None:
    assert IBAN == OPERATOR_IBAN

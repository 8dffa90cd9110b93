"""Killed at any commit or rename while the inbox is read: each file is kept once, whatever the bank called it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from settlement.runs import nightly
from settlement.tables import bank_messages, bank_transactions, refused_messages
from tests.books import pain002
from tests.faults.ground import Ground, Point, dying_in, each_step, facts
from tests.flows import story
from tests.support import Shop
from wallet.ground import clock

pytestmark = pytest.mark.slow

FOLDERS = ("inbox", "imported", "refused")
STEPS = {"receiving._kept", "directory.put_away", "reconciliation._import"}


@pytest.fixture
def answered(ground: Ground) -> Ground:
    """The bank has answered a run: garbled, well, with a rejection, and under names that it used before."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        purse = shop.purse("9.00")
        for number in range(2):
            bakery = shop.merchant()
            shop.redeem(bakery, shop.voucher(purse, bakery, f"1.0{number}"))
        nightly.run(shop.database, nightly.bank_of(ground.settings), at=clock.now())
        with shop.database.read() as conn:
            first, second = conn.execute(sa.select(bank_transactions).order_by(bank_transactions.c.id)).all()
    bank = ground.folder / "bank"
    for folder in FOLDERS[1:]:
        (bank / folder / "status.xml").write_bytes(b"<earlier/>")
        (bank / folder / "bad.xml").write_bytes(b"<earlier/>")
    for name, content in {
        "bad.xml": b"<garbled/>",
        "status.xml": pain002(first.message_id, "ACSP", None, first.end_to_end_id),
        "rejected.xml": pain002(second.message_id, "RJCT", "AM09", second.end_to_end_id),
        "worse.xml": b"<!DOCTYPE x><x/>",
        "unfinished.xml": b"<x>",
    }.items():
        (bank / "inbox" / name).write_bytes(content)
    return ground


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_file_is_imported_or_kept_once_and_put_away_beside_its_namesake(answered: Ground, when: str):
    with answered.copy() as point:
        before = files(point)
        assert not point.nursery.run("collect", point)
        undisturbed, kept = facts(point.database), messages(point)
        assert sorted(names(point, "inbox")) == ["unfinished.xml"]
        assert sorted(names(point, "imported")) == ["bad.xml", "rejected.xml", "status-2.xml", "status.xml"]
        assert sorted(names(point, "refused")) == ["bad-2.xml", "bad.xml", "status.xml", "worse.xml"]
    assert {row[3] for row in undisturbed["bank transactions"]} == {"accepted", "rejected"}
    assert sum(kept.values()) == 4

    def afterwards(point: Point) -> None:
        assert files(point) == before
        story.prove(point.database)
        point.nursery.run("collect", point)
        assert files(point) == before
        assert names(point, "inbox") == ["unfinished.xml"]
        assert (facts(point.database), messages(point)) == (undisturbed, kept)
        story.prove(point.database)

    verbs = each_step(answered, when, dying_in("collect", when), afterwards)
    assert set(verbs) >= STEPS
    assert verbs.count("directory.put_away") == 4 or when == "before"


def files(point: Point) -> Counter[bytes]:
    """The contents of all files from the bank, wherever they are."""
    return Counter(path.read_bytes() for folder in FOLDERS for path in _folder(point, folder).iterdir())


def names(point: Point, folder: str) -> list[str]:
    return [path.name for path in _folder(point, folder).iterdir()]


def messages(point: Point) -> Counter[Any]:
    """What was imported and what is in quarantine, by its bytes."""
    with point.database.read() as conn:
        imported = conn.execute(sa.select(sa.literal("imported"), bank_messages.c.sha256)).all()
        refused = conn.execute(sa.select(refused_messages.c.name, refused_messages.c.sha256)).all()
    return Counter(map(tuple, (*imported, *refused)))


def _folder(point: Point, name: str) -> Path:
    return point.folder / "bank" / name

"""Killed at any commit or rename while holds lapse and keys rotate: each hold goes back once, no key is ever lost."""

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.ground import Ground, Point, dying_in, each_step, facts
from tests.flows import story
from tests.support import PASSPHRASE, Shop, created
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.keys.ring import Keyring
from wallet.tables.purchases import vouchers

pytestmark = pytest.mark.slow


@pytest.fixture
def held(ground: Ground) -> Ground:
    """Five holds that have ended, and one that has not."""
    story.open_bank(ground.settings)
    with Shop(ground.settings) as shop:
        purse, bakery = shop.purse("0"), shop.merchant()
        story.fund(shop, {purse: "10.00"})
        for number in range(6):
            shop.voucher(purse, bakery, "0.10", key=f"held {number}")
        ended = clock.now().replace(microsecond=0) - dt.timedelta(hours=1)
        with shop.database.write() as conn:
            conn.execute(
                vouchers.update()
                .where(vouchers.c.idempotency_key != "held 0")
                .values(issued_at=ended, expires_at=ended, hold_expires_at=ended)
            )
    return ground


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lapse_killed_at_any_step_gives_each_hold_back_once(held: Ground, when: str):
    with held.copy() as point:
        assert not point.nursery.run("lapse", point)
        undisturbed = facts(point.database)

    def afterwards(point: Point) -> None:
        story.prove(point.database)
        point.nursery.run("lapse", point)
        assert facts(point.database) == undisturbed
        story.prove(point.database)

    assert each_step(held, when, dying_in("lapse", when), afterwards).count("scheduler.lapse") >= 3


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rotation_killed_at_any_step_loses_no_key(held: Ground, when: str):
    def afterwards(point: Point) -> None:
        (before,) = (kid for kid, *_ in Keyring.open(held.settings.key_file, PASSPHRASE).listing())
        kids = [kid for kid, *_ in Keyring.open(point.settings.key_file, PASSPHRASE).listing()]
        assert kids[0] == before
        # The next rotation starts from whatever is there, and vouchers of the first key are still good.
        assert not point.nursery.run("rotate", point)
        keyring = Keyring.open(point.settings.key_file, PASSPHRASE)
        assert [kid for kid, *_ in keyring.listing()][: len(kids)] == kids
        assert keyring.active_kid not in kids
        assert keyring.sign_as(before, "voucher+jwt", {"jti": "1"})

    assert set(each_step(held, when, dying_in("rotate", when), afterwards)) == {"ring._write"}


@pytest.mark.only_on("sqlite")
def test_a_power_cut_that_tears_the_log_leaves_whole_transactions(held: Ground, tmp_path: Path):
    """SQLite's log cut off anywhere: what opens is the books as they were after one of the commits, none half done."""
    with held.copy() as point, Shop(point.settings) as shop:
        path = Path(point.settings.database_url.removeprefix("sqlite:///"))
        # A second connection keeps the log from being folded into the file when the first is closed.
        with closing(sqlite3.connect(path)) as keeper:
            keeper.execute("PRAGMA wal_autocheckpoint = 0")
            purse, corner = shop.purse("0"), shop.merchant("corner")
            story.fund(shop, {purse: "10.00"})
            bought = [shop.voucher(purse, corner, "0.30") for _ in range(6)]
            shop.redeem(corner, *bought[:3])
            released = shop.post(f"/v1/vouchers/{bought[3]['id']}/release", {}, token=corner.token, key="r")
            created(released, status=200)
            file, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    issued, cuts = [], range(0, len(log), len(log) // 60)
    for number, cut in enumerate([*cuts, len(log)]):
        copy = tmp_path / f"cut{number}.db"
        for path, content in ((copy, file), (Path(f"{copy}-wal"), log[:cut])):
            path.touch(0o600)
            path.write_bytes(content)
        issued.append(_vouchers_in_sound_books(f"sqlite:///{copy}"))
    assert issued == sorted(issued)
    assert issued[0] < issued[-1] == 12


def _vouchers_in_sound_books(url: str) -> int:
    database = Database(url, pool_size=1)
    try:
        story.prove(database)
        with database.read() as conn:
            return int(conn.execute(sa.select(sa.func.count()).select_from(vouchers)).scalar_one())
    finally:
        database.dispose()

"""The scheduler as a process of its own."""

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from tests.flows.story import environment
from tests.support import Shop
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.purchases import checkouts
from wallet.purchases.checkouts import Wanted
from wallet.tables.purchases import CheckoutState, VoucherState, vouchers
from wallet.tables.purchases import checkouts as checkout_table


def test_without_a_bank_the_scheduler_does_all_that_needs_none_and_says_what_does(shop: Shop, tmp_path: Path) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.voucher(purse, merchant, "0.10")
    wanted = Wanted(amount=Money.parse("0.20", "EUR"), order_id="7", description="An article")
    with shop.database.write() as conn:
        checkouts.create(conn, merchant.id, wanted, life=dt.timedelta(0), at=clock.now())
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        conn.execute(vouchers.update().values(expires_at=past, hold_expires_at=past))
    log, bankless = tmp_path / "log", dataclasses.replace(shop.settings, bank_folder=None)
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "flask", "--app", "app", "scheduler", "--every", "1"]
        running = subprocess.Popen(command, env=os.environ | environment(bankless), stderr=stderr)
    try:
        while running.poll() is None and not _both_ended(shop):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0, log.read_text()
    finally:
        running.kill()
        running.wait()
    assert _both_ended(shop)
    line = next(json.loads(line) for line in log.read_text().splitlines() if "jobs that do not run" in line)
    assert line["jobs"] == ["settle", "collect", "catch-up"]
    assert "OBOLE_BANK_FOLDER must be set" in line["why"]


def _both_ended(shop: Shop) -> bool:
    with shop.database.read() as conn:
        checkout = conn.execute(sa.select(checkout_table.c.state)).scalar_one()
        voucher = conn.execute(sa.select(vouchers.c.state)).scalar_one()
    return (checkout, voucher) == (CheckoutState.EXPIRED.value, VoucherState.LAPSED.value)

"""No room on the disk, a database or folder that became read-only: 503, red, an alarm; and it heals by itself."""

import errno
import logging
import os
from pathlib import Path

import psycopg
import pytest

from benchmarks.postgresql import libpq
from tests.losing import no_room
from tests.support import Shop, created, make_settings, refused
from tests.web.pages.reader import shopper_of
from wallet import writable
from wallet.ground.db import machine_failed
from wallet.ground.errors import Unavailable
from wallet.tables.books import idempotency_keys


@pytest.fixture
def shop(database_url: str, tmp_path: Path):
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


def pay(shop, purse, merchant):
    return shop.pay(purse, merchant, "0.01", key="once")


def metric(shop):
    lines = shop.get("/metrics", token=shop.operator).text.splitlines()
    return next(line for line in lines if line.startswith("obole_writable ")).split()[1]


def test_a_wallet_that_can_write_is_ready_and_leaves_nothing_behind(shop, tmp_path):
    (tmp_path / "bank").mkdir(exist_ok=True)
    assert shop.get("/readyz").status_code == 200
    assert metric(shop) == "1.0"
    assert list((tmp_path / "bank").iterdir()) == []
    with shop.database.read() as conn:
        assert conn.execute(idempotency_keys.select()).first() is None


@pytest.mark.only_on("sqlite")
def test_a_disk_without_room_is_red_alarming_and_retryable(shop, database_url, caplog):
    alice, bakery = shop.purse("5.00"), shop.merchant()
    operator, reader = shop.operator, shopper_of(shop, alice)
    reader.get(f"/purse/{alice.id}/alerts")
    with no_room(database_url), caplog.at_level(logging.CRITICAL):
        answer = pay(shop, alice, bakery)
        assert (answer.status_code, answer.get_json()["retryable"]) == (503, True)
        assert answer.headers["Retry-After"]
        red = shop.get("/readyz")
        assert refused(red, 503, "temporarily_unavailable")["retryable"] is True
        assert shop.get("/metrics", token=operator).text.count("obole_writable 0.0") == 1
        page = reader.post(f"/purse/{alice.id}/freeze")
        assert (page.status_code, page.mimetype) == (503, "text/html")
        assert page.headers["Retry-After"]
        ran = shop.app.test_cli_runner().invoke(args=["settlement", "run"])
        assert ran.exit_code == 1
        assert "[outcome_unknown]" in ran.output or "[temporarily_unavailable]" in ran.output
    assert any("the database fails" in str(record.msg) for record in caplog.records)
    assert shop.get("/readyz").status_code == 200
    created(pay(shop, alice, bakery))


@pytest.mark.only_on("postgresql")
def test_a_server_that_became_a_standby_is_left_for_the_one_that_takes_over(shop, database_url, caplog):
    alice, bakery, operator = shop.purse("5.00"), shop.merchant(), shop.operator
    name = shop.database.url.database
    with psycopg.connect(libpq(database_url), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        shop.database.dispose()
        answer = pay(shop, alice, bakery)
        admin.execute("SET default_transaction_read_only = off")
        assert refused(answer, 503, "temporarily_unavailable")["retryable"] is True
        assert answer.headers["Retry-After"]
        assert "read-only" in refused(shop.get("/readyz"), 503, "temporarily_unavailable")["detail"]
        assert "obole_writable 0.0" in shop.get("/metrics", token=operator).text
        admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    # The connections that are read-only still are in nobody's pool.
    created(pay(shop, alice, bakery))
    assert shop.get("/readyz").status_code == 200
    assert any("the database fails" in str(record.msg) for record in caplog.records)


@pytest.mark.only_on("sqlite")
def test_a_file_that_became_read_only_is_opened_anew(shop, database_url):
    alice, bakery = shop.purse("5.00"), shop.merchant()
    with shop.database.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA query_only = on")
    answer = pay(shop, alice, bakery)
    assert refused(answer, 503, "temporarily_unavailable")["retryable"] is True
    created(pay(shop, alice, bakery))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EMFILE])
def test_whatever_the_machine_refuses_is_retryable_on_pages_and_for_programs(shop, monkeypatch, number):
    alice = shop.purse("5.00")
    reader = shopper_of(shop, alice)
    page = reader.get(f"/purse/{alice.id}/close")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("wallet.purses.purses.freeze", fail)
    monkeypatch.setattr("wallet.funding.top_ups.request_top_up", fail)
    page = reader.post(f"/purse/{alice.id}/freeze")
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert page.headers["Retry-After"]
    body = {"amount": "20.00", "currency": "EUR", "method": "bank_transfer"}
    answer = shop.post(f"/v1/purses/{alice.id}/top-ups", body, token=alice.token, key="once")
    assert refused(answer, 503, "temporarily_unavailable")["retryable"] is True
    assert answer.headers["Retry-After"]


def test_a_folder_that_cannot_be_written_to_is_red(shop, tmp_path):
    bank = tmp_path / "bank"
    if bank.exists():
        bank.rmdir()
    bank.write_text("a file, no folder")
    refused(shop.get("/readyz"), 503, "temporarily_unavailable")
    assert not writable.is_so(shop.database, shop.settings)
    bank.unlink()
    bank.mkdir()
    assert writable.is_so(shop.database, shop.settings)


def test_of_a_full_disk_and_of_a_folder_gone_different_things_are_said():
    assert "full" in machine_failed(OSError(errno.ENOSPC, "")).detail
    assert "folder" in machine_failed(OSError(errno.ENOENT, "")).detail
    assert isinstance(machine_failed(OSError()), Unavailable)

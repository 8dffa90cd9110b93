"""The scheduler: its jobs come at the right instants and decide nothing by themselves."""

import datetime as dt
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from apscheduler.schedulers.blocking import BlockingScheduler

import wallet.vouchers
from settlement import business_day, nightly, scheduler
from settlement.audit import audit
from settlement.models import TransactionState, bank_transactions, settlement_runs
from settlement.nightly import Bank
from tests.support import Shop, make_settings
from wallet import clock
from wallet.models import VoucherState, business_days, vouchers

NEVER_TODAY = dt.time(23, 59, 59, 999_999)
ALREADY = dt.time(0, 0)


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        yield shop


@pytest.fixture
def bank(shop: Shop) -> Bank:
    return nightly.bank_of(shop.settings)


def runs(shop: Shop) -> int:
    with shop.database.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(settlement_runs)).scalar_one())


@pytest.mark.only_on("sqlite")
def test_the_cut_off_is_a_time_of_day_in_utc_whatever_the_clocks_of_the_place_do(shop: Shop, bank: Bank) -> None:
    jobs = scheduler.build(shop.database, bank, cutoff=dt.time(22, 30), every_seconds=60)
    assert isinstance(jobs, BlockingScheduler)
    trigger = next(job for job in jobs.get_jobs() if job.id == "settle").trigger
    # The last Sunday of October: in Paris the hour from 2 to 3 comes twice.
    before = dt.datetime(2026, 10, 24, 23, 0, tzinfo=dt.UTC)
    first = trigger.get_next_fire_time(None, before)
    second = trigger.get_next_fire_time(first, first)
    assert first == dt.datetime(2026, 10, 25, 22, 30, tzinfo=dt.UTC)
    assert second == dt.datetime(2026, 10, 26, 22, 30, tzinfo=dt.UTC)


@pytest.mark.only_on("sqlite")
def test_each_job_runs_once_at_a_time_and_late_rather_than_never(shop: Shop, bank: Bank) -> None:
    jobs = scheduler.build(shop.database, bank, cutoff=ALREADY, every_seconds=60)
    assert {job.id for job in jobs.get_jobs()} == {"settle", "collect", "lapse", "catch-up"}
    assert jobs._job_defaults == {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


def test_a_day_whose_cut_off_has_not_come_is_left_open(shop: Shop, bank: Bank) -> None:
    scheduler.catch_up(shop.database, bank, cutoff=NEVER_TODAY)
    assert runs(shop) == 0


def test_a_day_whose_cut_off_has_passed_is_settled_once(shop: Shop, bank: Bank) -> None:
    scheduler.catch_up(shop.database, bank, cutoff=ALREADY)
    scheduler.catch_up(shop.database, bank, cutoff=ALREADY)
    assert runs(shop) == 1


def test_catching_up_in_the_small_hours_leaves_the_day_that_has_begun_open(shop: Shop, bank: Bank) -> None:
    yesterday = clock.today() - dt.timedelta(days=1)
    with shop.database.write() as conn:
        conn.execute(business_days.update().values(business_date=yesterday))
    scheduler.catch_up(shop.database, bank, cutoff=NEVER_TODAY)
    assert runs(shop) == 1
    with shop.database.read() as conn:
        assert business_day.open_date(conn) == clock.today()


def test_a_run_that_did_not_finish_is_finished_before_the_next_cut_off(shop: Shop, bank: Bank) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    scheduler.settle(shop.database, bank)
    with shop.database.write() as conn:
        conn.execute(settlement_runs.update().values(state="rendered"))
    scheduler.catch_up(shop.database, bank, cutoff=NEVER_TODAY)
    with shop.database.read() as conn:
        assert conn.execute(sa.select(settlement_runs.c.state)).scalars().all() == ["submitted"]


def test_what_the_bank_sends_garbled_is_put_aside_and_what_follows_is_imported(
    shop: Shop, bank: Bank, tmp_path: Path
) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    scheduler.settle(shop.database, bank)
    file = next((tmp_path / "bank" / "outbox").iterdir()).stem
    inbox = tmp_path / "bank" / "inbox"
    (inbox / "1-garbled.xml").write_bytes(b"<not-a-message/>")
    (inbox / "2-status.xml").write_text(accepted(file))
    (inbox / ".3-unfinished.xml").write_text("<")
    assert scheduler.collect(shop.database, bank) == {"imported": 1, "refused": 1, "breaks": 0}
    assert states(shop) == [TransactionState.ACCEPTED]
    assert [path.name for path in (tmp_path / "bank" / "refused").iterdir()] == ["1-garbled.xml"]
    assert [path.name for path in (tmp_path / "bank" / "imported").iterdir()] == ["2-status.xml"]
    assert [path.name for path in inbox.iterdir()] == [".3-unfinished.xml"]
    assert all(check.ok for check in audit(shop.database))


def test_an_answer_that_never_comes_makes_the_payout_unknown(shop: Shop, bank: Bank) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    scheduler.settle(shop.database, bank)
    scheduler.collect(shop.database, bank)
    assert states(shop) == [TransactionState.SUBMITTED]
    with shop.database.write() as conn:
        conn.execute(bank_transactions.update().values(state_since=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    scheduler.collect(shop.database, bank)
    assert states(shop) == [TransactionState.UNKNOWN]


def test_every_hold_whose_end_has_passed_lapses_however_many_there_are(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    for _ in range(5):
        shop.voucher(purse, merchant, "0.10")
    with shop.database.write() as conn:
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        conn.execute(vouchers.update().values(expires_at=past, hold_expires_at=past))
    two_at_a_time = functools.partial(wallet.vouchers.lapse, limit=2)
    monkeypatch.setattr(wallet.vouchers, "lapse", two_at_a_time)
    assert scheduler.lapse(shop.database) == 5
    with shop.database.read() as conn:
        assert set(conn.execute(sa.select(vouchers.c.state)).scalars()) == {VoucherState.LAPSED}
    assert shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()["balance"] == "5.00"


def states(shop: Shop) -> list[str]:
    with shop.database.read() as conn:
        return list(conn.execute(sa.select(bank_transactions.c.state)).scalars())


def accepted(message_id: str) -> str:
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
        <GrpHdr><MsgId>ANSWER-1</MsgId><CreDtTm>2026-05-04T22:10:00Z</CreDtTm></GrpHdr>
        <OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
        <GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"""

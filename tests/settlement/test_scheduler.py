"""The scheduler: its jobs come at the right instants and decide nothing by themselves."""

import dataclasses
import datetime as dt
import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

import wallet.purchases.vouchers
from settlement import business_day, scheduler
from settlement.audit import audits
from settlement.audit.checks import audit
from settlement.runs import nightly
from settlement.runs.nightly import Bank
from settlement.tables import TransactionState, bank_transactions, settlement_runs
from tests.network import PATIENCE_SECONDS
from tests.support import SHOPPER_IBAN, Shop, created, hashed, make_settings
from tests.wallet.receiver import receiver
from wallet.funding import automatic, closing
from wallet.ground import clock
from wallet.ground.money import Money
from wallet.people import identities
from wallet.purchases import checkouts
from wallet.purchases.checkouts import Wanted
from wallet.purses import alerts
from wallet.tables.books import business_days
from wallet.tables.funding import TopUpMethod, top_ups, withdrawals
from wallet.tables.people import IdentityKind
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import purses
from wallet.tables.telling import mails
from wallet.telling import mail
from wallet.telling.webhooks import endpoints

NEVER_TODAY = dt.time(23, 59, 59, 999_999)
ALREADY = dt.time(0, 0)
HOUR = dt.timedelta(hours=1)


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
    jobs = scheduler.build(
        shop.database, bank, shop.settings, shop.obole.keyring, cutoff=dt.time(22, 30), every_seconds=60
    )
    assert isinstance(jobs, BlockingScheduler)
    trigger = next(job for job in jobs.get_jobs() if job.id == "settle").trigger
    # The last Sunday of October: in Paris the hour from 2 to 3 comes twice.
    before = dt.datetime(2026, 10, 24, 23, 0, tzinfo=dt.UTC)
    first = trigger.get_next_fire_time(None, before)
    second = trigger.get_next_fire_time(first, first)
    assert first == dt.datetime(2026, 10, 25, 22, 30, tzinfo=dt.UTC)
    assert second == dt.datetime(2026, 10, 26, 22, 30, tzinfo=dt.UTC)


@pytest.mark.only_on("sqlite")
def test_a_clock_that_is_set_back_or_forward_stops_no_job(shop: Shop, bank: Bank) -> None:
    jobs, ticks = (
        scheduler.Jobs(timezone=dt.UTC, job_defaults={"coalesce": True, "misfire_grace_time": None}),
        Queue[dt.datetime](),
    )
    jobs.add_job(lambda: ticks.put(clock.now()), scheduler.Every(1))
    running = threading.Thread(target=jobs.start)
    running.start()
    try:
        ticks.get(timeout=PATIENCE_SECONDS)
        for jump in (-HOUR, 9000 * HOUR):
            there = clock.now() + jump
            with time_machine.travel(there):
                while abs(ticks.get(timeout=PATIENCE_SECONDS) - there) > HOUR / 2:
                    pass
    finally:
        jobs.shutdown()
        running.join()


@pytest.mark.only_on("sqlite")
def test_a_clock_that_is_set_back_while_it_is_reckoned_how_long_to_wait_stops_no_job(shop: Shop, bank: Bank) -> None:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        jobs = scheduler.Jobs(timezone=dt.UTC)

        class SetBack(scheduler.Every):
            def get_next_fire_time(self, *asking: Any) -> dt.datetime:
                upcoming = super().get_next_fire_time(*asking)
                traveller.shift(-HOUR)
                return upcoming

        jobs.add_job(clock.now, SetBack(1))
        jobs._event = threading.Event()
        BaseScheduler.start(jobs)
        try:
            waits = jobs._process_jobs()
            assert waits is not None
            assert waits <= 1
        finally:
            jobs.shutdown()


@pytest.mark.only_on("sqlite")
def test_each_job_runs_once_at_a_time_and_late_rather_than_never(shop: Shop, bank: Bank) -> None:
    jobs = scheduler.build(shop.database, bank, shop.settings, shop.obole.keyring, cutoff=ALREADY, every_seconds=60)
    assert {job.id for job in jobs.get_jobs()} == {
        "settle",
        "collect",
        "lapse",
        "catch-up",
        "alerts",
        "top-ups",
        "closings",
        "expire",
        "deliver webhooks",
        "deliver mail",
        "letters",
        "prune",
    }
    assert jobs._job_defaults == {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


@pytest.mark.only_on("sqlite")
def test_without_a_bank_only_its_jobs_are_missing_and_the_night_is_proven(shop: Shop, bank: Bank) -> None:
    def ids(bank: Bank | None) -> set[str]:
        keyring = shop.obole.keyring
        jobs = scheduler.build(shop.database, bank, shop.settings, keyring, cutoff=ALREADY, every_seconds=60)
        return {job.id for job in jobs.get_jobs()}

    assert ids(bank) - ids(None) == {"settle", "collect", "catch-up"}
    assert ids(None) - ids(bank) == {"prove"}
    scheduler.prove(shop.database, shop.settings)
    with shop.database.read() as conn:
        assert [(row.business_date, row.failed) for row in audits.listing(conn, limit=9)] == [(None, 0)]


def test_a_day_whose_cut_off_has_not_come_is_left_open(shop: Shop, bank: Bank) -> None:
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=NEVER_TODAY)
    assert runs(shop) == 0


def test_a_day_whose_cut_off_has_passed_is_settled_once(shop: Shop, bank: Bank) -> None:
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=ALREADY)
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=ALREADY)
    assert runs(shop) == 1


def test_catching_up_in_the_small_hours_leaves_the_day_that_has_begun_open(shop: Shop, bank: Bank) -> None:
    yesterday = clock.today() - dt.timedelta(days=1)
    with shop.database.write() as conn:
        conn.execute(business_days.update().values(business_date=yesterday))
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=NEVER_TODAY)
    assert runs(shop) == 1
    with shop.database.read() as conn:
        assert business_day.open_date(conn) == clock.today()


def test_a_run_that_did_not_finish_is_finished_before_the_next_cut_off(shop: Shop, bank: Bank) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    scheduler.settle(shop.database, bank, shop.settings)
    with shop.database.write() as conn:
        conn.execute(settlement_runs.update().values(state="rendered"))
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=NEVER_TODAY)
    with shop.database.read() as conn:
        assert conn.execute(sa.select(settlement_runs.c.state)).scalars().all() == ["submitted"]


def test_the_night_ends_with_the_proof_which_is_kept_and_told(shop: Shop, bank: Bank) -> None:
    shop.purse("5.00")
    with shop.database.write() as conn:
        at = clock.now()
        ada = identities.add(conn, IdentityKind.OPERATOR, identifier="ada@a.example", name="Ada", locale="en", at=at)
        identities.set_secret(conn, ada, hashed("a passphrase of Ada's"), at=at)
    scheduler.settle(shop.database, bank, shop.settings)
    today = clock.today()
    with shop.database.write() as conn:
        conn.execute(purses.update().values(balance_micros=1))
        conn.execute(settlement_runs.update().values(state="rendered"))
    scheduler.catch_up(shop.database, bank, shop.settings, cutoff=NEVER_TODAY)
    with shop.database.read() as conn:
        kept = [(row.business_date, row.failed) for row in audits.listing(conn, limit=9)]
        letters = conn.execute(sa.select(mails.c.recipient)).scalars().all()
    assert kept == [(today, 1), (today, 0)]
    assert letters == ["ada@a.example"]


@pytest.mark.only_on("sqlite")
def test_a_clock_that_was_far_ahead_when_a_day_closed_is_an_alarm(
    shop: Shop, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    now = clock.now()
    with time_machine.travel(now + dt.timedelta(days=400), tick=False):
        scheduler.catch_up(shop.database, bank, shop.settings, cutoff=ALREADY)
    assert "critical" not in capsys.readouterr().err
    with time_machine.travel(now, tick=False):
        scheduler.catch_up(shop.database, bank, shop.settings, cutoff=ALREADY)
    assert '"level": "critical"' in capsys.readouterr().err


@pytest.mark.only_on("sqlite")
def test_what_a_job_failed_of_is_told_without_the_words_of_it(
    shop: Shop, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("Key (identifier)=(alice@shopper.example) is there already")

    jobs = scheduler.build(
        shop.database, bank, shop.settings, shop.obole.keyring, cutoff=NEVER_TODAY, every_seconds=3600
    )
    for job in jobs.get_jobs():
        job.remove()
    told = threading.Event()
    # One that comes again: APScheduler takes what is done out of its store, which must not be closed by then.
    jobs.add_job(fail, scheduler.Every(3600), id="fail", next_run_time=clock.now())
    jobs.add_listener(lambda _: told.set(), EVENT_JOB_ERROR)  # after the one that logs
    running = threading.Thread(target=jobs.start)
    running.start()
    assert told.wait(PATIENCE_SECONDS)
    # From here: a listener may be called in the middle of the scheduler's own work, which has to end first.
    jobs.shutdown()
    running.join()
    logged = capsys.readouterr().err
    assert "job failed" in logged
    assert "ValueError" in logged
    assert "alice" not in logged


@pytest.mark.only_on("sqlite")
def test_a_run_that_fails_does_not_keep_the_proof_from_the_night(shop: Shop, bank: Bank) -> None:
    class Gone:
        def __getattr__(self, name: str) -> object:
            raise ConnectionError("the bank's folder is gone")

    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    gone: Any = Gone()
    with pytest.raises(ConnectionError):
        scheduler.settle(shop.database, dataclasses.replace(bank, connector=gone), shop.settings)
    with shop.database.read() as conn:
        assert [(row.business_date, row.failed) for row in audits.listing(conn, limit=9)] == [(None, 0)]


def test_what_the_bank_sends_garbled_is_put_aside_and_what_follows_is_imported(
    shop: Shop, bank: Bank, tmp_path: Path
) -> None:
    merchant, purse = shop.merchant(), shop.purse("5.00")
    shop.redeem(merchant, shop.voucher(purse, merchant, "0.50"))
    scheduler.settle(shop.database, bank, shop.settings)
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
    scheduler.settle(shop.database, bank, shop.settings)
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
    two_at_a_time = functools.partial(wallet.purchases.vouchers.lapse, limit=2)
    monkeypatch.setattr(wallet.purchases.vouchers, "lapse", two_at_a_time)
    assert scheduler.lapse(shop.database) == 5
    with shop.database.read() as conn:
        assert set(conn.execute(sa.select(vouchers.c.state)).scalars()) == {VoucherState.LAPSED}
    assert shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()["balance"] == "5.00"


def test_purses_are_looked_after_alerted_topped_up_and_closed(shop: Shop) -> None:
    low, closed, merchant = shop.purse("1.00"), shop.purse("1.00"), shop.merchant()
    held = shop.voucher(closed, merchant, "0.50")
    one, month = Money.parse("1.50", "EUR"), Money.parse("3.00", "EUR")
    with shop.database.write() as conn:
        alerts.put(conn, low.id, below=one)
        automatic.put(
            conn, shop.settings, low.id, below=one, amount=one, per_month=month, method=TopUpMethod.SANDBOX,
            at=clock.now(),
        )  # fmt: skip
        closing.begin(conn, closed.id, iban=SHOPPER_IBAN, name="Alice", at=clock.now())
    created(shop.post(f"/v1/vouchers/{held['id']}/release", token=merchant.token, key="k"), status=200)
    for expected in (1, 0):
        assert scheduler.send_alerts(shop.database) == expected
        assert scheduler.request_top_ups(shop.database, shop.settings) == expected
        assert scheduler.advance_closings(shop.database, shop.settings) == expected
    with shop.database.read() as conn:
        sent = conn.execute(sa.select(withdrawals.c.amount_micros).order_by(withdrawals.c.id)).scalars().all()
        asked = conn.execute(sa.select(top_ups.c.purse_id)).scalars().all()
        letters = conn.execute(sa.select(sa.func.count()).select_from(mails)).scalar_one()
    assert (sent, asked, letters) == ([500_000, 500_000], [low.id], 1)


def test_merchants_hear_of_a_checkout_that_ended_and_letters_wait_for_a_post(shop: Shop) -> None:
    merchant, at = shop.merchant(), clock.now()
    wanted = Wanted(amount=Money.parse("0.20", "EUR"), order_id="7", description="An article")
    with receiver() as server:
        with shop.database.write() as conn:
            endpoints.register(conn, merchant.id, server.url, at, allow_loopback=True)
            checkout = checkouts.create(conn, merchant.id, wanted, life=dt.timedelta(0), at=at)
            mail.put(conn, recipient="ada@shoppers.example", subject="Hello", body="", at=at)
        assert scheduler.expire(shop.database) == 1
        local = dataclasses.replace(shop.settings, origin="http://localhost:8000")
        assert scheduler.deliver_webhooks(shop.database, local, shop.obole.keyring) == 1
        said = json.loads(server.heard[0].body)
    assert (said["type"], said["data"]["checkout_id"]) == ("checkout.expired", str(checkout.id))
    assert scheduler.deliver_mail(shop.database, local) == 0
    with shop.database.read() as conn:
        assert set(conn.execute(sa.select(mails.c.attempts)).scalars()) == {0}


def states(shop: Shop) -> list[str]:
    with shop.database.read() as conn:
        return list(conn.execute(sa.select(bank_transactions.c.state)).scalars())


def accepted(message_id: str) -> str:
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
        <GrpHdr><MsgId>ANSWER-1</MsgId><CreDtTm>2026-05-04T22:10:00Z</CreDtTm></GrpHdr>
        <OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
        <GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"""

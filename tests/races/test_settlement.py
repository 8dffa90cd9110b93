"""Settlement while the shops are open: two runs, two schedulers, a close in the middle of purchases."""

import contextlib
import datetime as dt
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from settlement import business_day
from settlement.tables import bank_files, bank_transactions, payouts, settlement_runs
from tests.flows import story
from tests.network import PATIENCE_SECONDS
from tests.races.crowd import ROOT, Client, Server, at_once, bounded, stop
from tests.support import Merchant, Purse, Shop
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.purchases import redemptions, vouchers
from wallet.purchases.redemptions import Claim
from wallet.settings import Settings
from wallet.tables.books import business_days, transfers
from wallet.tables.purchases import vouchers as vouchers_table

pytestmark = pytest.mark.slow

SHOPPERS = 8
Goods = list[tuple[Purse, Merchant]]


def market(shop: Shop) -> Goods:
    """Shoppers with money, shops that have sold something each."""
    buyers = {shop.purse("0"): "20.00" for _ in range(SHOPPERS)}
    sellers = [shop.merchant() for _ in range(4)]
    story.fund(shop, buyers)
    goods = [(buyer, sellers[number % len(sellers)]) for number, buyer in enumerate(buyers)]
    for buyer, seller in goods:
        shop.redeem(seller, shop.voucher(buyer, seller, "1.00"))
    return goods


def trade(client: Client, purse: Purse, merchant: Merchant) -> str:
    """Buy, and redeem at once; answers the voucher's id."""
    body = {"purse_id": str(purse.id), "merchant_id": str(merchant.id), "amount": "0.001", "currency": "EUR"}
    bought = client.post("/v1/vouchers", body, token=purse.token, key=str(uuid4()))
    assert bought.status == 201, bought.body
    line = {"voucher": bought.json()["voucher"]}
    redeemed = client.post("/v1/redemptions", {"vouchers": [line]}, token=merchant.token, key=str(uuid4()))
    assert redeemed.json()["results"][0]["outcome"] == "redeemed", redeemed.body
    return str(bought.json()["id"])


@contextmanager
def trading(server: Server, goods: Goods) -> Iterator[list[str]]:
    """Everybody buys and redeems all the while; the list of what was bought is whole once the block has ended."""
    bought: list[str] = []
    begun, over = threading.Semaphore(0), threading.Event()

    def shopper(purse: Purse, merchant: Merchant) -> None:
        with Client(server.port) as client:
            while not over.is_set():
                bought.append(trade(client, purse, merchant))
                begun.release()

    with ThreadPoolExecutor(len(goods)) as pool:
        busy = [pool.submit(shopper, *each) for each in goods]
        try:
            for _ in goods:
                assert begun.acquire(timeout=PATIENCE_SECONDS)
            yield bought
        finally:
            over.set()
    for each in busy:
        each.result()


def flask(settings: Settings, *command: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    return subprocess.Popen(
        bounded("flask", "--app", "app", *command),
        cwd=ROOT,
        env=os.environ | story.environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_one_set_of_payouts(shop: Shop, sellers: set[UUID]) -> None:
    """One run, one payout for each shop, one place in one file for each, each file sent once."""
    with shop.database.read() as conn:
        runs = conn.execute(select(settlement_runs)).all()
        paid = Counter(conn.execute(select(payouts.c.merchant_id)).scalars())
        names = sorted(conn.execute(select(bank_files.c.message_id)).scalars())
        ids = sorted(conn.execute(select(bank_transactions.c.end_to_end_id)).scalars())
    assert [run.state for run in runs] == ["submitted"]
    assert paid == dict.fromkeys(sellers, 1)
    sent = story.files_sent(shop.settings.bank_folder or Path())
    assert [path.stem for path in sent] == names
    assert sorted(story.end_to_end_ids(path.read_bytes() for path in sent)) == ids


def test_many_runs_at_once_while_the_shops_are_open_make_one_set_of_payouts(shop: Shop, server: Server):
    goods = market(shop)
    sellers = {merchant.id for _, merchant in goods}

    def run_by_command() -> str:
        process = flask(shop.settings, "settlement", "run", "--json")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, err
        return str(json.loads(out)["run"])

    def run_by_http() -> str:
        with Client(server.port) as client:
            answer = client.post("/v1/settlement/runs", {}, token=shop.operator)
        assert answer.status == 200, answer.body
        return str(answer.json()["id"])

    shop.operator  # noqa: B018 - made before the race
    with trading(server, goods):
        runs = at_once([run_by_command, run_by_command, run_by_http, run_by_http])
    assert len(set(runs)) == 1
    assert_one_set_of_payouts(shop, sellers)
    story.prove(shop.database)
    story.until_answered(shop)
    story.prove_reconciled(shop)


def test_closing_while_purchases_pour_in_fixes_the_days(shop: Shop, server: Server):
    goods = market(shop)
    days = [clock.today()]
    counted = []
    with trading(server, goods) as bought:
        for _ in range(2):
            assert business_day.close(shop.database, days[-1], at=clock.now())
            counted.append(_of_day(shop.database, days[-1]))
            with shop.database.read() as conn:
                days.append(business_day.open_date(conn))
            before = len(bought)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(bought) < before + SHOPPERS and time.monotonic() < deadline:
                time.sleep(0.01)
    business_day.balance(shop.database)
    assert [_of_day(shop.database, day) for day in days[:2]] == counted
    assert all(_of_day(shop.database, day)[0] > 0 for day in days)
    with shop.database.read() as conn:
        ends = dict(conn.execute(select(business_days.c.business_date, business_days.c.last_transfer_id)).all())
        for row in conn.execute(select(transfers.c.id, transfers.c.business_date)):
            # Numbers grow from day to day, so that a day is a range of them.
            assert next(day for day in days if ends[day] is None or row.id <= ends[day]) == row.business_date
        known = {str(each) for each in conn.execute(select(vouchers_table.c.id)).scalars()}
    assert set(bought) <= known
    story.prove(shop.database)


def test_two_schedulers_started_by_mistake_do_no_harm(shop: Shop):
    goods = market(shop)
    lapsing = [shop.voucher(buyer, seller, "0.50", hold_seconds=1) for buyer, seller in goods]
    # A cut-off that has passed already, whatever the time: both have something to catch up with at once.
    settings = replace(shop.settings, cutoff=clock.now().time().replace(hour=0, minute=0))
    bank = ("sandbox_bank", "run", "--folder", str(shop.settings.bank_folder), "--every", "1")
    quiet = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes: list[subprocess.Popen[str]] = []

    def done() -> bool:
        states = story.states(shop.database)
        with shop.database.read() as conn:
            held = select(func.count()).where(vouchers_table.c.state == "held")
            return bool(states) and set(states.values()) == {"booked"} and conn.execute(held).scalar_one() == 0

    try:
        processes += [flask(settings, "scheduler", "--every", "1"), flask(settings, "scheduler", "--every", "1")]
        processes.append(subprocess.Popen(bounded(*bank), text=True, **quiet))  # type: ignore[call-overload]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < deadline, story.states(shop.database)
            assert [process.poll() for process in processes] == [None] * 3
            time.sleep(0.1)
    finally:
        for process in processes:
            stop(process)
    logged = "".join(process.communicate()[1] or "" for process in processes)
    assert "job failed" not in logged, logged
    assert_one_set_of_payouts(shop, {merchant.id for _, merchant in goods})
    for (buyer, _), voucher in zip(goods, lapsing, strict=True):
        assert shop.get(f"/v1/vouchers/{voucher['id']}", token=buyer.token).get_json()["state"] == "lapsed"
        assert shop.get(f"/v1/purses/{buyer.id}", token=buyer.token).get_json()["balance"] == "19.00"
    story.prove_reconciled(shop)


def test_a_hold_that_ends_as_it_is_redeemed_goes_one_way(shop: Shop):
    purse, bakery = shop.purse("0"), shop.merchant()
    story.fund(shop, {purse: "20.00"})
    held = [UUID(shop.voucher(purse, bakery, "0.10", hold_seconds=60)["id"]) for _ in range(24)]
    with shop.database.read() as conn:
        end = conn.execute(select(func.max(vouchers_table.c.hold_expires_at))).scalar_one()
    # A redeemer whose clock is a little behind finds each still held, unless the lapse came first.
    just_before = end - dt.timedelta(seconds=10)
    # A database each, so that nothing but the database itself keeps them apart.
    with contextlib.ExitStack() as stack:
        databases = [Database(shop.settings.database_url) for _ in range(6)]
        for each in databases:
            stack.callback(each.dispose)
        redeemed = at_once([*_ending(databases, held, bakery, just_before, end)])
    won = Counter(outcome for each in redeemed for outcome in each)
    with shop.database.read() as conn:
        ended = Counter(conn.execute(select(vouchers_table.c.state)).scalars())
    assert set(ended) <= {"redeemed", "lapsed"}
    assert won["redeemed"] == ended["redeemed"]
    view = shop.get(f"/v1/purses/{purse.id}", token=purse.token).get_json()
    assert story.amounts_of([view["balance"]]) == 20_000_000 - 100_000 * ended["redeemed"]
    story.prove(shop.database)


def _ending(
    databases: list[Database], held: list[UUID], bakery: Merchant, before: dt.datetime, end: dt.datetime
) -> Iterator[Callable[[], list[str]]]:
    def redeem(database: Database, some: list[UUID]) -> list[str]:
        outcomes = []
        for voucher_id in some:
            with database.write() as conn:
                (answer,) = redemptions.redeem(conn, [Claim(voucher_id=voucher_id)], merchant_id=bakery.id, at=before)
            outcomes.append(str(getattr(answer, "outcome", None) or getattr(answer, "code", "")))
        return outcomes

    def lapse(database: Database) -> list[str]:
        for _ in held:
            with database.write() as conn:
                vouchers.lapse(conn, at=end, limit=3)
        return []

    for number, database in enumerate(databases):
        if number % 3 == 2:
            yield partial(lapse, database)
        else:
            yield partial(redeem, database, held if number % 3 else held[::-1])


def _of_day(database: Database, day: object) -> tuple[int, int]:
    with database.read() as conn:
        of_day = select(func.count(), func.coalesce(func.sum(transfers.c.amount_micros), 0)).where(
            transfers.c.business_date == day
        )
        count, micros = conn.execute(of_day).one()
        return int(count), int(micros)

"""Killed at any commit, rename or flush, and two at once: nothing is executed twice, no answer is lost.

The deaths are real: a bank sends itself SIGKILL at its n-th step, for every n there is (``driver.py``).
"""

import sqlite3
import subprocess
import sys
import threading
from collections import Counter as Tally
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from sandbox_bank.bank import Bank
from tests.sandbox_bank.conftest import MONDAY
from tests.sandbox_bank.samples import PRESS, RF, Pay, bank_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def morning(make_counter):
    """Something of everything: a batch, a refused file, orders, a delay, a return, twofold answers."""
    counter = make_counter()
    counter.bank.misbehave("return", end_to_end_id="E1", reason="AC04")
    counter.bank.misbehave("delay", end_to_end_id="E2", runs=1)
    counter.bank.misbehave("repeat", next_count=1, book_twice=True)
    counter.order({"id": "o1", "reference": RF, "amount": "10.00", "currency": "EUR", "name": "Alice"})
    counter.order({"id": "o2"}, "o2.json")
    counter.send(bank_file(Pay("E1", "10.00"), Pay("E2", "5.00", iban=PRESS), Pay("E3", "1.00")), "a.xml")
    counter.send(bank_file(Pay("E4", "2.00"), msg_id="M2", control_sum="3.00"), "b.xml")
    counter.bank.close()
    return counter


def what_happened(folder):
    """The facts that no death may change, however it groups them into runs; checks the chain."""
    db = sqlite3.connect(folder / "bank.sqlite3")
    booked = Tally(db.execute("SELECT kind, amount_micros, text FROM entries WHERE statement IS NOT NULL"))
    assert db.execute("SELECT COUNT(*) FROM entries WHERE statement IS NULL").fetchone() == (0,)
    balance = db.execute(
        "SELECT SUM(amount_micros * CASE direction WHEN 'CRDT' THEN 1 ELSE -1 END) FROM entries WHERE currency = 'EUR'"
    ).fetchone()[0]
    db.close()
    answers = sorted((folder / "inbox").glob("[0-9]*.xml"))
    statuses = [etree.parse(path) for path in answers if "pain.002" in path.name]
    told = Tally(tuple(_texts(status, "OrgnlMsgId OrgnlEndToEndId TxSts GrpSts")) for status in statuses)
    assert chained([etree.parse(path) for path in answers if "camt.053" in path.name]) == balance
    left = [path.name for name in ("outbox", "orders") for path in (folder / name).glob("[!.]*")]
    taken = sorted(path.name for path in (folder / "processed").iterdir())
    return booked, told, left, taken, balance


def _texts(message, tags):
    return [element.text for tag in tags.split() for element in message.iter(f"{{*}}{tag}")]


def chained(statements):
    """Follow the statements, copies aside, from balance to balance; the last one in micros."""
    closing, refs = Decimal("1000.00"), []
    told = {statement.findtext(".//{*}Stmt/{*}Id"): statement for statement in statements}
    for number, statement in enumerate(told.values(), start=1):
        assert statement.findtext(".//{*}ElctrncSeqNb") == str(number)
        opened, closed = (Decimal(found.text or "") for found in statement.iterfind(".//{*}Bal/{*}Amt"))
        assert opened == closing
        closing = closed
        refs += [found.text for found in statement.iterfind(".//{*}Ntry/{*}AcctSvcrRef")]
    assert len(refs) == len(set(refs))
    return int(closing * 1_000_000)


def test_killed_at_any_step_and_started_again_it_ends_the_same(morning, tmp_path):
    into = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.sandbox_bank.driver", str(morning.folder), str(into)]
    subprocess.run(command, cwd=ROOT, check=True)
    undisturbed, *killed = (what_happened(folder) for folder in sorted(into.iterdir()))
    # 10.00, 5.00 and 1.00 paid, the 10.00 once more by mistake, once back; 10.00 paid in; three fees.
    assert undisturbed[-1] == 1_000_000_000 - 16_000_000 - 10_000_000 + 10_000_000 + 10_000_000 - 3 * 380_000
    assert undisturbed[2:4] == ([], ["a.xml", "b.xml", "o1.json", "o2.json.refused"])
    assert len(killed) > 30
    for step, facts in enumerate(killed, start=1):
        assert facts == undisturbed, f"killed before step {step}"


def test_a_death_between_rename_and_mark_writes_the_same_bytes_again(counter):
    counter.pay(Pay("E1", "10.00"))
    name = counter.names("pain.002")[0]
    body = counter.body(name)
    (counter.folder / "inbox" / name).unlink()
    counter.bank.books.db.execute("UPDATE answers SET state = 'owed' WHERE name = ?", (name,))
    assert counter.work().answers == [name]
    assert counter.body(name) == body


def test_a_slow_upload_that_died_at_either_end_is_begun_or_finished_again(make_counter):
    counter = make_counter(slow_upload=True)
    counter.pay(Pay("E1", "10.00"))
    answers, half = counter.bank.books.db, counter.body(counter.names("pain.002")[0])
    answers.execute("UPDATE answers SET half_in_run = NULL")
    assert counter.work().answers == []
    assert counter.body(counter.names("pain.002")[0]) == half
    written = counter.work().answers
    whole = [counter.body(name) for name in written]
    answers.execute("UPDATE answers SET state = 'owed'")
    assert counter.work().answers == written
    assert [counter.body(name) for name in written] == whole


def test_a_file_left_behind_by_a_death_is_moved_but_a_resent_one_is_answered(counter):
    counter.pay(Pay("E1", "10.00"))
    processed, outbox = (counter.folder / where / "M1.xml" for where in ("processed", "outbox"))
    processed.rename(outbox)
    counter.bank.books.db.execute("UPDATE files SET place = 'outbox'")
    assert counter.work().files == []
    assert processed.exists()
    counter.send(processed.read_bytes(), "M1.xml")
    counter.bank.books.db.execute("UPDATE files SET place = 'outbox'")
    assert [file.reason for file in counter.work().files] == ["DU01"]


def test_two_banks_on_one_folder_do_the_work_of_one(counter):
    for number in range(8):
        counter.send(bank_file(Pay(f"E{number}", "1.00"), msg_id=f"M{number}"), f"{number:02d}.xml")
        counter.order({"id": f"o{number}", "amount": "1.00", "currency": "EUR", "name": "Alice"}, f"o{number}.json")
    command = [
        sys.executable,
        "-m",
        "sandbox_bank",
        "work",
        "--folder",
        counter.folder,
        "--today",
        "2026-11-23",
    ]
    banks = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [bank.wait() for bank in banks] == [0, 0]
    for number in range(8):
        assert counter.answer(f"E{number}") == ("ACSC", None)
    assert counter.cents() == 100_000 - 8 * 38


def test_two_threads_with_a_bank_each_do_the_work_of_one(counter):
    for number in range(6):
        counter.send(bank_file(Pay(f"E{number}", "1.00"), msg_id=f"M{number}"), f"{number:02d}.xml")
    start = threading.Barrier(2)

    def work():
        bank = Bank(counter.folder)
        start.wait()
        bank.work(MONDAY)
        bank.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counter.statuses()) == 6
    assert counter.cents() == 100_000 - 6 * 138

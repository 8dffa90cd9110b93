"""The command, as an operator runs it: real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox_bank.cli import main
from tests.sandbox_bank.samples import HERE, RF, Pay, bank_file

COMMAND = [sys.executable, "-m", "sandbox_bank"]


def bank(folder, verb, *arguments, fails=False):
    """Run one command in-process; its output."""
    result = CliRunner().invoke(main, [verb, "--folder", str(folder), *arguments])
    assert (result.exit_code != 0) is fails, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture
def folder(tmp_path):
    opened = tmp_path / "bank"
    bank(opened, "init", "--iban", HERE, "--name", "Obole", "--opening", "EUR=100.00", "--opening", "FRF=5.00")
    return opened


def hand_in(folder, body, name="a.xml"):
    (folder / "outbox" / name).write_bytes(body)


def test_a_first_day_at_the_bank(folder):
    bank(
        folder,
        "pay-in",
        "--reference",
        RF,
        "--amount",
        "10.00",
        "--currency",
        "EUR",
        "--name",
        "Alice",
        "--id",
        "o1",
    )
    hand_in(folder, bank_file(Pay("E1", "7.00")))
    report = json.loads(bank(folder, "work", "--json", "--today", "2026-11-23"))
    assert report["files"][0]["status"] == "ACSC"
    assert report["answers"] == ["0000000001.pain.002.xml", "0000000002.camt.053.EUR.xml"]
    assert json.loads(bank(folder, "balance", "--json")) == {"EUR": "102.62", "FRF": "5.00"}
    lines = bank(folder, "statement", "--currency", "EUR").splitlines()
    assert lines[-1] == "balance 102.62 EUR"
    assert [line for line in lines if "E1" in line]


def test_it_tells_people_what_it_did(folder):
    hand_in(folder, bank_file(Pay("E1", "7.00")))
    hand_in(folder, b"<", "b.xml")
    told = bank(folder, "work", "--today", "2026-11-23")
    assert "a.xml: M1 ACSC, 1 executed, 0 rejected, 0 delayed" in told
    assert "b.xml: NOTPROVIDED RJCT FF01" in told
    assert "102" not in bank(folder, "balance")


def test_every_misbehaviour_can_be_ordered_listed_and_cleared(folder):
    orders = [
        ("--end-to-end-id", "E1", "reject", "--reason", "AC04"),
        ("--iban", HERE, "return", "--reason", "AC06", "--after", "2"),
        ("--next", "3", "delay", "--runs", "2"),
        ("--all", "repeat", "--book-twice"),
        ("--all", "lose-answer"),
        ("--next", "1", "check-payee", "--answer", "RVNM", "--name", "Léa Durand"),
    ]
    for order in orders:
        bank(folder, "misbehave", *order)
    listed = bank(folder, "misbehave", "--list").splitlines()
    assert [line.split()[1] for line in listed] == [
        "reject", "return", "delay", "repeat", "lose-answer", "check-payee",
    ]  # fmt: skip
    assert "RVNM 'Léa Durand' for next 1 (1 left)" in listed[-1]
    bank(folder, "misbehave", "--clear")
    assert bank(folder, "misbehave", "--list") == ""
    bank(folder, "misbehave", fails=True)
    bank(folder, "misbehave", "reject", "--reason", "AC04", fails=True)


def test_a_lost_answer_is_released_by_command(folder):
    bank(folder, "misbehave", "--all", "lose-answer")
    hand_in(folder, bank_file(Pay("E1", "7.00")))
    assert "unanswered" in bank(folder, "work", "--today", "2026-11-23")
    assert list((folder / "inbox").iterdir()) == []
    assert bank(folder, "release-answers") == "wrote 0000000001.camt.053.EUR.xml\n"


def test_a_doubted_payee_is_released_by_command(folder):
    bank(folder, "misbehave", "--all", "check-payee", "--answer", "RVNM")
    hand_in(folder, bank_file(Pay("E1", "7.00")))
    assert "RVCM, 0 executed, 0 rejected, 1 delayed" in bank(folder, "work", "--today", "2026-11-23")
    assert "no payment waits" in bank(folder, "release", "--msg-id", "M2", fails=True)
    assert bank(folder, "release", "--msg-id", "M1") == "released 1\n"
    assert "ACSC, 1 executed" in bank(folder, "work", "--today", "2026-11-23")


def test_a_dialect_is_chosen_by_command(folder):
    bank(folder, "init", "--iban", HERE, "--name", "Obole", "--dialect", "zip", "--dialect", "notified-first")
    bank(folder, "pay-in", "--amount", "1.00", "--currency", "EUR", "--name", "Alice")
    assert bank(folder, "work") == "wrote 0000000001.camt.054.EUR.zip\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "--iban", HERE, "--name", "x", "--dialect", "klingon"),
        ("init", "--iban", HERE, "--name", "x", "--overdraft", "USD=1.00"),
        ("init", "--iban", "FR00", "--name", "x"),
        ("init", "--iban", HERE, "--name", "x", "--opening", "EUR"),
        ("init", "--iban", HERE, "--name", "x", "--opening", "EUR=1.001"),
        ("init", "--iban", HERE, "--name", "x", "--fee", "eur=1"),
        ("init", "--iban", HERE, "--name", "x", "--bic", "NOBIC"),
        ("init", "--iban", "BE68539007547034", "--name", "x"),
        ("pay-in", "--amount", "1.00", "--currency", "USD", "--name", "x"),
        ("statement", "--currency", "USD"),
    ],
)
def test_mistakes_get_a_sentence_and_change_nothing(folder, arguments):
    before = bank(folder, "balance"), bank(folder, "statement")
    assert "Error: " in bank(folder, *arguments, fails=True)
    assert (bank(folder, "balance"), bank(folder, "statement")) == before


def test_a_folder_without_a_bank_says_so(tmp_path):
    for verb in ("work", "balance"):
        assert "run init first" in bank(tmp_path, verb, fails=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_run_works_until_told_to_stop(folder, ending):
    hand_in(folder, b"not a bank file", "a.xml")
    hand_in(folder, bank_file(Pay("E1", "7.00")), "b.xml")
    root = Path(__file__).parents[2]
    command = [*COMMAND, "run", "--folder", str(folder), "--every", "3600", "--today", "2026-11-23"]
    with subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(5)]
        process.send_signal(ending)
        assert process.wait() == 0
    assert told[-1] == "wrote 0000000003.camt.053.EUR.xml\n"


def test_whatever_the_umask_the_bank_keeps_what_it_has_to_itself(tmp_path):
    before = os.umask(0)
    try:
        place = tmp_path / "new" / "bank"
        bank(place, "init", "--iban", HERE, "--name", "Obole", "--slow-upload")
        bank(place, "pay-in", "--amount", "5.00", "--currency", "EUR", "--name", "Ada")
        for _ in range(3):
            bank(place, "work")
    finally:
        os.umask(before)
    everything = [place.parent, place, *place.rglob("*")]
    assert any(path.parent.name == "inbox" for path in everything)
    assert [str(path) for path in everything if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize(("name", "mode"), [("", 0o755), ("", 0o750), ("bank.sqlite3", 0o644), ("bank.sqlite3", 0o640)])
def test_a_bank_that_others_may_look_into_does_not_work(folder, name, mode):
    (folder / name).chmod(mode)
    for command in (["work"], ["run", "--every", "1"], ["init", "--iban", HERE, "--name", "Obole"]):
        done = CliRunner().invoke(main, [command[0], "--folder", str(folder), *command[1:]])
        assert done.exit_code == 1
        assert f"chmod -R go= {folder / name}" in done.output

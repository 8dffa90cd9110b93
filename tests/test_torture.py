"""The torture can fail: what is missing, doubled or changed in the books is found and named; and it runs to its end."""

import ast
import contextlib
import errno
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from rich.console import Console

from benchmarks.postgresql import libpq
from tests.flows import story
from tests.support import SHOPPER_IBAN, Shop, bearer, make_settings
from torture import report, sums
from torture.clients import keyed
from torture.ground import Disk
from torture.journal import Answer, Journal, Kind, Operation

ROOT = Path(__file__).resolve().parent.parent


class _Line:
    """A client's line to an application without a server."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def post(self, path: str, body: object, *, token: str | None = None, key: str | None = None) -> Answer:
        answer = self._client.post(path, json=body, headers=bearer(token, key=key))
        return Answer(answer.status_code, answer.get_json())


@dataclass(frozen=True)
class Played:
    """A small day that is over: what its clients know, and where the books are."""

    journal: Journal
    url: str
    bank: Path

    def wrong(self) -> set[str]:
        """Every sort of finding that the sums make."""
        return {found.sort.value for found in sums.check(self.journal, self.url, self.bank)}

    def tamper(self, *statements: str) -> None:
        """Change the books behind the wallet's back, past everything that keeps them sound."""
        if self.url.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as books:
                books.execute("PRAGMA ignore_check_constraints = ON")
                for statement in statements:
                    books.execute(statement)
                assert books.total_changes > 0
                books.commit()
            return
        with psycopg.connect(libpq(self.url)) as conn:
            conn.execute("SET session_replication_role = replica")
            for table, check in conn.execute(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"
            ).fetchall():
                conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}".encode())
            assert sum(conn.execute(statement.encode()).rowcount for statement in statements) > 0


class _Day:
    """Plays it, and notes what was asked and answered as the torture's clients do."""

    def __init__(self, shop: Shop) -> None:
        self.journal = Journal()
        self.shop = shop
        self.merchant, self.purse = shop.merchant(commission_bp=150), shop.purse("0.00")
        self._line = _Line(shop.client)

    def ask(self, kind: Kind, path: str, body: dict[str, Any], token: str, **facts: Any) -> Any:
        operation = self.journal.open(keyed(kind, path, body, token, facts))
        assert self.journal.attempt(operation, self._line)
        assert operation.answer is not None
        return operation.answer.body

    def at_the_purse(self, kind: Kind, what: str, micros: int, **more: str) -> None:
        body, facts = {**_money(micros), **more}, {"purse": str(self.purse.id), "micros": micros}
        self.ask(kind, f"/v1/purses/{self.purse.id}/{what}", body, self.purse.token, **facts)

    def pay(self, micros: int) -> Any:
        facts = {"purse": str(self.purse.id), "merchant": str(self.merchant.id)}
        body = {"purse_id": facts["purse"], "merchant_id": facts["merchant"], **_money(micros)}
        return self.ask(Kind.BY_PURSE_KEY, "/v1/vouchers", body, self.purse.token, **facts, micros=micros)

    def redeem(self, voucher: Any, **part: str) -> None:
        body = {"vouchers": [{"voucher": voucher["voucher"], **part}]}
        self.ask(Kind.REDEEM, "/v1/redemptions", body, self.merchant.token)

    def at_the_voucher(self, kind: Kind, voucher: Any, what: str, body: dict[str, Any]) -> None:
        self.ask(kind, f"/v1/vouchers/{voucher['id']}/{what}", body, self.merchant.token, voucher=voucher["id"])


@pytest.fixture
def played(tmp_path: Path, database_url: str) -> Iterator[Played]:
    """A top-up; purchases: redeemed, redeemed in part and refunded, released, held; withdrawals; and the night."""
    settings = make_settings(tmp_path, database_url)
    story.open_bank(settings)
    with Shop(settings) as shop:
        day = _Day(shop)
        day.at_the_purse(Kind.TOP_UP, "top-ups", 20_000_000, method="sandbox")
        story.work(shop)
        story.collect(shop)
        day.redeem(day.pay(4_000_000))
        in_part = day.pay(500_000)
        day.redeem(in_part, amount="0.30")
        day.at_the_voucher(Kind.REFUND, in_part, "refunds", _money(100_000))
        day.at_the_voucher(Kind.RELEASE, day.pay(300_000), "release", {})
        day.pay(400_000)
        for micros in (1_500_000, 900_000_000):
            day.at_the_purse(Kind.WITHDRAW, "withdrawals", micros, iban=SHOPPER_IBAN, name="A shopper")
        assert shop.post("/v1/settlement/runs", {}, token=shop.operator).status_code == 200
        story.until_answered(shop)
        yield Played(day.journal, database_url, tmp_path / "bank")


def _money(micros: int) -> dict[str, str]:
    return {"amount": f"{micros // 1_000_000}.{micros % 1_000_000:06d}", "currency": "EUR"}


# A transfer once more: under another reason, since the database itself refuses the same one.
_AGAIN = """INSERT INTO transfers (debit_account_id, credit_account_id, amount_micros, reason, reference,
        business_date, recorded_at)
    SELECT debit_account_id, credit_account_id, amount_micros, '{reason}', reference, business_date, recorded_at
    FROM transfers WHERE reason = '{of}'"""

# What is done to the books, and what the sums must call it.
TAMPERED = {
    "a voucher is gone": (["DELETE FROM vouchers WHERE state = 'held'"], "lost"),
    "a voucher is worth less": (["UPDATE vouchers SET amount_micros = 1 WHERE state = 'held'"], "lost"),
    "a redeemed voucher is held again": (
        ["UPDATE vouchers SET state = 'held', captured_micros = NULL WHERE refunded_micros = 0 AND state = 'redeemed'"],
        "lost",
    ),
    "a released voucher lapsed": (["UPDATE vouchers SET state = 'lapsed' WHERE state = 'released'"], "lost"),
    "a refund is gone": (["DELETE FROM refunds"], "lost"),
    "a withdrawal is gone": (["DELETE FROM withdrawals"], "lost"),
    "a withdrawal is smaller": (["UPDATE withdrawals SET amount_micros = 1000000"], "lost"),
    "a top-up is gone": (["DELETE FROM top_ups"], "lost"),
    "a top-up was never booked": (["DELETE FROM transfers WHERE reason = 'top_up'"], "lost"),
    "a transfer is gone": (["DELETE FROM transfers WHERE reason = 'release'"], "lost"),
    "a payment to the bank is gone": (["DELETE FROM bank_transactions WHERE kind = 'withdrawal'"], "doubled"),
    "a hold was given back twice": ([_AGAIN.format(of="release", reason="redeem_rest")], "doubled"),
    "a withdrawal moved twice": ([_AGAIN.format(of="withdrawal", reason="refund")], "doubled"),
    "a balance is higher": (["UPDATE purses SET balance_micros = balance_micros + 1"], "does not add up"),
    "a balance is below zero": (["UPDATE purses SET balance_micros = -1"], "does not add up"),
    "a merchant was paid more": (
        ["UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason = 'payout'"],
        "does not add up",
    ),
    "the bank has more than the books": (
        ["UPDATE transfers SET amount_micros = amount_micros - 1 WHERE reason = 'payout_booked'"],
        "does not add up",
    ),
    "nobody reads what is in quarantine": (
        [
            """INSERT INTO refused_messages (id, name, sha256, content, reason, refused_at)
               SELECT id, 'a statement', sha256, content, 'nobody knows', imported_at FROM bank_messages"""
        ],
        "does not add up",
    ),
}


def test_a_calm_day_adds_up(played: Played) -> None:
    assert [found.what for found in sums.check(played.journal, played.url, played.bank)] == []


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found(played: Played, what: str) -> None:
    statements, sort = TAMPERED[what]
    played.tamper(*statements)
    assert sort in played.wrong()


def test_what_nobody_was_told_of_is_doubled(played: Played) -> None:
    """As if a purchase was sent again and did its work a second time; a refund, a withdrawal and a top-up likewise."""
    for kind in (Kind.BY_PURSE_KEY, Kind.REFUND, Kind.WITHDRAW, Kind.TOP_UP):
        forgotten = [each for each in played.journal.operations if each.kind is kind and each.is_yes][-1]
        played.journal.operations.remove(forgotten)
        assert "doubled" in played.wrong(), kind
        played.journal.operations.append(forgotten)


def test_what_was_refused_and_done_all_the_same_is_doubled(played: Played) -> None:
    done = next(each for each in played.journal.operations if each.kind is Kind.WITHDRAW and each.is_yes)
    done.answer = Answer(402, {"code": "insufficient_funds"})
    assert "doubled" in played.wrong()


def test_what_never_had_an_answer_is_lost(played: Played) -> None:
    played.journal.operations[-1].answer = None
    assert "lost" in played.wrong()


def test_another_answer_to_the_same_is_told(played: Played) -> None:
    paid = next(each for each in played.journal.operations if each.kind is Kind.BY_PURSE_KEY)
    paid.send = lambda _: Answer(201, {"id": "another"})
    played.journal.attempt(paid, None)
    assert "lost" in played.wrong()


@pytest.mark.parametrize("status", [None, 429, 500, 503])
def test_silence_is_no_answer_and_is_asked_again(status: int | None) -> None:
    answers = [None if status is None else Answer(status, {}), Answer(201, {"id": "1"})]
    journal = Journal()
    asked = journal.open(Operation(Kind.TOP_UP, "key", lambda _: answers.pop(0), {}))
    assert not journal.attempt(asked, None)
    assert [each.key for each in journal.open_ends()] == ["key"]
    assert journal.attempt(asked, None)
    assert (asked.is_yes, asked.attempts, journal.open_ends()) == (True, 2, [])


def test_the_sums_share_nothing_with_what_they_judge() -> None:
    tree = ast.parse((ROOT / "torture" / "sums.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in imported if name and (ROOT / name.split(".")[0]).exists()}
    assert ours == {"torture.journal"}


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_it_runs_to_its_end_and_says_how_it_ended(database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torture", "--minutes", "0.03", "--database", database, "--seed", "1", "--clients", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.search(r"^torture: (.*)$", done.stdout, re.MULTILINE)
    assert summary is not None, done.stdout
    assert re.fullmatch(
        database + r": \d+ operations, \d+ kills, \d+ other blows, 0 lost, 0 doubled, 0 sums wrong, "
        r"longest outage [\d.]+ s: all of it adds up",
        summary.group(1),
    )


def test_whoever_reads_how_it_ended_sees_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal()
    journal.open(Operation(Kind.TOP_UP, "key", lambda _: None, {}))
    journal.strike("disk: full")
    found = [sums.Finding(sums.Sort.LOST, "refund 17 is gone"), sums.Finding(sums.Sort.SUM, "purse 4 has 3 micros")]
    outcome = report.Outcome(
        database="sqlite",
        seed="a1",
        seconds=2.0,
        journal=journal,
        outage=(1.5, "disk: full"),
        findings=found,
        looked_up=0,
        full_disk="a file system of its own",
    )

    report.show(Console(width=130), outcome)

    said = capsys.readouterr().out
    assert "lost: refund 17 is gone" in said
    assert "does not add up: purse 4 has 3 micros" in said
    assert said.endswith(
        "sqlite: 1 operations, 0 kills, 1 other blows, 1 lost, 0 doubled, 1 sums wrong, "
        "longest outage 1.5 s: NOT SOUND\n"
    )
    assert not outcome.is_sound


def test_the_longest_outage_lies_between_two_successes() -> None:
    journal = Journal()
    asked = journal.open(Operation(Kind.TOP_UP, "key", lambda _: Answer(201, {"id": "1"}), {}))
    before = time.monotonic()
    journal.attempt(asked, None)
    after = time.monotonic()
    assert 10 <= journal.longest_outage(before - 10, after + 4)[0] <= 10 + after - before
    assert 100 <= journal.longest_outage(before - 1, after + 100)[0] <= 100 + after - before


def test_a_file_that_cannot_grow_can_again_afterwards(tmp_path: Path) -> None:
    """Where nothing may be mounted, the disk is full by a limit, which ends with what was done."""
    disk = Disk(tmp_path, is_mounted=False)
    script = "import sys\nfor line in sys.stdin:\n    try:\n        open(line.strip(), 'wb').write(bytes(9000))\n"
    script += (
        "        print('whole', flush=True)\n    except OSError as error:\n        print(error.errno, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:

        def write() -> str:
            assert it.stdin is not None
            assert it.stdout is not None
            it.stdin.write(f"{tmp_path / 'file'}\n")
            it.stdin.flush()
            return it.stdout.readline().strip()

        assert write() == "whole"
        disk.fill([it.pid])
        assert write() == str(errno.EFBIG)
        disk.empty()
        assert write() == "whole"
        it.communicate()

"""The ground a fault test stands on: a scene set once, and a copy of it for each death.

A scene is a database and a folder (keys and bank). `Point` is one copy: something is killed there, looked at,
started again and carried to its end, by processes of its own.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import Connection, make_url

from settlement.tables import bank_files, bank_transactions, breaks, settlement_runs, statement_entries
from tests.flows import story
from tests.network import PATIENCE_SECONDS
from tests.support import make_settings
from wallet.ground.db import Database
from wallet.settings import Settings
from wallet.tables.books import business_days, closing_balances, idempotency_keys, transfers
from wallet.tables.funding import top_ups, withdrawals
from wallet.tables.purchases import refunds, vouchers
from wallet.tables.purses import purses

ROOT = Path(__file__).parents[2]
# Far more steps than any scenario has: a scenario that never ends fails.
MOST_STEPS = 200
FILE_LIMIT = 3


class Died(Exception):
    """The wallet was gone before it answered."""


class Nursery:
    """The process that forks the wallets which die; see `tests.faults.child`."""

    def __init__(self, folder: Path) -> None:
        settings = make_settings(folder, f"sqlite:///{folder / 'nobodys.db'}", bank_file_limit=FILE_LIMIT)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.child"],
                cwd=ROOT,
                env=os.environ | story.environment(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def fork(self, scenario: str, point: "Point", *, step: int = 0, when: str = "") -> dict[str, int]:
        """Start a wallet; answers its ``pid`` and ``port``. Ask `ended` before the next."""
        asked = {
            "scenario": scenario,
            "step": step,
            "when": when,
            "folder": str(point.folder),
            "database_url": point.settings.database_url,
            "steps": str(point.steps),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._said()

    def ended(self) -> bool:
        """Wait for the wallet's end: True when it was killed, False when it came to its end. Anything else raises."""
        status = self._said()["status"]
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f"the wallet ended with {status}:\n{self.log.read_text()[-4_000:]}")
        return status != 0

    def run(self, scenario: str, point: "Point", *, step: int = 0, when: str = "") -> bool:
        """Let a wallet do ``scenario``; whether it was killed."""
        self.fork(scenario, point, step=step, when=when)
        return self.ended()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _said(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the nursery is gone:\n{self.log.read_text()[-4_000:]}")
        said: dict[str, int] = json.loads(line)
        return said


@dataclass(slots=True)
class Point:
    """One copy of a scene."""

    folder: Path
    settings: Settings
    database: Database
    nursery: Nursery

    @property
    def steps(self) -> Path:
        """Where a wallet notes the steps it takes."""
        return self.folder / "steps"

    def verbs(self) -> list[str]:
        """The verbs whose steps were taken, in order."""
        return self.steps.read_text().split() if self.steps.exists() else []

    def settle_to_the_end(self) -> None:
        """The nightly run, the bank's passes and the imports, each by a process of its own."""
        assert not self.nursery.run("settle", self)
        story.until_answered(
            self,
            work=lambda _: self.nursery.run("bank", self),
            collect=lambda _: self.nursery.run("collect", self),
        )


@dataclass(slots=True)
class Ground:
    """A scene: set it by `settings`, close what is open on it, then copy it as often as needed."""

    settings: Settings
    nursery: Nursery
    admin: psycopg.Connection[Any] | None
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.settings.key_file.parent

    @contextmanager
    def copy(self) -> Iterator[Point]:
        """A copy of the scene as it was set."""
        name = f"point_{uuid4().hex}"
        folder = self.folder.with_name(name)
        shutil.copytree(self.folder, folder)
        url = self._copy_database(name, folder)
        settings = make_settings(folder, url, bank_file_limit=FILE_LIMIT)
        database = Database(url, pool_size=1)
        try:
            yield Point(folder, settings, database, self.nursery)
        finally:
            database.dispose()
            if self.admin is not None:
                self.admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            shutil.rmtree(folder)

    def _copy_database(self, name: str, folder: Path) -> str:
        source = make_url(self.settings.database_url)
        assert source.database is not None
        if self.admin is None:
            shutil.copy(source.database, folder / "obole.db")
            return f"sqlite:///{folder / 'obole.db'}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.admin.execute(create.format(sql.Identifier(name), sql.Identifier(source.database)))
        return source.set(database=name).render_as_string(hide_password=False)


class Client:
    """A client of one wallet process, which notes each yes it gets: its status and its very bytes, by name."""

    def __init__(self, nursery: Nursery, point: Point, *, step: int = 0, when: str = "") -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self._nursery = nursery
        self._wallet = nursery.fork("serve", point, step=step, when=when)

    def ask(
        self,
        name: str,
        path: str,
        body: object,
        *,
        token: str | None = None,
        key: str | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        """POST, and note the answer under ``name``. Raises `Died` when there is none."""
        headers = {"Content-Type": media_type}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._wallet["port"], timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", path, data, headers)
            response = connection.getresponse()
            status, answered = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Died(name) from error
        finally:
            connection.close()
        if status >= 300:
            raise AssertionError(f"{name}: {status} {answered.decode()}")
        self.answers[name] = (status, answered)
        return answered

    def leave(self) -> None:
        """End the wallet, if it lives."""
        with suppress(ProcessLookupError):
            os.kill(self._wallet["pid"], signal.SIGKILL)
        self._nursery.ended()


_STRIDE = {"before": 4, "after": 1}


def each_step(
    ground: Ground, when: str, perish: Callable[[Point, int], bool], afterwards: Callable[[Point], None]
) -> list[str]:
    """Kill at step 1, 2, … of what ``perish`` starts until it is not killed; answers the verbs of all steps.

    Right before a step there is nothing yet to be seen that was not there right after the step before it. Dying after
    each is tried; dying before, at every fourth.
    """
    for step in range(1, MOST_STEPS, _STRIDE[when]):
        with ground.copy() as point:
            killed = perish(point, step)
            try:
                afterwards(point)
            except AssertionError as error:
                error.add_note(f"killed {when} step {step}, {point.verbs()[-1]}" if killed else "not killed")
                raise
            if not killed:
                return point.verbs()
    raise AssertionError(f"still at work after {MOST_STEPS} steps")


def dying_in(scenario: str, when: str) -> Callable[[Point, int], bool]:
    """For `each_step`: one of the child's scenarios, killed at a step; answers whether it was."""
    return lambda point, step: point.nursery.run(scenario, point, step=step, when=when)


def facts(database: Database) -> dict[str, Counter[tuple[Any, ...]]]:
    """What a death must not change: everything in the books but the names and instants that each run makes up."""
    with database.read() as conn:
        return {
            "transfers": _rows(
                conn,
                transfers.c.reason,
                transfers.c.debit_account_id,
                transfers.c.credit_account_id,
                transfers.c.amount_micros,
            ),
            "purses": _rows(conn, purses.c.id, purses.c.balance_micros, purses.c.state),
            "vouchers": _rows(
                conn,
                vouchers.c.purse_id,
                vouchers.c.idempotency_key,
                vouchers.c.state,
                vouchers.c.amount_micros,
                vouchers.c.captured_micros,
                vouchers.c.refunded_micros,
            ),
            "refunds": _rows(conn, refunds.c.amount_micros),
            "top-ups": _rows(conn, top_ups.c.purse_id, top_ups.c.amount_micros, top_ups.c.method),
            "withdrawals": _rows(conn, withdrawals.c.purse_id, withdrawals.c.amount_micros),
            "keys": _rows(conn, idempotency_keys.c.owner_id, idempotency_keys.c.key, idempotency_keys.c.status),
            "days": _rows(conn, business_days.c.state),
            "balances": _rows(conn, closing_balances.c.account_id, closing_balances.c.balance_micros),
            "runs": _rows(conn, settlement_runs.c.state),
            "bank transactions": _rows(
                conn,
                bank_transactions.c.merchant_id,
                bank_transactions.c.purse_id,
                bank_transactions.c.amount_micros,
                bank_transactions.c.state,
            ),
            "files": _rows(conn, bank_files.c.transaction_count, bank_files.c.state),
            "entries": _rows(conn, statement_entries.c.match, statement_entries.c.amount_micros),
            "breaks": _rows(conn, breaks.c.kind, breaks.c.difference_micros),
        }


def _rows(conn: Connection, *columns: sa.ColumnElement[Any]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row) for row in conn.execute(sa.select(*columns)))

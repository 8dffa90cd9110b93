"""Chaos: one blow after the other, chosen by chance, at programs, at the database, at the disk, at the bank's files.

Invariant: whatever was stopped goes on, whatever was filled is emptied and whatever was cut is whole again when `Chaos`
has ended. Each blow is in the journal, with what was under way.
"""

import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from benchmarks.postgresql import libpq
from torture.ground import Disk, Postgres
from torture.journal import Journal
from torture.line import Line
from torture.programs import Program, some

# Between two blows: long enough for something to be done in between, short enough that much is under way.
_REST_SECONDS = (0.2, 1.2)
_STOPPED_SECONDS = (0.5, 3.0)
_FULL_SECONDS = (0.5, 2.0)

Blow = Callable[[], None]


class Chaos(threading.Thread):
    """Hurts one wallet until `end`."""

    def __init__(
        self,
        journal: Journal,
        *,
        seed: str,
        server: Program,
        others: Sequence[Program],
        disk: Disk,
        bank: Path,
        postgres: Postgres | None,
        database_url: str,
        operator: str,
    ) -> None:
        super().__init__(name="chaos", daemon=True)
        self.failure: Exception | None = None
        self._journal = journal
        self._chance = random.Random(f"{seed} chaos")
        self._server = server
        self._programs = (server, *others)
        self._disk = disk
        self._bank = bank
        self._postgres = postgres
        self._database_url = database_url
        self._operator = operator
        self._closing = threading.Event()

    def run(self) -> None:
        """Blow after blow. What should not be is kept for whoever started it."""
        try:
            for name, blow in self._in_turn():
                if self._closing.wait(self._chance.uniform(*_REST_SECONDS)):
                    break
                self._journal.strike(name)
                blow()
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._disk.empty()

    def end(self) -> None:
        """No more blows; what is under way is undone."""
        self._closing.set()
        self.join()

    def _in_turn(self) -> Iterator[tuple[str, Blow]]:
        """Each once, in an order of chance; then as often as each weighs, for ever."""
        blows = self._blows()
        yield from ((name, blow) for name, blow, _ in self._chance.sample(blows, len(blows)))
        while True:
            [(name, blow, _)] = self._chance.choices(blows, [weight for _, _, weight in blows])
            yield name, blow

    def _blows(self) -> Sequence[tuple[str, Blow, int]]:
        server = self._server
        found: list[tuple[str, Blow, int]] = [
            ("server: kill a process", lambda: self._kill(server, some(self._chance, server.children())), 3),
            ("server: kill the first process", lambda: self._kill(server, None), 1),
            ("server: stop and start", lambda: server.signal(None, signal.SIGTERM), 1),
            ("server: suspend a process", lambda: self._suspend(some(self._chance, server.processes())), 1),
            ("disk: full", self._fill, 2),
            ("bank file: half", self._halve, 2),
            ("bank file: again", lambda: self._repeat("again"), 1),
            ("bank file: again under another name", lambda: self._repeat(uuid.uuid4().hex), 1),
            ("bank file: out of order", self._hold_back, 1),
            ("nightly run", self._settle, 2),
        ]
        for other in self._programs[1:]:
            found += [
                (f"{other.name}: kill", self._killing(other), 2),
                (f"{other.name}: stop and start", self._stopping(other), 1),
                (f"{other.name}: suspend", self._suspending(other), 1),
            ]
        if self._postgres is not None:
            found += [
                ("database: terminate backends", self._terminate_backends, 3),
                ("database: kill a backend", lambda: self._kill_database(self._postgres_child()), 2),
                ("database: kill the first process", lambda: self._kill_database(self._postmaster()), 2),
                ("database: stop and start", lambda: self._signal(self._postmaster(), signal.SIGINT), 1),
                ("database: suspend a backend", lambda: self._suspend(self._postgres_child()), 1),
            ]
        return found

    # --- programs

    def _killing(self, program: Program) -> Blow:
        return lambda: program.signal(None, signal.SIGKILL)

    def _stopping(self, program: Program) -> Blow:
        return lambda: program.signal(None, signal.SIGTERM)

    def _suspending(self, program: Program) -> Blow:
        return lambda: self._suspend(some(self._chance, program.processes()))

    def _kill(self, program: Program, pid: int | None) -> None:
        program.signal(pid, signal.SIGKILL)

    def _suspend(self, pid: int | None) -> None:
        if pid is None:
            return
        self._signal(pid, signal.SIGSTOP)
        try:
            self._closing.wait(self._chance.uniform(*_STOPPED_SECONDS))
        finally:
            self._signal(pid, signal.SIGCONT)

    @staticmethod
    def _signal(pid: int | None, number: signal.Signals) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # --- the database

    def _postmaster(self) -> int | None:
        return None if self._postgres is None else self._postgres.processes()[0]

    def _postgres_child(self) -> int | None:
        return None if self._postgres is None else some(self._chance, self._postgres.processes()[1:])

    def _kill_database(self, pid: int | None) -> None:
        self._signal(pid, signal.SIGKILL)

    def _terminate_backends(self) -> None:
        """All that are at work for the wallet, at one stroke, wherever in a transaction they are."""
        with suppress(psycopg.Error), psycopg.connect(libpq(self._database_url), connect_timeout=2) as conn:
            conn.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )

    # --- the disk

    def _fill(self) -> None:
        pids = [pid for program in self._programs for pid in program.processes()]
        pids += [] if self._postgres is None else self._postgres.processes()
        self._disk.fill(pids)
        try:
            self._closing.wait(self._chance.uniform(*_FULL_SECONDS))
        finally:
            self._disk.empty()

    # --- the bank

    def _told(self) -> Path | None:
        """Something that the bank said and that was imported, so that it is known to be whole."""
        found = sorted((self._bank / "imported").glob("*.xml"))
        return self._chance.choice(found) if found else None

    def _halve(self) -> None:
        """Half of a message, under its name or another, for some seconds; then the whole of it."""
        told = self._told()
        if told is None:
            return
        with suppress(OSError):
            content = told.read_bytes()
            name = told.name if self._chance.random() < 0.5 else f"{uuid.uuid4().hex}.xml"
            path = self._bank / "inbox" / name
            path.write_bytes(content[: self._chance.randrange(1, len(content))] if content else b"")
            self._closing.wait(self._chance.uniform(*_STOPPED_SECONDS))
            path.write_bytes(content)

    def _repeat(self, name: str) -> None:
        """A message once more."""
        told = self._told()
        if told is not None:
            with suppress(OSError):
                self._put(told.name if name == "again" else f"{name}.xml", told.read_bytes())

    def _hold_back(self) -> None:
        """What waits is kept from the wallet, while what comes after it is there."""
        # The rest of a half would come under its old name, and the half would wait for ever.
        waiting = sorted(path for path in (self._bank / "inbox").glob("*.xml") if _is_whole(path))
        if not waiting:
            return
        taken = self._chance.choice(waiting)
        beside = self._bank / f"held-back-{taken.name}"
        with suppress(OSError):
            taken.replace(beside)
            try:
                self._closing.wait(self._chance.uniform(*_STOPPED_SECONDS))
            finally:
                # Under a name that sorts behind what has come meanwhile.
                beside.replace(self._bank / "inbox" / f"zz-{uuid.uuid4().hex}.xml")

    def _put(self, name: str, content: bytes) -> None:
        beside = self._bank / f".{uuid.uuid4().hex}.part"
        beside.write_bytes(content)
        beside.replace(self._bank / "inbox" / name)

    def _settle(self) -> None:
        """The night comes, perhaps for the second time, and is not waited for."""
        threading.Thread(target=self._ask_for_run, daemon=True).start()
        time.sleep(self._chance.uniform(0, 0.3))

    def _ask_for_run(self) -> None:
        line = Line(lambda: self._server.port)
        # Not tomorrow's: a day cannot be closed further ahead, and what is withdrawn afterwards would never go out.
        line.post("/v1/settlement/runs", {}, token=self._operator)
        line.close()


def _is_whole(path: Path) -> bool:
    try:
        return path.read_bytes().rstrip().endswith(b"</Document>")
    except OSError:
        return False

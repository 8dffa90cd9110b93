"""``python -m torture``: kill, stop and starve a whole wallet under load, and see whether anything is lost or doubled.

python -m torture --minutes 3 --database postgresql --seed 42
"""

import os
import secrets
import signal
import sqlite3
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click
import psycopg
from rich.console import Console

from benchmarks.databases import KINDS
from torture import aftermath, ground, report, scene, sums
from torture.chaos import Chaos
from torture.clients import Client, Town, top_up
from torture.ground import Disk, Postgres
from torture.journal import Journal
from torture.line import Line
from torture.people import Person
from torture.programs import Program, command, server
from torture.report import Outcome
from torture.scene import Scene, wait_for
from torture.sums import Finding

_SELLERS, _PURSES = 4, 8
# Of the whole time, as long again as this, everything is hurt while the days are settled.
_NIGHT_SHARE = 0.15
# The last purse is soon empty, so that there are refusals, too.
_FIRST_TOP_UPS_MICROS = (*(100_000_000,) * (_PURSES - 1), 5_000_000)
_WIDTH = 130  # columns, where the terminal does not say


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(0.01, 24 * 60), default=3.0, show_default=True, help="Of both databases."
)
@click.option("--database", type=click.Choice((*KINDS, "both")), default="both", show_default=True)
@click.option("--seed", help="What chance begins with; a new one each time, which is printed.")
@click.option("--clients", type=click.IntRange(1, 64), default=8, show_default=True, help="At once.")
def main(minutes: float, database: str, seed: str | None, clients: int) -> None:
    """Torture a wallet. Everything is temporary, and listens on the loopback only. Status 1 if anything is lost,

    doubled, or does not add up; then the folder with books, bank and logs is kept.
    """
    # As Ctrl-C does: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # What is written is its owner's alone, as an operator has it.
    os.umask(0o077)
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    kinds = KINDS if database == "both" else (database,)
    seed = seed or secrets.token_hex(4)
    outcomes = []
    for kind in kinds:
        outcomes.append(torture(kind, minutes=minutes / len(kinds), seed=seed, clients=clients, console=console))
        report.show(console, outcomes[-1])
    for outcome in outcomes:
        console.print(f"torture: {report.summary(outcome)}", highlight=False, soft_wrap=True)
    if not all(outcome.is_sound for outcome in outcomes):
        console.print(f"Once more: make torture MINUTES={minutes:g} DATABASE={database} SEED={seed}", highlight=False)
        raise SystemExit(1)


def torture(kind: str, *, minutes: float, seed: str, clients: int, console: Console) -> Outcome:
    """One database's torture, from an empty folder to the sums."""
    with ExitStack() as stack:
        folder = stack.enter_context(ground.place())
        disk = stack.enter_context(ground.disk(folder / "disk", minutes=minutes))
        postgres = Postgres(disk.folder) if kind == "postgresql" else None
        if postgres is not None:
            stack.callback(postgres.end)
        home = disk.folder / "wallet"
        url = postgres.server.create("wallet") if postgres else f"sqlite:///{home / 'books.db'}"
        wallet = Wallet(folder, disk, url, postgres, seed)
        outcome = wallet.torture(kind, minutes=minutes, clients=clients)
        if not outcome.is_sound:
            kept = ground.keep(folder, disk)
            console.print(f"Books, bank and logs are kept in {kept}", highlight=False, soft_wrap=True)
    return outcome


class Wallet:
    """One wallet with all its programs."""

    def __init__(self, folder: Path, disk: Disk, url: str, postgres: Postgres | None, seed: str) -> None:
        self.url, self.seed, self.disk, self.postgres = url, f"{seed} {url.partition(':')[0]}", disk, postgres
        self.settings = ground.prepare(disk.folder / "wallet", url)
        self.bank = Path(self.settings["OBOLE_BANK_FOLDER"])
        self.operator = ground.open_books(url)
        scheduler = ("flask", "--app", "app", "scheduler", "--every", "1")
        works = ("sandbox_bank", "run", "--folder", str(self.bank), "--every", "1")
        self.server = Program("server", server(self.settings, folder / "server.log"))
        self.others = [
            Program("scheduler", command(*scheduler, settings=self.settings, log=folder / "scheduler.log")),
            Program("bank", command(*works, settings=self.settings, log=folder / "bank.log")),
        ]
        self.journal = Journal()

    def torture(self, kind: str, *, minutes: float, clients: int) -> Outcome:
        """Furnish, torture, calm down, look up, and sum up."""
        trouble: list[str] = []
        with ExitStack() as stack:
            for program in (self.server, *self.others):
                program.begin()
                stack.callback(program.end)
            people = self._furnish(clients)
            began = time.monotonic()
            ended = self._storm(people, trouble, minutes=minutes, clients=clients)
            findings, looked_up = self._calm(trouble)
            # Blows are over, so that what is counted is what the blows led to.
            restarts = {each.name: each.starts - 1 for each in (self.server, *self.others)}
        if self.postgres is not None:
            restarts["database"] = self.postgres.starts - 1
        return Outcome(
            database=kind,
            seed=self.seed.split()[0],
            seconds=ended - began,
            journal=self.journal,
            outage=self.journal.longest_outage(began, ended),
            findings=findings,
            looked_up=looked_up,
            full_disk="a file system of its own" if self.disk.is_mounted else "a limit on the size of files",
            restarts=restarts,
            trouble=trouble,
        )

    def _port(self) -> int | None:
        return self.server.port

    def _furnish(self, clients: int) -> Scene:
        """The town, its people with their PINs, as many as there are clients, and money in every purse."""
        port = self.server.port or 0
        made = scene.furnish(port, self.operator, self.bank, origin=ground.ORIGIN, sellers=_SELLERS, purses=_PURSES)
        line = Line(self._port)
        for resident in made.people[:clients]:
            Person(resident, line).sign_up(self._link)
        for purse, micros in zip(made.purses, _FIRST_TOP_UPS_MICROS, strict=True):
            self.journal.attempt(top_up(self.journal, purse, micros), line)
        line.close()
        tables = sums.Tables(self.url)
        query = "SELECT count(*) FROM transfers WHERE reason IN ('top_up', 'equity_paid_in')"
        wait_for(lambda: tables.rows(query) == [(_PURSES + 1,)], what="the first top-ups were not booked")
        return made

    def _link(self, email: str) -> str:
        """The link in somebody's letter, which the scheduler writes, and which waits in the books: there is no post."""
        tables, query = sums.Tables(self.url), f"SELECT body FROM mails WHERE recipient = '{email}'"
        wait_for(lambda: bool(tables.rows(query)), what=f"nobody wrote to {email}")
        [(body,)] = tables.rows(query)
        return next(str(word) for word in body.split() if "/link/" in word)

    def _storm(self, made: Scene, trouble: list[str], *, minutes: float, clients: int) -> float:
        """Clients and blows, and then a night without clients in which the blows go on; answers when clients ended."""
        town = Town(scene=made, journal=self.journal, port=self._port)
        crowd = [Client(town, number, self.seed) for number in range(clients)]
        chaos = Chaos(
            self.journal,
            seed=self.seed,
            server=self.server,
            others=self.others,
            disk=self.disk,
            bank=self.bank,
            postgres=self.postgres,
            database_url=self.url,
            operator=self.operator,
        )
        for thread in (*crowd, chaos):
            thread.start()
        end = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < end and all(thread.is_alive() for thread in (*crowd, chaos)):
                time.sleep(0.1)
            town.closing.set()
            for client in crowd:
                client.join()
            ended = time.monotonic()
            self._night_of_blows(minutes * 60 * _NIGHT_SHARE)
        finally:
            town.closing.set()
            chaos.end()
        failures = [chaos.failure, *(client.failure for client in crowd)]
        trouble += [f"a client, or what hurts, failed: {failure!r}" for failure in failures if failure is not None]
        return ended

    def _night_of_blows(self, seconds: float) -> None:
        """Both days are settled, and the bank told, while everything is hurt."""
        # A withdrawal that is only accepted after tomorrow was closed would have no night to go out in.
        aftermath.resolve(self.journal, self._port)
        line, end = Line(self._port), time.monotonic() + seconds
        while not self.journal.open_ends() and time.monotonic() < end:
            aftermath.ask_for_nights(line, self.operator)
            time.sleep(0.2)
        line.close()

    def _calm(self, trouble: list[str]) -> tuple[list[Finding], int]:
        """Everything is up again; every question has its answer; the night has come, and the proof is made.

        Answers what is wrong, and how many answers were looked up. The sums are made before, too: what was lost is done
        anew when it is asked for again.
        """
        for program in (self.server, *self.others):
            program.await_running()
        looked_up, findings = 0, list[Finding]()
        line = Line(self._port)
        try:
            wait_for(lambda: _is_ready(line), what="the wallet is not ready again", seconds=60)
            aftermath.resolve(self.journal, self._port)
            aftermath.let_the_night_come(self.journal, line, self.url, self.bank, self.operator)
            findings += sums.check(self.journal, self.url, self.bank)
            looked_up = aftermath.look_up(self.journal, self._port)
            ground.run(self.settings, "flask", "--app", "app", "audit")
        except (TimeoutError, RuntimeError, sqlite3.Error, psycopg.Error) as error:
            trouble.append(str(error))
        finally:
            line.close()
        findings += sums.check(self.journal, self.url, self.bank)
        return list(dict.fromkeys(findings)), looked_up


def _is_ready(line: Line) -> bool:
    answer = line.get("/readyz")
    return answer is not None and answer.is_yes


if __name__ == "__main__":
    main(prog_name="python -m torture")

"""The ground a torture stands on: a small file system of its own, the settings of a wallet, and a database on it.

Where nothing may be mounted, the disk is full by a limit on the size of files instead (`RLIMIT_FSIZE`).
"""

import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nacl.pwhash import argon2id

from benchmarks import servers
from benchmarks.postgresql import PostgresServer
from sandbox_bank.bank import Bank
from torture.programs import children_of
from wallet.books import ledger
from wallet.ground import clock
from wallet.ground.db import Database, migrate
from wallet.keys.ring import Keyring
from wallet.people import api_keys
from wallet.tables.people import KeyKind

ORIGIN = "http://localhost"
_OPERATOR_IBAN = "FR7630006000011234567890189"
_OPERATOR_NAME = "Obole Torture"
_FEE = "0.38"
# Room for what is written; what is free is filled up in an instant.
_MEGABYTES, _MEGABYTES_A_MINUTE = 384, 64
_MOST_BYTES_OF_A_FILE = 4_096
_POSTGRESQL = {"max_wal_size": "64MB", "shared_buffers": "32MB", "max_connections": "100", "timezone": "Europe/Paris"}
# As banks are met, and each answer half written for a pass.
_WAYS: dict[str, Any] = {"slow_upload": True, "dialect": ("two-references", "fees-apart", "notified-first")}


class Disk:
    """A file system that can be full. ``is_mounted``: it is one of its own; else files cannot grow instead."""

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self.is_mounted = is_mounted
        self._ballast = folder / "ballast"
        self._limited: list[int] = []

    def fill(self, pids: Iterable[int]) -> None:
        """Leave no room; ``pids`` are the processes whose files cannot grow where there is no file system to fill."""
        if not self.is_mounted:
            self._limited = list(pids)
            self._limit(_MOST_BYTES_OF_A_FILE)
            return
        with self._ballast.open("wb") as file, suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)

    def empty(self) -> None:
        """There is room again."""
        self._ballast.unlink(missing_ok=True)
        self._limit(resource.RLIM_INFINITY)
        self._limited = []

    def _limit(self, most: int) -> None:
        for pid in self._limited:
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextmanager
def disk(folder: Path, *, minutes: float) -> Iterator[Disk]:
    """A small file system in memory, mounted on ``folder`` where that is allowed, for so long a torture."""
    folder.mkdir()
    # As /tmp is: PostgreSQL, being somebody else, makes its folder here and takes it away.
    folder.chmod(0o1777)
    size = _MEGABYTES + round(_MEGABYTES_A_MINUTE * minutes)
    options = ["-t", "tmpfs", "-o", f"size={size}m,mode=1777", "tmpfs", str(folder)]
    mount = shutil.which("mount")
    done = None if mount is None else subprocess.run([mount, *options], capture_output=True, check=False)
    is_mounted = done is not None and done.returncode == 0
    try:
        yield Disk(folder, is_mounted=is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


class Postgres:
    """PostgreSQL on a disk, started again whenever it has ended."""

    def __init__(self, parent: Path) -> None:
        self.server = PostgresServer(parent=parent, **_POSTGRESQL)
        self.starts = 1
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="postgresql", daemon=True)
        self._thread.start()

    def processes(self) -> list[int]:
        """The postmaster first, then its children."""
        return [self.server.pid, *children_of(self.server.pid)]

    def end(self) -> None:
        """Stop it for good."""
        self._closing.set()
        self._thread.join()
        self.server.stop()

    def _keep(self) -> None:
        while not self._closing.wait(0.1):
            if not self.server.is_running():
                # While old backends die, or the disk is full, it does not come up: once more.
                with suppress(RuntimeError, OSError):
                    self.server.start_again()
                    self.starts += 1


def prepare(folder: Path, database_url: str) -> dict[str, str]:
    """Keys and a bank on the disk, in ``folder``; answers the settings."""
    folder.mkdir(mode=0o700)
    settings = {
        "OBOLE_ORIGIN": ORIGIN,
        "OBOLE_SECRET_KEY": secrets.token_urlsafe(48),
        "OBOLE_DATABASE_URL": database_url,
        "OBOLE_KEY_FILE": str(folder / "wallet.keys"),
        "OBOLE_KEY_PASSPHRASE": secrets.token_urlsafe(24),
        "OBOLE_OPERATOR_NAME": _OPERATOR_NAME,
        "OBOLE_BANK_IBAN": _OPERATOR_IBAN,
        "OBOLE_BANK_FOLDER": str(folder / "bank"),
        "OBOLE_SANDBOX_FOLDER": str(folder / "bank"),
        "OBOLE_BANK_FEES": f"EUR={_FEE}",
        "OBOLE_WITHDRAWAL_MINIMUM": "EUR=1.00",
        "OBOLE_REFUND_LIMIT": "EUR=5.00",
        # The day is closed by those who ask for it, not by the clock of whoever tortures.
        "OBOLE_CUTOFF": "23:59",
    }
    Keyring.create(
        folder / "wallet.keys",
        settings["OBOLE_KEY_PASSPHRASE"],
        now=clock.now(),
        opslimit=argon2id.OPSLIMIT_MIN,
        memlimit=argon2id.MEMLIMIT_MIN,
    )
    Bank.init(folder / "bank", iban=_OPERATOR_IBAN, name=_OPERATOR_NAME, fees={"EUR": _FEE}, **_WAYS).close()
    return settings


def open_books(url: str) -> str:
    """Migrate the database, open its first day, and answer the key of an operator."""
    database = Database(url)
    migrate(database)
    with database.write() as conn:
        ledger.open_first_day(conn, clock.today(), opened_at=clock.now())
        token = api_keys.issue(conn, KeyKind.OPERATOR, owner_id=None, label="torture", at=clock.now())[1]
    database.dispose()
    return token


def run(settings: dict[str, str], *words: str) -> str:
    """Run a Python program to its end; answers what it said. Raises RuntimeError when it ends otherwise than with 0."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OBOLE_", "PROMETHEUS_"))}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=ours | settings,
        cwd=servers.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def place() -> Iterator[Path]:
    """A temporary folder, for as long as the block lasts; *nobody*, who PostgreSQL is, finds the way through it."""
    with tempfile.TemporaryDirectory(prefix="obole-torture-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def keep(folder: Path, disk: Disk) -> Path:
    """A copy of logs, books and bank that stays; answers where. PostgreSQL's programs are not copied."""
    kept = Path(tempfile.mkdtemp(prefix="obole-torture-kept-"))
    for log in folder.glob("*.log"):
        shutil.copy2(log, kept)
    shutil.copytree(disk.folder, kept / "disk", ignore=shutil.ignore_patterns("wheel", "*.libs", ".s.PGSQL*"))
    return kept

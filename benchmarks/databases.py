"""Where the books of a benchmark are: fresh, migrated, durable databases in temporary folders."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.postgresql import PostgresServer
from wallet.ground.db import Database, migrate

KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Place:
    """One database server, or a folder of SQLite files. ``version`` names it; ``folder`` is for other files."""

    kind: str
    version: str
    folder: Path
    address: Callable[[str], str]

    def create(self, name: str) -> str:
        """A new, migrated database; answers its address as the wallet's settings have it."""
        url = self.address(name)
        database = Database(url)
        migrate(database)
        database.dispose()
        return url


@contextmanager
def opened(kind: str) -> Iterator[Place]:
    """A place for databases of a kind. Everything in it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="obole-benchmark-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield Place(kind, f"SQLite {sqlite3.sqlite_version}", folder, _file_in(folder))
            return
        with PostgresServer() as server:
            yield Place(kind, f"PostgreSQL {server.version()}", folder, server.create)


def _file_in(folder: Path) -> Callable[[str], str]:
    return lambda name: f"sqlite:///{folder / name}.db"

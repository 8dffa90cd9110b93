"""Databases that go away at the worst moment: a PostgreSQL whose answers get lost, a SQLite that finds no room."""

import contextlib
import re
import resource
import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

_SOCKET = ".s.PGSQL.5432"
_COMMIT = b"COMMIT\0"
# What every transaction that writes begins with; under a name, once psycopg has prepared it.
_BEGINS_TO_WRITE = b"SELECT pg_advisory_xact_lock"
_PREPARED = re.compile(rb"(_pg3_\d+)\0" + _BEGINS_TO_WRITE)


class Loser:
    """Stands between psycopg and PostgreSQL and passes everything on, but the answer to a commit, if told to lose it.

    The server has answered by then, so that the commit is done; the client only sees its connection end.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        self._server = f"{parsed.query['host']}/{_SOCKET}"
        self._folder = tempfile.TemporaryDirectory(prefix="loser-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder.name}/{_SOCKET}")
        self._listener.listen(64)
        self.url = parsed.set(query={"host": self._folder.name}).render_as_string(hide_password=False)
        self.lost = 0
        self._to_lose = 0
        self._goes_away = False
        threading.Thread(target=self._serve, daemon=True).start()

    def lose(self, *, after: int = 0, and_go_away: bool = False) -> None:
        """Lose the answer to a writer's next commit, or one ``after`` so many; then perhaps let nobody in any more."""
        self._to_lose, self._goes_away = after + 1, and_go_away

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            writes, marks = False, {_BEGINS_TO_WRITE}
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is client:
                        marks |= {name + b"\0" for name in _PREPARED.findall(data)}
                        writes = writes or any(mark in data for mark in marks)
                    if source is client and _COMMIT in data and writes and self._is_to_be_lost():
                        server.sendall(data)
                        server.recv(1 << 16)
                        self.lost += 1
                        return
                    if source is client and _COMMIT in data:
                        writes = False
                    (server if source is client else client).sendall(data)

    def _is_to_be_lost(self) -> bool:
        self._to_lose -= 1
        if self._to_lose == 0 and self._goes_away:
            self.close()
        return self._to_lose == 0


@contextlib.contextmanager
def no_room(url: str) -> Iterator[None]:
    """Within, no file of this process grows beyond what the database's own log holds: its next commit fails."""
    log = Path(f"{sa.make_url(url).database}-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size if log.exists() else 0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

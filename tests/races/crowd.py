"""A real server with the project's own configuration, and a crowd of clients that keep their connections.

Every process and thread here ends by itself, whatever becomes of the test.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.flows import story
from tests.network import PATIENCE_SECONDS
from wallet.settings import Settings

ROOT = Path(__file__).parents[2]
LONGEST_LIFE_SECONDS = 900
WORKERS = 2

_T = TypeVar("_T")


class Server:
    """gunicorn on a free port of this machine, as ``gunicorn.conf.py`` has it, with two workers where it has many."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._log = folder / "gunicorn.log"
        # Bound here, so that the port is known and early clients wait in line instead of being refused.
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, self._log.open("wb") as log:
            self.port: int = listener.getsockname()[1]
            self._process = subprocess.Popen(
                bounded("gunicorn", "--bind", f"fd://{listener.fileno()}", "app:create_app()"),
                cwd=ROOT,
                env=os.environ | story.environment(settings) | {"WEB_CONCURRENCY": str(WORKERS)},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        [master] = psutil.Process(self._process.pid).children()
        return list(master.children())

    def signal(self, number: int) -> None:
        """Tell it something, and do not wait."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it, gently if it listens."""
        stop(self._process)

    def broken(self) -> list[str]:
        """What it logged of things that must not happen."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"level": "error"' in line]

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with Client(self.port) as client:
            while client.get("/readyz").status != 200:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"the server did not start:\n{self._log.read_text()[-4_000:]}")


@contextmanager
def served(settings: Settings, folder: Path) -> Iterator[Server]:
    """A server, as operators start it, until the end of the block; it must not have broken anything."""
    server = Server(settings, folder)
    yield server
    server.stop()
    assert server.broken() == []


def bounded(*module: str) -> list[str]:
    """A Python module's command line, which ends by itself even when nobody is left to stop it."""
    return ["timeout", "--kill-after=5", str(LONGEST_LIFE_SECONDS), sys.executable, "-m", *module]


def stop(process: subprocess.Popen[Any]) -> None:
    """End a bounded process."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, heard."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said

    @property
    def code(self) -> str:
        """A problem's code, or the status of a yes."""
        return str(self.json().get("code", self.status)) if self.status >= 400 else str(self.status)


@dataclass(slots=True)
class Client:
    """One kept-alive connection. A request whose answer was lost is sent again as it was: its key makes it one."""

    port: int
    again: int = 0
    timeout: float = PATIENCE_SECONDS
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str, token: str | None = None) -> Answer:
        return self._ask("GET", path, None, {} if token is None else {"Authorization": f"Bearer {token}"})

    def post(self, path: str, body: object, *, token: str | None = None, key: str | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        for attempt in range(3):
            try:
                self._connection.request(method, path, body, headers)
                response = self._connection.getresponse()
                return Answer(response.status, response.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The server closes connections that were idle for a while.
                self._connection.close()
                self.again += 1
                if attempt == 2:
                    raise
        raise AssertionError("not reached")


def at_once(works: Sequence[Callable[[], _T]]) -> list[_T]:
    """Do all of it at the same instant, as nearly as threads can; answers what each answered."""
    start = threading.Barrier(len(works))

    def begin(work: Callable[[], _T]) -> _T:
        start.wait(PATIENCE_SECONDS)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))

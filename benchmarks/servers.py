"""gunicorn as an operator starts it, with the project's own gunicorn.conf.py, on a port of the loopback."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.processes import Kept

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
WALLET = "app:create_app()"
BARE = "benchmarks.bare:app"
_START_SECONDS = 60


@contextmanager
def served(application: str, settings: Mapping[str, str], *, ready: str, log: Path) -> Iterator[int]:
    """Serve ``application`` with these settings until the block ends; gives the port once ``ready`` answers 200."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OBOLE_", "PROMETHEUS_"))}
    with reserved() as port:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{port}", application]
        with Kept(command, log=log, cwd=ROOT, environment=ours | dict(settings)) as server:
            _await(server, port, ready)
            yield port


@contextmanager
def reserved(*offsets: int) -> Iterator[int]:
    """A port, with those at ``offsets`` from it, which the system gives to nobody else until the block ends.

    A server whose number was told beforehand listens there: it says SO_REUSEADDR, as servers do, and what keeps the
    port does so too and does not listen (socket(7)).
    """
    with ExitStack() as stack:
        while True:
            # A port of the upper part may have no neighbours to reserve: what was taken by then is kept, so that the
            # next try is another one.
            sockets = [stack.enter_context(socket.socket()) for _ in (0, *offsets)]
            for each in sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sockets[0].bind((HOST, 0))
            port: int = sockets[0].getsockname()[1]
            try:
                for each, offset in zip(sockets[1:], offsets, strict=True):
                    each.bind((HOST, port + offset))
            except (OSError, OverflowError):
                continue
            break
        yield port


def _await(server: Kept, port: int, path: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port, path):
        if not server.is_running() or time.monotonic() > deadline:
            raise RuntimeError(f"gunicorn did not start:\n{server.said()}")
        time.sleep(0.05)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""gunicorn as an operator starts it, with the project's own gunicorn.conf.py, on a port of the loopback."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    port = _free_port()
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OBOLE_", "PROMETHEUS_"))}
    command = [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{port}", application]
    with Kept(command, log=log, cwd=ROOT, environment=ours | dict(settings)) as server:
        _await(server, port, ready)
        yield port


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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

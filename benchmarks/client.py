"""One client in a process of its own: ``python -m benchmarks.client JOB``. It does nothing but send and wait.

``JOB`` is a file with the pickled fields of a `Job`. The client writes a line, waits for one, connects, warms up,
writes another, sends its requests one after the other over one kept-alive connection until they or the seconds run out
or SIGTERM comes, and writes what it saw as JSON beside the job (``.report``), which no pipe is too small for. Standard
library only: 32 of them start on a small machine.
"""

import itertools
import json
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Whole HTTP requests, ready to send; ``warm_up`` of them are not measured. ``cycle`` begins again at the end."""

    host: str
    port: int
    seconds: float
    warm_up: int
    cycle: bool
    requests: Sequence[bytes]


class Connection:
    """Just enough of HTTP/1.1 (RFC 9112) to talk to our own server."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises RuntimeError with what was said unless the status is 2xx."""
        self._socket.sendall(request)
        received = self._more()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        length = int(_header(received[:end], b"content-length"))
        pieces, missing = [received[end + 4 :]], length - (len(received) - end - 4)
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        if received[9:10] != b"2":
            raise RuntimeError((received[:end] + b"".join(pieces))[:1_000].decode(errors="replace"))
        return b"".join(pieces)

    def _more(self) -> bytes:
        received = self._socket.recv(1 << 20)
        if not received:
            raise RuntimeError("the server closed the connection")
        return received


def main(job: Job, report: Path) -> None:
    """Do the job; see the module."""
    endless: Iterable[bytes] = itertools.cycle(job.requests) if job.cycle else job.requests
    requests = iter(endless)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    # Not before: while the others start, the server would close a connection that says nothing.
    connection = Connection(job.host, job.port)
    for request in itertools.islice(requests, job.warm_up):
        connection.ask(request)
    sys.stdout.write("warm\n")
    sys.stdout.flush()
    sent_at, latencies_us, answer = [], [], b""
    began = time.monotonic()
    for request in requests:
        sent = time.monotonic()
        if told or sent >= began + job.seconds:
            break
        answer = connection.ask(request)
        sent_at.append(sent)
        latencies_us.append(round((time.monotonic() - sent) * 1e6))
    ended = time.monotonic()
    seen = {"began": began, "ended": ended, "sent_at": sent_at, "latencies_us": latencies_us}
    report.write_text(json.dumps(seen | {"last": answer[:2_000].decode()}))


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    raise RuntimeError(f"no {name.decode()} in the answer")


if __name__ == "__main__":
    asked = Path(sys.argv[1])
    main(Job(**pickle.loads(asked.read_bytes())), asked.with_suffix(".report"))

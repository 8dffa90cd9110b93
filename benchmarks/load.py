"""Load on a server: clients in processes of their own, started together, and what they saw put together."""

import dataclasses
import json
import math
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Job
from benchmarks.servers import HOST, ROOT

_PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients saw together. Latencies in milliseconds; ``last`` is the beginning of somebody's last answer.

    ``samples`` are the requests one by one: when it was sent by the machine's monotonic clock, and its microseconds.
    """

    clients: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    last: str
    samples: Sequence[tuple[float, int]]

    def between(self, began: float, ended: float) -> "Load":
        """Of the requests that were sent between these instants. Raises RuntimeError when there was none."""
        inside = [sample for sample in self.samples if began <= sample[0] <= ended]
        return _seen(inside, clients=self.clients, seconds=ended - began, last=self.last)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP request; ``idempotency_key="…"`` becomes the header ``Idempotency-Key``."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def put(
    port: int,
    requests: Sequence[Sequence[bytes]],
    *,
    seconds: float,
    warm_up: int = 1,
    cycle: bool = False,
    until: Callable[[], object] | None = None,
) -> Load:
    """Send each client's requests over its own connection, for at most ``seconds``; all begin together.

    ``until`` is called once they have begun, and they stop when it is done.

    Raises RuntimeError when a client met anything but an answer 2xx.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obole-benchmark-")))
        clients = []
        for number, its in enumerate(requests):
            job = Job(host=HOST, port=port, seconds=seconds, warm_up=warm_up, cycle=cycle, requests=its)
            clients.append(stack.enter_context(_Client(folder / f"{number}.job", job)))
        for client in clients:
            client.hear("ready")
        for client in clients:
            client.go()
        for client in clients:
            client.hear("warm")
        if until is not None:
            until()
            for client in clients:
                client.stop()
        return _together([client.report(seconds + _PATIENCE_SECONDS) for client in clients])


class _Client:
    def __init__(self, path: Path, job: Job) -> None:
        path.write_bytes(pickle.dumps(dataclasses.asdict(job)))
        self._errors = path.with_suffix(".errors").open("w+")
        self._report = path.with_suffix(".report")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def hear(self, word: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != f"{word}\n":
            self._fail()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.terminate()

    def report(self, seconds: float) -> dict[str, Any]:
        # Not by the pipe: what came with the last line that was heard is read already.
        if self._process.wait(timeout=seconds) != 0:
            self._fail()
        report: dict[str, Any] = json.loads(self._report.read_text())
        return report

    def _fail(self) -> None:
        self._process.wait(_PATIENCE_SECONDS)
        self._errors.seek(0)
        raise RuntimeError(f"A client failed: {self._errors.read()[-1_500:]}")


def _together(reports: Sequence[dict[str, Any]]) -> Load:
    samples = [each for report in reports for each in zip(report["sent_at"], report["latencies_us"], strict=True)]
    took = max(report["ended"] for report in reports) - min(report["began"] for report in reports)
    return _seen(samples, clients=len(reports), seconds=took, last=reports[0]["last"])


def _seen(samples: Sequence[tuple[float, int]], *, clients: int, seconds: float, last: str) -> Load:
    latencies = sorted(latency for _, latency in samples)
    if not latencies:
        raise RuntimeError("No client had time for a single request.")
    return Load(
        clients=clients,
        requests=len(latencies),
        per_second=len(latencies) / seconds,
        p50_ms=_quantile(latencies, 0.5) / 1000,
        p99_ms=_quantile(latencies, 0.99) / 1000,
        longest_ms=latencies[-1] / 1000,
        last=last,
        samples=samples,
    )


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]

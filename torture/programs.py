"""The programs of a wallet, each started again whenever it ends, as an operator's supervisor would.

Invariant: whatever was started here carries a mark in its environment, its children too; by that mark it is found to be
hurt, and nothing else is.
"""

import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from benchmarks import servers
from benchmarks.processes import Kept

_MARK = "TORTURE_MARK"
_LOOK_SECONDS = 0.1
_PROC = Path("/proc")
_SETTLE_SECONDS = 60

#: Starts a program in an environment, and gives the port it serves at, if it serves.
Start = Callable[[Mapping[str, str]], AbstractContextManager[int | None]]


class Program:
    """One program, from `begin` to `end`; while it is ``wanted`` it is started again whenever it has ended."""

    def __init__(self, name: str, start: Start) -> None:
        self.name = name
        self.port: int | None = None
        self.starts = 0
        self._start = start
        self._mark = ""
        self._first: int | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    def begin(self) -> None:
        """Start it, and keep it running; returns when it does."""
        self._thread.start()
        self.await_running()

    def end(self) -> None:
        """Stop it for good."""
        self._closing.set()
        self._thread.join()

    def await_running(self) -> None:
        """Wait until it runs. Raises TimeoutError."""
        end = time.monotonic() + _SETTLE_SECONDS
        while not self.is_running():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} does not run")
            time.sleep(_LOOK_SECONDS)

    def is_running(self) -> bool:
        """Whether it has started and not ended since."""
        return self._first is not None and self._first in self.processes()

    def processes(self) -> list[int]:
        """The process that was started, first, and its children."""
        found = marked(self._mark) if self._mark else []
        return sorted(found, key=lambda pid: (pid != self._first, pid))

    def children(self) -> list[int]:
        """All but the one that was started."""
        return [pid for pid in self.processes() if pid != self._first]

    def signal(self, pid: int | None, number: signal.Signals) -> None:
        """Send a signal to one of its processes, or to the one that was started."""
        pid = pid or self._first
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _keep(self) -> None:
        while not self._closing.is_set():
            self._mark = uuid.uuid4().hex
            try:
                with self._start({_MARK: self._mark}) as port:
                    self._first = _oldest(marked(self._mark))
                    self.port = port
                    self.starts += 1
                    while self.is_running() and not self._closing.wait(_LOOK_SECONDS):
                        pass
                    self.port = None
            except (RuntimeError, OSError):
                # What it needs is not there yet; its log says so.
                self._closing.wait(_LOOK_SECONDS)
            self._first = None
            # A supervisor ends what is left of a program before it starts it anew.
            for pid in marked(self._mark):
                self.signal(pid, signal.SIGKILL)


def server(settings: Mapping[str, str], log: Path) -> Start:
    """The wallet's server, as an operator starts it."""
    return lambda mark: servers.served(servers.WALLET, {**settings, **mark}, ready="/healthz", log=log)


def command(*words: str, settings: Mapping[str, str], log: Path) -> Start:
    """A Python program that serves nothing."""

    @contextmanager
    def start(mark: Mapping[str, str]) -> Iterator[None]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("OBOLE_", "PROMETHEUS_"))}
        environment = {**ours, **settings, **mark}
        with Kept([sys.executable, "-m", *words], log=log, cwd=servers.ROOT, environment=environment):
            yield None

    return start


def marked(mark: str) -> list[int]:
    """The processes that carry a mark. Zombies have no environment any more, and are not among them."""
    wanted, found = f"{_MARK}={mark}".encode(), []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def children_of(pid: int) -> list[int]:
    """The children of a process, itself excluded."""
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                # The name of the program is in parentheses, and may hold anything.
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == pid and state != "Z":
                    found.append(int(folder.name))
    return found


def some(chance: random.Random, pids: list[int]) -> int | None:
    """One of them, or None."""
    return chance.choice(pids) if pids else None


def _oldest(pids: list[int]) -> int | None:
    """The one that started the others: the one whose parent is none of them."""
    inner = {child for pid in pids for child in children_of(pid)}
    return next((pid for pid in sorted(pids) if pid not in inner), None)

"""Kill a bank at every step: ``python -m tests.sandbox_bank.driver TEMPLATE INTO``.

For step 0 (no death), 1, 2, … a copy of the folder TEMPLATE is worked on in a forked child that sends itself
SIGKILL just before its n-th step, then by a second child to the end. Ends with the first step that was never
reached. A process of its own, because forking wants a process without threads.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox_bank import bank
from sandbox_bank.books import Books
from tests.sandbox_bank.conftest import MONDAY

#: Enough for the delay and the return that the template holds.
PASSES = 3


def main(template: Path, into: Path) -> None:
    """Leave one folder a step in INTO, named by its number."""
    step, died = 0, True
    while died:
        folder = into / f"{step:03d}"
        shutil.copytree(template, folder)
        died = _work_in_a_fork(folder, step) or step == 0
        _work_in_a_fork(folder, 0)
        step += 1


def _work_in_a_fork(folder: Path, step: int) -> bool:
    """True when the child died of SIGKILL, False when it came to the end; anything else is an error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(step)
            opened = bank.Bank(folder)
            for _ in range(PASSES):
                opened.work(MONDAY)
            status = 0
        finally:
            os._exit(status)
    outcome = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if outcome not in (0, -signal.SIGKILL):
        raise SystemExit(f"the bank failed in {folder}")
    return outcome != 0


def _arm(step: int) -> None:
    """Count commits, renames and writes outside any transaction, and die before the chosen one.

    Only these can be seen by another process, and just after one is just before the next: memory dies too.
    """
    taken = 0

    def tick() -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            tick()
            return real(*args)

        return wrapped

    class WatchedBooks(Books):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.db.set_trace_callback(self._watch)

        def _watch(self, statement: str) -> None:
            if not self.db.in_transaction and statement.startswith(("INSERT", "UPDATE", "DELETE")):
                tick()

        commit = deadly(Books.commit)

    setattr(bank, "Books", WatchedBooks)  # noqa: B010
    setattr(Path, "replace", deadly(Path.replace))  # noqa: B010


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

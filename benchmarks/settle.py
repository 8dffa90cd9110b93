"""One settlement in a process of its own, so that its memory is its own: ``python -m benchmarks.settle ADDRESS``.

Writes one JSON object: seconds by step, the process's peak memory in MiB, and how many payouts were made.
"""

import datetime as dt
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from benchmarks.scenes import IBAN
from settlement import business_day
from settlement.audit.checks import audit
from settlement.bank.profile import Profile
from settlement.files import bank_files
from settlement.files.place import place
from settlement.payouts.cut import cut
from settlement.runs import nightly
from wallet.ground import clock
from wallet.ground.db import Database

_FILE_LIMIT = 10_000
_DEBTOR: dict[str, str | bool | None] = {
    "debtor_name": "Obole benchmark",
    "debtor_iban": IBAN,
    "debtor_bic": None,
    "batch_booking": True,
}
_PROFILE = Profile(timezone=ZoneInfo("Europe/Paris"), cutoff=dt.time(15, 0))

_T = TypeVar("_T")


def main(address: str) -> None:
    """Close, balance, cut, place, render, then audit; see the module. Raises RuntimeError for books in disorder."""
    database, at, today = Database(address), clock.now(), clock.today()
    steps: dict[str, float] = {}

    def step(name: str, work: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        answer = work()
        steps[name] = time.perf_counter() - began
        return answer

    with database.read():
        before = _peak_mib()
    step("close", lambda: business_day.close(database, today, at=at))
    step("balance", lambda: business_day.balance(database))
    run = nightly.start(database, today, profile=_PROFILE, at=at)
    made = step("cut", lambda: cut(database, run, bank_fees_micros={"EUR": 380_000}, at=at))
    step("place", lambda: place(database, run, debtor=_DEBTOR, file_limit=_FILE_LIMIT, at=at))
    step("render", lambda: bank_files.render(database, run.id, profile=_PROFILE, at=at))
    settled = _peak_mib()
    wrong = [check.name for check in step("audit", lambda: audit(database)) if not check.ok]
    if wrong:
        raise RuntimeError(f"The books are in disorder: {'; '.join(wrong)}")
    memory = {"before": before, "run": settled, "audit": _peak_mib()}
    sys.stdout.write(json.dumps({"steps": steps, "memory_mib": memory, "payouts": made}) + "\n")


def _peak_mib() -> float:
    """The most memory this process ever had in RAM."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike ru_maxrss this does not begin with the peak of the process that started us.
        found = re.search(r"VmHWM:\s+([0-9]+) kB", status.read_text())
        if found:
            return int(found.group(1)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1])

"""One bank message imported in a process of its own, as the scheduler is: ``python -m benchmarks.take ADDRESS FILE``.

Writes a line once it is ready, waits for one, imports, and writes one JSON object: when it began and ended by the
machine's monotonic clock, and what became of the entries.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.statement import IBAN
from settlement.answers import reconciliation
from wallet.ground import clock
from wallet.ground.db import Database


def main(address: str, file: str) -> None:
    """Import the file; see the module."""
    database, data = Database(address), Path(file).read_bytes()
    with database.read():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    sys.stdin.readline()
    began = time.monotonic()
    imported = reconciliation.import_message(database, data, account_iban=IBAN, at=clock.now())
    ended = time.monotonic()
    told = {"began": began, "ended": ended, "matched": imported.matched, "breaks": len(imported.breaks)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

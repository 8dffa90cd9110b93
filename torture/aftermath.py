"""When it is calm again: open questions are asked until they are answered, the night comes, all is asked once more."""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture.journal import Journal, Kind, Operation
from torture.line import Line
from torture.scene import wait_for
from torture.sums import Tables

_AT_ONCE = 6
_PATIENCE_SECONDS = 180.0
_FINAL = ("booked", "rejected", "returned")


def resolve(journal: Journal, port: Callable[[], int | None]) -> None:
    """Send again what has no final answer, until it has one; what has none after minutes is left for the sums."""
    deadline = time.monotonic() + _PATIENCE_SECONDS

    def insist(operation: Operation, line: Line) -> None:
        while not journal.attempt(operation, line) and time.monotonic() < deadline:
            time.sleep(0.5)

    _each(journal.open_ends(), insist, port)


def look_up(journal: Journal, port: Callable[[], int | None]) -> int:
    """Ask for every yes once more, under its key; answers how many. What is answered otherwise is in the journal."""
    # A batch has no key of its own: its orders are asked for one by one.
    again = list(journal.yeses(*(kind for kind in Kind if kind is not Kind.BATCH)))

    def ask(operation: Operation, line: Line) -> None:
        attempts = operation.attempts
        deadline = time.monotonic() + _PATIENCE_SECONDS
        silent = sum(journal.unanswered.values())
        journal.attempt(operation, line)
        while sum(journal.unanswered.values()) > silent and time.monotonic() < deadline:
            silent = sum(journal.unanswered.values())
            time.sleep(0.5)
            journal.attempt(operation, line)
        operation.attempts = attempts

    _each(again, ask, port)
    return len(again)


def let_the_night_come(journal: Journal, line: Line, url: str, bank: Path, operator: str) -> None:
    """Have all money arrive and leave: top-ups are booked, both days are settled, and the bank has said so.

    Raises TimeoutError when the bank or the import never ends.
    """
    tables = Tables(url)
    announced = sum(1 for _ in journal.yeses(Kind.TOP_UP))

    def is_booked() -> bool:
        [(booked,)] = tables.rows("SELECT count(*) FROM transfers WHERE reason = 'top_up'")
        return bool(booked >= announced)

    wait_for(is_booked, what="not every top-up was booked", seconds=_PATIENCE_SECONDS)
    wait_for(lambda: ask_for_nights(line, operator), what="the nightly runs were not made", seconds=60)
    wait_for(lambda: _is_quiet(tables, bank), what="the bank's messages never ended", seconds=_PATIENCE_SECONDS)


def ask_for_nights(line: Line, operator: str) -> bool:
    """Have today settled, and tomorrow, which is where business goes on after that; answers whether both are."""
    # Over midnight tomorrow is another day.
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    bodies: tuple[dict[str, str], ...] = ({}, {"business_date": tomorrow.isoformat()})
    answers = [line.post("/v1/settlement/runs", body, token=operator) for body in bodies]
    return all(answer is not None and answer.is_yes for answer in answers)


def _is_quiet(tables: Tables, bank: Path) -> bool:
    """Whether each payment has its end, and nothing lies in a folder that somebody has yet to take."""
    states = {state for (state,) in tables.rows("SELECT DISTINCT state FROM bank_transactions")}
    [(unfinished,)] = tables.rows("SELECT count(*) FROM unfinished_imports")
    untold = Tables(f"sqlite:///{bank / 'bank.sqlite3'}").rows(
        """SELECT count(*) FROM entries WHERE statement IS NULL
           UNION ALL SELECT count(*) FROM answers WHERE state = 'owed'"""
    )
    waiting = [
        path for name in ("inbox", "outbox", "orders") for path in (bank / name).iterdir() if path.name[0] != "."
    ]
    return states <= set(_FINAL) and not unfinished and not any(count for (count,) in untold) and not waiting


def _each(
    operations: Iterable[Operation], ask: Callable[[Operation, Line], None], port: Callable[[], int | None]
) -> None:
    """Some at once, each over a line that nobody else uses meanwhile."""
    shares = [list(operations)[number::_AT_ONCE] for number in range(_AT_ONCE)] if operations else []

    def work(share: list[Operation]) -> None:
        line = Line(port)
        for operation in share:
            ask(operation, line)
        line.close()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Reads the results, so that what a thread raised is raised here.
        list(pool.map(work, shares))

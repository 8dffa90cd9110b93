"""Settlement of many redeemed vouchers: close, balance, cut, place, render, beside one bare GROUP BY."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import books
from benchmarks.databases import Place
from benchmarks.raw import Raw, timed
from benchmarks.results import Settled
from benchmarks.servers import ROOT
from wallet.ground.db import Database

_GROUP_BY = """SELECT credit_account_id, sum(amount_micros) FROM transfers
    WHERE reason = 'redeem' GROUP BY credit_account_id"""
_LONGEST_SECONDS = 1_800


def measure(
    place: Place, *, sizes: Sequence[int], merchants: int, progress: Callable[[str], None]
) -> Iterator[Settled]:
    """One settlement for each number of vouchers, in books of its own, in a process of its own."""
    for vouchers in sizes:
        progress(f"books with {vouchers} vouchers")
        address = place.create(f"books_{vouchers}")
        loading = _filling_seconds(address, vouchers, merchants)
        group_by = _group_by_seconds(address)
        progress(f"settlement of {vouchers} vouchers")
        seen = _settled(address)
        yield Settled(
            vouchers=vouchers,
            merchants=merchants,
            payouts=seen["payouts"],
            loading_seconds=loading,
            group_by_seconds=group_by,
            steps=seen["steps"],
            memory_mib=seen["memory_mib"],
        )


def _filling_seconds(address: str, vouchers: int, merchants: int) -> float:
    database = Database(address)
    try:
        return timed(lambda: books.fill(database, vouchers=vouchers, merchants=merchants))[0]
    finally:
        database.dispose()


def _group_by_seconds(address: str) -> float:
    """The better of two, so that both it and the settlement find the rows in memory."""
    database = Database(address)
    raw = Raw(database.url)

    def group_by() -> int:
        raw.execute(_GROUP_BY)
        return len(raw.fetchall())

    try:
        return min(timed(group_by)[0] for _ in range(2))
    finally:
        raw.close()
        database.dispose()


def _settled(address: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.settle", address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"The settlement failed: {done.stderr[-2_000:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen

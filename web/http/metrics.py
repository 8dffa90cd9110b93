"""Metrics in the Prometheus text format: requests as they come, business figures from the books at each
scrape.

Invariant: what the books know is never counted a second time here. Requests are counted in this process;
where ``PROMETHEUS_MULTIPROC_DIR`` names a folder (``gunicorn.conf.py`` does), a scrape of any worker adds up
all of them.
"""

import os
from collections.abc import Callable, Iterable, Iterator

from flask import Flask, current_app
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from wallet.books import ledger, safeguarding
from wallet.tables.books import AccountKind, DayState, business_days
from wallet.tables.purchases import VoucherState, vouchers
from wallet.tables.purses import purses

# Nobody asks when each counter was born, and it doubles what a scrape carries.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_EXTENSION = "obole_metrics"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
# The wallet's own accounts: their balances are a few index lookups, merchants' would be one each.
_CONTROL_ACCOUNTS = (
    AccountKind.HELD,
    AccountKind.IN_TRANSIT,
    AccountKind.FEE_INCOME,
    AccountKind.BANK,
    AccountKind.CARD_CLEARING,
    AccountKind.BANK_FEES,
    AccountKind.EQUITY,
    AccountKind.LOSSES,
)


Figures = Callable[[Connection], Iterable[Metric]]


class Requests:
    """The count and the latency of requests by method and route template, never by the path itself.

    ``others`` are figures of rooms that this package knows nothing of.
    """

    def __init__(self) -> None:
        self.others: list[Figures] = []
        self.registry = CollectorRegistry()
        self._count = Counter(
            "obole_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "obole_http_request_seconds",
            "Seconds to answer a request.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._count.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


def register(app: Flask) -> None:
    """Give an application its counters."""
    app.extensions[_EXTENSION] = Requests()


def also(app: Flask, figures: Figures) -> None:
    """Let each scrape of an application tell these figures too."""
    app.extensions[_EXTENSION].others.append(figures)


def requests() -> Requests:
    """The counters of the running application."""
    found: Requests = current_app.extensions[_EXTENSION]
    return found


def exposition(conn: Connection, *, is_writable: bool) -> bytes:
    """Everything, in the text format 0.0.4."""
    can_write = GaugeMetricFamily(
        "obole_writable", "Whether database and folders can be written to: 0 is an alarm.", value=int(is_writable)
    )
    counted = requests().registry
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    books = CollectorRegistry()
    others = (metric for figures in requests().others for metric in figures(conn))
    books.register(_Books([can_write, *_figures(conn), *others]))
    return generate_latest(counted) + generate_latest(books)


class _Books(Collector):
    def __init__(self, figures: list[Metric]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        return self._figures


def _figures(conn: Connection) -> Iterator[Metric]:
    yield from _purses(conn)
    yield from _held(conn)
    accounts = GaugeMetricFamily(
        "obole_account_balance_micros",
        "Balance of the wallet's own accounts, in millionths of the currency's unit; owed is positive.",
        labels=["account", "currency"],
    )
    for currency in ledger.currencies(conn):
        for kind in _CONTROL_ACCOUNTS:
            accounts.add_metric([kind.value, currency], ledger.balance_micros(conn, kind, currency))
    yield accounts
    shortfall = GaugeMetricFamily(
        "obole_shortfall_micros",
        "What is missing of what is owed to shoppers and merchants, in millionths of the currency's unit.",
        labels=["currency"],
    )
    for position in safeguarding.positions(conn):
        shortfall.add_metric([position.currency], position.short_micros)
    yield shortfall
    opened_at = conn.execute(
        select(business_days.c.opened_at).where(business_days.c.state == DayState.OPEN.value)
    ).scalar_one_or_none()
    day = GaugeMetricFamily("obole_business_day_opened_timestamp_seconds", "When the open business day was opened.")
    if opened_at is not None:
        day.add_metric([], opened_at.timestamp())
    yield day


def _purses(conn: Connection) -> Iterator[Metric]:
    count = GaugeMetricFamily("obole_purses", "Purses.", labels=["currency", "state"])
    balance = GaugeMetricFamily(
        "obole_purse_balance_micros",
        "What all purses hold, in millionths of the currency's unit.",
        labels=["currency", "state"],
    )
    by_state = (
        select(purses.c.currency, purses.c.state, func.count(), func.sum(purses.c.balance_micros))
        .group_by(purses.c.currency, purses.c.state)
        .order_by(purses.c.currency, purses.c.state)
    )
    for currency, state, purse_count, balance_micros in conn.execute(by_state):
        count.add_metric([currency, state], purse_count)
        balance.add_metric([currency, state], int(balance_micros))
    yield count
    yield balance


def _held(conn: Connection) -> Iterator[Metric]:
    count = GaugeMetricFamily("obole_vouchers_held", "Vouchers not yet redeemed.", labels=["currency"])
    held = (
        select(vouchers.c.currency, func.count())
        .where(vouchers.c.state == VoucherState.HELD.value)
        .group_by(vouchers.c.currency)
        .order_by(vouchers.c.currency)
    )
    for currency, voucher_count in conn.execute(held):
        count.add_metric([currency], voucher_count)
    yield count

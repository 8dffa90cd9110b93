"""Metrics of the bank border: what waits for a person.

Invariant: everything is read from the books at each scrape; nothing is counted a second time here.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from settlement.models import breaks, refused_messages


def figures(conn: Connection) -> Iterator[Metric]:
    """For `wallet.api.metrics`."""
    refused = select(func.count()).select_from(refused_messages).where(refused_messages.c.dismissed_at.is_(None))
    yield GaugeMetricFamily(
        "obole_bank_messages_in_quarantine",
        "Messages of the bank's that could not be imported and that nobody has dealt with.",
        value=conn.execute(refused).scalar_one(),
    )
    open_breaks = select(func.count()).select_from(breaks).where(breaks.c.resolved_at.is_(None))
    yield GaugeMetricFamily(
        "obole_breaks_open",
        "What the bank says and the books do not, not resolved.",
        value=conn.execute(open_breaks).scalar_one(),
    )

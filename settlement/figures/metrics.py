"""Metrics of the bank border: what waits for a person, and how the last audit ended.

Invariant: everything is read from the books at each scrape; nothing is counted a second time here. Nor are the books
recomputed for a scrape: it is told what the last audit that was kept found.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from settlement.audit import audits
from settlement.tables import breaks, refused_messages


def figures(conn: Connection) -> Iterator[Metric]:
    """For `web.http.metrics`."""
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
    yield from _audited(conn)


def _audited(conn: Connection) -> Iterator[Metric]:
    """A figure that is not there yet is left out: zero would be good news."""
    last, sound_at = audits.latest(conn), audits.last_sound_at(conn)
    failed = GaugeMetricFamily("obole_audit_failed_checks", "Checks of the last audit that failed.")
    audited = GaugeMetricFamily("obole_audit_last_timestamp_seconds", "When the books were last audited.")
    if last is not None:
        failed.add_metric([], last.failed)
        audited.add_metric([], last.audited_at.timestamp())
    sound = GaugeMetricFamily("obole_audit_last_ok_timestamp_seconds", "When the books were last found sound.")
    if sound_at is not None:
        sound.add_metric([], sound_at.timestamp())
    yield from (failed, audited, sound)

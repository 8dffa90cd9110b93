"""What monitoring sees of the settlement, beside the wallet's own figures (`wallet.api.metrics`).

Invariant: read from rows at each scrape, never counted here. The books are not recomputed for a scrape: it is told how
the last audit that was kept ended, and when.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.engine import Connection

from settlement import audits


def figures(conn: Connection) -> Iterator[Metric]:
    """How the last audit ended. A figure that is not there yet is left out: zero would be good news."""
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

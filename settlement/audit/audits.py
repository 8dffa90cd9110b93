"""Audits: the proof at the end of a night, kept, and people told when it fails.

Invariant: the proof only reads (`settlement.audit.checks`); how it ended is written afterwards, in a transaction of its
own and together with the letters about it. Operators get one letter for each set of contradicting rows, not one for
each night that it stands: the next comes when other rows contradict.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from settlement.audit import letters
from settlement.audit.checks import Check, audit
from settlement.tables import audit_findings, audits
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.ground.smtp import is_address
from wallet.tables.people import IdentityKind, identities

log = structlog.get_logger()


def prove(
    database: Database, *, origin: str, wallet_name: str, at: dt.datetime, business_date: dt.date | None = None
) -> list[Check]:
    """Audit the books, keep how it ended, and write to every operator if it failed in another way than before.

    ``business_date``: the day whose run it ends; None when a person asked. Answers every check, sound or not.
    """
    checks = audit(database, at=at)
    failed = [check for check in checks if not check.ok]
    if failed:
        log.error("audit failed", checks=[check.name for check in failed])
    with database.settle() as conn:
        before = latest(conn)
        audit_id = _keep(conn, checks, at, business_date)
        if failed and (before is None or _rows(conn, before.id) != _rows(conn, audit_id)):
            for operator in _operators(conn):
                letter = letters.audit_failed(
                    operator,
                    checks=[(check.name, [(row.subject, row.detail) for row in check.findings]) for check in failed],
                    at=at,
                    link=f"{origin}/console/audit",
                    wallet_name=wallet_name,
                )
                letter.put(conn, at=at)
    return checks


def latest(conn: Connection) -> Row[tuple[object, ...]] | None:
    """How the last audit that was kept ended: ``audited_at``, ``business_date``, ``checks``, ``failed``."""
    return conn.execute(select(audits).order_by(audits.c.id.desc()).limit(1)).one_or_none()


def after(conn: Connection, business_date: dt.date) -> Row[tuple[object, ...]] | None:
    """How the last audit at the end of this day's run came out, as `latest`."""
    mine = select(audits).where(audits.c.business_date == business_date)
    return conn.execute(mine.order_by(audits.c.id.desc()).limit(1)).one_or_none()


def listing(conn: Connection, *, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """The last audits that were kept, newest first."""
    return conn.execute(select(audits).order_by(audits.c.id.desc()).limit(limit)).all()


def findings(conn: Connection, audit_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """What contradicted an audit's checks, check by check: ``check_name``, ``subject``, ``detail``."""
    mine = audit_findings.c.audit_id == audit_id
    return conn.execute(select(audit_findings).where(mine).order_by(audit_findings.c.id)).all()


def last_sound_at(conn: Connection) -> dt.datetime | None:
    """When the books were last found sound."""
    found: dt.datetime | None = conn.execute(
        select(func.max(audits.c.audited_at)).where(audits.c.failed == 0)
    ).scalar_one()
    return found


def _keep(conn: Connection, checks: Sequence[Check], at: dt.datetime, business_date: dt.date | None) -> UUID:
    audit_id = new_id()
    failed = sum(not check.ok for check in checks)
    conn.execute(
        audits.insert().values(
            id=audit_id, business_date=business_date, audited_at=at, checks=len(checks), failed=failed
        )
    )
    rows = [
        {
            "id": new_id(),
            "audit_id": audit_id,
            "check_name": check.name[:200],
            "subject": subject[:200],
            "detail": detail[:500],
        }
        for check in checks
        for subject, detail in _named(check)
    ]
    if rows:
        conn.execute(audit_findings.insert(), rows)
    return audit_id


def _named(check: Check) -> Iterator[tuple[str, str]]:
    for finding in check.findings:
        yield finding.subject, finding.detail
    wrong = check.figures.get("wrong")
    if isinstance(wrong, int) and wrong > len(check.findings):
        yield "…", f"and {wrong - len(check.findings)} more"


def _rows(conn: Connection, audit_id: UUID) -> set[tuple[str, str]]:
    """The rows that contradict, without their figures: these move on by themselves, day by day."""
    return {(row.check_name, row.subject) for row in findings(conn, audit_id)}


def _operators(conn: Connection) -> Sequence[Row[tuple[object, ...]]]:
    rows = conn.execute(
        select(identities)
        .where(
            identities.c.kind == IdentityKind.OPERATOR.value,
            identities.c.activated_at.is_not(None),
            identities.c.ended_at.is_(None),
        )
        .order_by(identities.c.id)
    )
    return [row for row in rows if is_address(row.identifier)]

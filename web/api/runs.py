"""The settlement for its operator: run it, see what it would do and did, prove the books."""

import re
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, Row

from settlement import approvals, audit, audits, bank_files, business_day, forecast, nightly
from settlement.forecast import Preview
from wallet.api_keys import Caller
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import BankFileNotFound, BankNotConfigured, BusinessDateInvalid, RunNotFound
from wallet.ground.money import decimal_string
from wallet.tables.people import KeyKind
from web.api import schemas
from web.api.keys import when
from web.http import auth
from web.http.context import current
from web.http.operations import operation
from web.http.paging import page
from web.http.schemas import Page

XML = "application/xml"
_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{1,35}", re.ASCII)

blueprint = Blueprint("settlement", __name__, description="The nightly run and the proof.")


@operation(
    blueprint,
    "POST",
    "/v1/settlement/runs",
    callers=[KeyKind.OPERATOR],
    body=schemas.NewRun,
    body_required=False,
    answer=schemas.RunAsked,
    refuses=[BusinessDateInvalid, BankNotConfigured],
)
def run_settlement(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """Close, cut, render and submit a business day, or every day that is due, then audit the books; answers the run.

    Of several days it is the last one. How the audit came out is its ``audit``: if it failed, every operator has a
    letter, and `GET /v1/audit` names the rows.

    It needs no idempotency key: a business day is settled once, and running it again changes nothing; then ``settled``
    is empty. A day that is named is settled whatever the date is by now, so name the one that the preview shows.
    Where the wallet asks for approvals, the run stays *rendered* until enough operators have approved it.
    """
    obole = current()
    bank, at = nightly.bank_of(obole.settings), clock.now()
    with obole.database.write() as conn:
        # Noted before it begins: a run that is killed on its way was asked for all the same.
        auth.note(conn, caller, "run_asked", body["business_date"] or business_day.open_date(conn), at=at)
        before = nightly.states(conn)
    run, _ = nightly.settle(obole.database, bank, obole.settings, at=at, business_date=body["business_date"])
    if run is None:
        raise BusinessDateInvalid("No business day is due yet, and none was ever settled.")
    with obole.database.read() as conn:
        settled = [date.isoformat() for date in nightly.settled_since(conn, before)]
        return {**_run(conn, nightly.find(conn, run.id)), "settled": settled}


@operation(
    blueprint,
    "GET",
    "/v1/settlement/runs",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=schemas.RunList,
)
def list_runs(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """The runs, newest first."""
    with current().database.read() as conn:
        return page(
            "runs",
            query,
            UUID,
            lambda before, limit: nightly.listing(conn, before=before, limit=limit),
            _run_summary,
        )


@operation(
    blueprint,
    "GET",
    "/v1/settlement/runs/<uuid:run_id>",
    callers=[KeyKind.OPERATOR],
    answer=schemas.RunView,
    refuses=[RunNotFound],
)
def get_run(caller: Caller, run_id: UUID) -> dict[str, Any]:
    """One run, with what has become of its bank transactions since."""
    with current().database.read() as conn:
        return _run(conn, nightly.find(conn, run_id))


@operation(
    blueprint,
    "GET",
    "/v1/settlement/files/<message_id>",
    callers=[KeyKind.OPERATOR],
    answer={XML: {"type": "string", "description": "A pain.001.001.09."}},
    refuses=[BankFileNotFound],
)
def get_bank_file(caller: Caller, message_id: str) -> Response:
    """The exact bytes that the bank was sent."""
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise BankFileNotFound
    with current().database.read() as conn:
        file = bank_files.find(conn, message_id)
    if file.content is None:
        raise BankFileNotFound("This bank file is not rendered yet.")
    response = Response(file.content, content_type=XML)
    response.headers["Content-Disposition"] = f'attachment; filename="{message_id}.xml"'
    return response


@operation(
    blueprint,
    "GET",
    "/v1/settlement/preview",
    callers=[KeyKind.OPERATOR],
    answer=schemas.PreviewView,
    refuses=[BusinessDateInvalid],
)
def get_preview(caller: Caller) -> dict[str, Any]:
    """What a run would pay now, what it costs, and what the bank account must hold for it."""
    obole = current()
    with obole.database.read() as conn:
        date = business_day.open_date(conn)
        previews = forecast.preview(conn, obole.settings.bank_fees)
    return {
        "business_date": date.isoformat(),
        "execution_date": nightly.profile_of(obole.settings).execution_date(clock.now()).isoformat(),
        "currencies": [_preview(preview) for preview in previews],
    }


@operation(blueprint, "GET", "/v1/audit", callers=[KeyKind.OPERATOR], answer=schemas.AuditView)
def get_audit(caller: Caller) -> dict[str, Any]:
    """The proof of the books, recomputed now from their rows: each check with its figures, and the rows that
    contradict it. It is not kept; ``last_kept`` is what the last nightly run found."""
    database = current().database
    checks = audit.audit(database, at=clock.now())
    with database.read() as conn:
        last = audits.latest(conn)
    return {
        "ok": all(check.ok for check in checks),
        "checks": [_check(check) for check in checks],
        "last_kept": None if last is None else _kept(last),
    }


def _check(check: audit.Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "ok": check.ok,
        "currency": check.currency,
        "figures": check.figures,
        "findings": [{"subject": finding.subject, "detail": finding.detail} for finding in check.findings],
    }


def _kept(row: Row[Any]) -> dict[str, Any]:
    return {
        "audited_at": rfc3339(row.audited_at),
        "business_date": None if row.business_date is None else row.business_date.isoformat(),
        "checks": row.checks,
        "failed": row.failed,
    }


def _run_summary(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "business_date": row.business_date.isoformat(),
        "state": row.state,
        "started_at": rfc3339(row.started_at),
        "execution_date": row.execution_date.isoformat(),
    }


def _run(conn: Connection, row: Row[Any]) -> dict[str, Any]:
    audited = audits.after(conn, row.business_date)
    return {
        **_run_summary(row),
        "outcome": [
            {
                "kind": total.kind,
                "state": total.state,
                "currency": total.currency,
                "count": total._mapping["count"],  # a row is a tuple, and has a method of that name
                "amount": decimal_string(total.amount_micros, total.currency),
            }
            for total in nightly.outcome(conn, row.id)
        ],
        "files": [_file(file) for file in nightly.files(conn, row.id)],
        "files_sha256": approvals.files_sha256(conn, row.id),
        "approvals_missing": approvals.missing(conn, row.id, current().settings.approvals),
        "audit": None if audited is None else _kept(audited),
    }


def _file(row: Row[Any]) -> dict[str, Any]:
    return {
        "message_id": row.message_id,
        "currency": row.currency,
        "state": row.state,
        "transactions": row.transaction_count,
        "control_sum": decimal_string(row.control_sum_micros, row.currency),
        "execution_date": row.execution_date.isoformat(),
        "sha256": row.sha256,
        "submitted_at": when(row.submitted_at),
    }


def _preview(seen: Preview) -> dict[str, Any]:
    def written(micros: int) -> str:
        return decimal_string(micros, seen.currency)

    return {
        "currency": seen.currency,
        "payouts": {"count": seen.payouts, "amount": written(seen.payouts_micros)},
        "withdrawals": {"count": seen.withdrawals, "amount": written(seen.withdrawals_micros)},
        "own_payments": {"count": seen.own_payments, "amount": written(seen.own_payments_micros)},
        "commission": written(seen.commission_micros),
        "merchant_fees": written(seen.merchant_fees_micros),
        "bank_fees": written(seen.bank_fees_micros),
        "already_sent": written(seen.already_sent_micros),
        "needed": written(seen.needed_micros),
        "bank_balance": written(seen.bank_balance_micros),
        "waiting": [
            {"reason": reason.value, "merchants": count, "amount": written(seen.waiting_micros[reason])}
            for reason, count in sorted(seen.waiting.items())
        ],
    }

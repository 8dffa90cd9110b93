"""The settlement for its operator: run it, see what it would do and did, prove the books."""

import re
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields
from sqlalchemy.engine import Connection, Row

from settlement import business_day
from settlement.audit import audits
from settlement.audit.checks import Check, audit
from settlement.figures import forecast
from settlement.figures.forecast import Preview
from settlement.files import approvals, bank_files
from settlement.payouts.decide import WaitReason
from settlement.runs import nightly, runs
from settlement.tables import FileState, RunState, TransactionKind, TransactionState
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import BankFileNotFound, BankNotConfigured, BusinessDateInvalid, RunNotFound
from wallet.ground.money import decimal_string
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from web.api.keys import when
from web.http import auth
from web.http.context import current
from web.http.fields import (
    SHA256_PATTERN,
    Answer,
    Date,
    Page,
    Strict,
    count,
    currency_code,
    date,
    decimal,
    identity,
    instant,
    next_cursor,
    one_of,
    signed_decimal,
    text,
)
from web.http.operations import operation
from web.http.paging import page

_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{1,35}", re.ASCII)


class NewRun(Strict):
    """A business day to settle; every day that is due when left out."""

    business_date = Date(load_default=None)


class RunTotal(Answer):
    """A run's bank transactions of one kind, currency and state."""

    kind = fields.String(required=True, validate=one_of(TransactionKind))
    state = fields.String(required=True, validate=one_of(TransactionState))
    currency = currency_code()
    count = count()
    amount = decimal()


class BankFileView(Answer):
    """A bank file without its bytes; ``sha256`` is theirs."""

    message_id = text()
    currency = currency_code()
    state = fields.String(required=True, validate=one_of(FileState))
    transactions = count()
    control_sum = decimal()
    execution_date = date("When the bank is asked to pay.")
    sha256 = fields.String(required=True, allow_none=True, metadata={"pattern": SHA256_PATTERN})
    submitted_at = instant(allow_none=True)


class RunSummary(Answer):
    """The settlement of one business day."""

    id = identity()
    business_date = date()
    state = fields.String(required=True, validate=one_of(RunState))
    started_at = instant()
    execution_date = date("When the bank was to pay, as the run began; each file has the date that it asks for.")


class KeptAudit(Answer):
    """How an audit that was kept ended: that of the run of ``business_date``, or one asked for (null)."""

    audited_at = instant()
    business_date = date(allow_none=True)
    checks = count()
    failed = count()


class RunView(RunSummary):
    """The settlement of one business day: what became of its bank transactions, and its files.

    ``approvals_missing`` operators must still approve it. An approval covers the files as they are, ``files_sha256``:
    when one is made anew because its date has passed, they are to be approved again. ``audit``: how the proof at its
    end came out, null before there was one.
    """

    outcome = fields.List(fields.Nested(RunTotal), required=True)
    files = fields.List(fields.Nested(BankFileView), required=True)
    files_sha256 = fields.String(required=True, metadata={"pattern": SHA256_PATTERN})
    approvals_missing = count()
    audit = fields.Nested(KeptAudit, required=True, allow_none=True)


class RunAsked(RunView):
    """A run that was asked for.

    ``settled``: the business days that this call settled, or made the files of where they wait for approval. None when
    whatever was due was settled before: then nothing was done, and nobody was paid.
    """

    settled = fields.List(Date(), required=True)


class RunList(Answer):
    items = fields.List(fields.Nested(RunSummary), required=True)
    next_cursor = next_cursor()


class CountedAmount(Answer):
    """So many, adding up to so much."""

    count = count()
    amount = decimal()


class Waiting(Answer):
    """Merchants who wait for one reason, and what they are owed together."""

    reason = fields.String(required=True, validate=one_of(WaitReason))
    merchants = count()
    amount = signed_decimal()


class CurrencyPreview(Answer):
    """Tonight in one currency. ``needed`` is what the bank account must hold; ``bank_balance`` what the books say."""

    currency = currency_code()
    payouts = fields.Nested(CountedAmount, required=True)
    withdrawals = fields.Nested(CountedAmount, required=True)
    own_payments = fields.Nested(CountedAmount, required=True)
    commission = decimal()
    merchant_fees = decimal()
    bank_fees = decimal()
    already_sent = decimal()
    needed = decimal()
    bank_balance = signed_decimal()
    waiting = fields.List(fields.Nested(Waiting), required=True)


class PreviewView(Answer):
    """What a run of the open business day would do, if nothing else happens until then."""

    business_date = date()
    execution_date = date("When the bank would be asked to pay, now.")
    currencies = fields.List(fields.Nested(CurrencyPreview), required=True)


class FindingView(Answer):
    """A row that contradicts a check: its table and id, and what is wrong with it, in words for people."""

    subject = text()
    detail = text()


class CheckView(Answer):
    """One line of the proof. ``figures`` are amounts (decimal strings in ``currency``) or counts; ``findings`` the
    first rows that contradict it."""

    name = text()
    ok = fields.Boolean(required=True)
    currency = fields.String(required=True, allow_none=True, metadata={"pattern": "^[A-Z]{3}$"})
    figures = fields.Dict(required=True, metadata={"additionalProperties": {"type": ["string", "integer"]}})
    findings = fields.List(fields.Nested(FindingView), required=True)


class AuditView(Answer):
    """The proof: sound if every check is."""

    ok = fields.Boolean(required=True)
    checks = fields.List(fields.Nested(CheckView), required=True)
    last_kept = fields.Nested(KeptAudit, required=True, allow_none=True)


XML = "application/xml"

blueprint = Blueprint("settlement", __name__, description="The nightly run and the proof.")


@operation(
    blueprint,
    "POST",
    "/v1/settlement/runs",
    callers=[KeyKind.OPERATOR],
    body=NewRun,
    body_required=False,
    answer=RunAsked,
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
        before = runs.states(conn)
    run, _ = nightly.settle(obole.database, bank, obole.settings, at=at, business_date=body["business_date"])
    if run is None:
        raise BusinessDateInvalid("No business day is due yet, and none was ever settled.")
    with obole.database.read() as conn:
        settled = [date.isoformat() for date in runs.settled_since(conn, before)]
        return {**_run(conn, runs.find(conn, run.id)), "settled": settled}


@operation(
    blueprint,
    "GET",
    "/v1/settlement/runs",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=RunList,
)
def list_runs(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """The runs, newest first."""
    with current().database.read() as conn:
        return page(
            "runs",
            query,
            UUID,
            lambda before, limit: runs.listing(conn, before=before, limit=limit),
            _run_summary,
        )


@operation(
    blueprint,
    "GET",
    "/v1/settlement/runs/<uuid:run_id>",
    callers=[KeyKind.OPERATOR],
    answer=RunView,
    refuses=[RunNotFound],
)
def get_run(caller: Caller, run_id: UUID) -> dict[str, Any]:
    """One run, with what has become of its bank transactions since."""
    with current().database.read() as conn:
        return _run(conn, runs.find(conn, run_id))


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
    answer=PreviewView,
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


@operation(blueprint, "GET", "/v1/audit", callers=[KeyKind.OPERATOR], answer=AuditView)
def get_audit(caller: Caller) -> dict[str, Any]:
    """The proof of the books, recomputed now from their rows: each check with its figures, and the rows that
    contradict it. It is not kept; ``last_kept`` is what the last nightly run found."""
    database = current().database
    checks = audit(database, at=clock.now())
    with database.read() as conn:
        last = audits.latest(conn)
    return {
        "ok": all(check.ok for check in checks),
        "checks": [_check(check) for check in checks],
        "last_kept": None if last is None else _kept(last),
    }


def _check(check: Check) -> dict[str, Any]:
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
            for total in runs.outcome(conn, row.id)
        ],
        "files": [_file(file) for file in runs.files(conn, row.id)],
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

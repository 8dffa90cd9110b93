"""Proof: the audit of the books, the log of what operators did, and the keys that sign vouchers."""

from flask import Response, request
from flask.typing import ResponseReturnValue

from settlement.audit import audits
from settlement.audit.checks import Check
from wallet.ground import clock
from wallet.people import actions
from web.http.context import current
from web.pages.console.desk import blueprint, decided, note, seen, show
from web.pages.lists import PAGE, number, one_page
from web.pages.page import go, tell

# How many nights are looked back upon.
_KEPT = 14


@blueprint.get("/audit")
@seen
def books() -> ResponseReturnValue:
    """How the last audits ended, and the rows that contradicted the last one."""
    return _audit()


@blueprint.post("/audit")
@seen
def audit_now() -> ResponseReturnValue:
    """The proof, recomputed from the rows when it is asked for: it reads everything, and what it finds is kept."""
    obole = current()
    return _audit(
        audits.prove(
            obole.database, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=clock.now()
        )
    )


def _audit(checks: list[Check] | None = None) -> Response:
    with current().database.read() as conn:
        kept = audits.listing(conn, limit=_KEPT)
        found = audits.findings(conn, kept[0].id) if kept else []
    return show("audit.html", checks=checks, kept=kept, found=found)


@blueprint.get("/log")
@seen
def log() -> ResponseReturnValue:
    """What operators did, newest first, and whether the chain holds."""
    before = number("before")
    with current().database.read() as conn:
        shown, last = one_page(actions.listing(conn, before=before, limit=PAGE + 1))
        # Only when asked for: it reads every line.
        broken = actions.verify(conn) if "verify" in request.args else None
    return show(
        "log.html",
        lines=shown,
        verified="verify" in request.args,
        broken=broken,
        more=last.id if last else None,
        is_first=before is None,
    )


@blueprint.get("/keys")
@seen
def keys() -> ResponseReturnValue:
    """The keys that sign vouchers, newest first."""
    return show("keys.html", keys=current().keyring.listing()[::-1])


@blueprint.post("/keys/rotate")
@decided
def rotate() -> ResponseReturnValue:
    """Sign with a new key from now on; vouchers of the old ones stay good."""
    obole, at = current(), clock.now()
    kid = obole.keyring.rotate(now=at)
    with obole.database.write() as conn:
        note(conn, "key_rotated", kid, at=at)
    tell("Vouchers are signed with a new key.")
    return go("/console/keys")

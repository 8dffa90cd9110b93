"""Proof: the audit of the books, the log of what operators did, and the keys that sign vouchers."""

from flask import request
from flask.typing import ResponseReturnValue

from settlement import audit
from settlement.pages.console.desk import blueprint, decided, note, seen, show
from wallet import actions, clock
from wallet.api.context import current
from wallet.pages.lists import PAGE, number, one_page
from wallet.pages.page import go, tell


@blueprint.get("/audit")
@seen
def books() -> ResponseReturnValue:
    """The proof, recomputed from the rows when it is asked for: it reads everything."""
    checks = audit.audit(current().database) if "run" in request.args else None
    return show("audit.html", checks=checks, at=clock.now())


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

"""A shopper's purse, first page: what is in it and what was last bought with it; frozen and freed with one button.

A member of a family purse sees what is left of their own caps and their own purchases, and neither the balance nor
anything else.

Invariant: a page shows the purse of whoever is signed in, or says that there is none; nobody learns whose it is.
"""

from typing import Any
from uuid import UUID

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from wallet.funding import automatic
from wallet.ground import clock
from wallet.people import members
from wallet.purses import history, purses
from wallet.purses.history import Search
from wallet.tables.people import IdentityKind
from wallet.tables.purses import PurseState
from web.http.context import current
from web.pages.page import blueprint as page_blueprint
from web.pages.page import go, page, signed_in, tell, who
from web.pages.purse.frame import PAYERS, SHOPPER, mine, show

blueprint = page_blueprint("purse", __name__)
_LAST_LINES = 6


@blueprint.get("/purse")
@signed_in(*PAYERS)
def choose() -> ResponseReturnValue:
    """The one purse there is, or a choice."""
    found = who()
    if found.purse_id is not None:
        return go(f"/purse/{found.purse_id}")
    with current().database.read() as conn:
        mine_all = [] if found.shopper_id is None else purses.of_shopper(conn, found.shopper_id)
        views = [purses.view(conn, row.id) for row in mine_all]
    kept = [view for view in views if view.state is not PurseState.CLOSED] or views
    if len(kept) == 1:
        return go(f"/purse/{kept[0].id}")
    return page("purse/choose.html", views=views, visitor=found)


@blueprint.get("/purse/<uuid:purse_id>")
@signed_in(*PAYERS)
def overview(purse_id: UUID) -> ResponseReturnValue:
    """What there is, what is held, and the last lines; for a member, what is left of theirs."""
    at = clock.now()
    with current().database.read() as conn:
        view, found = mine(conn, purse_id), who()
        if found.kind is IdentityKind.MEMBER:
            member = members.find(conn, purse_id, found.identity_id, at=at)
            search = Search(member_id=found.identity_id)
            lines = history.lines(conn, purse_id, search, limit=_LAST_LINES)
            return show("purse/member.html", view, member=member, lines=lines, left=_left(member))
        lines = history.lines(conn, purse_id, limit=_LAST_LINES)
        return show("purse/overview.html", view, lines=lines, automatic=automatic.find(conn, purse_id), at=at)


@blueprint.get("/purse/<uuid:purse_id>/balance")
@signed_in(SHOPPER)
def balance(purse_id: UUID) -> Response:
    """What a page asks that waits for money."""
    with current().database.read() as conn:
        return jsonify({"balance": str(mine(conn, purse_id).balance)})


@blueprint.post("/purse/<uuid:purse_id>/freeze")
@signed_in(SHOPPER)
def freeze(purse_id: UUID) -> ResponseReturnValue:
    """Stop every payment, at once."""
    with current().database.write() as conn:
        purses.freeze(conn, mine(conn, purse_id).id)
    tell("The purse is frozen: nothing can be paid from it.")
    return go(f"/purse/{purse_id}")


@blueprint.post("/purse/<uuid:purse_id>/unfreeze")
@signed_in(SHOPPER, proved=True)
def unfreeze(purse_id: UUID) -> ResponseReturnValue:
    """Let the purse pay again; whoever holds a phone that is not theirs must not be able to."""
    with current().database.write() as conn:
        purses.unfreeze(conn, mine(conn, purse_id).id)
    tell("The purse pays again.")
    return go(f"/purse/{purse_id}")


@blueprint.get("/purse/<uuid:purse_id>/settings")
@signed_in(SHOPPER)
def settings(purse_id: UUID) -> ResponseReturnValue:
    """Everything that can be set, one line each."""
    with current().database.read() as conn:
        return show("purse/settings.html", mine(conn, purse_id), tab="settings")


def _left(member: Any) -> int | None:
    """What a member may still spend today, in micros; None where nothing bounds them."""
    if member.per_day_micros is None:
        return None
    return max(0, int(member.per_day_micros) - int(member.spent_today_micros))

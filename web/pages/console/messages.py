"""Messages: what the bank sent and what became of each of its words."""

from uuid import UUID

from flask import abort, request
from flask.typing import ResponseReturnValue

from settlement.answers import tellings
from web.http.context import current
from web.pages.console.desk import blueprint, seen, show
from web.pages.lists import PAGE, beyond, one_page


@blueprint.get("/messages")
@seen
def messages() -> ResponseReturnValue:
    """What the bank sent and was imported, newest first."""
    before = beyond()
    with current().database.read() as conn:
        shown, last = one_page(tellings.messages(conn, before=before, limit=PAGE + 1))
    return show("messages.html", messages=shown, more=last.id if last else None, is_first=before is None)


@blueprint.get("/messages/<uuid:message_id>")
@seen
def one_message(message_id: UUID) -> ResponseReturnValue:
    """One message: its statements, and what became of each of its entries, in the bank's order."""
    after = _after()
    with current().database.read() as conn:
        found = tellings.message(conn, message_id)
        shown, last = one_page(tellings.entries(conn, message_id, after=after, limit=PAGE + 1))
        told = tellings.statements_of(conn, message_id)
    return show("message.html", message=found, statements=told, entries=shown, more=last.id if last else None)


def _after() -> UUID | None:
    text = request.args.get("after")
    try:
        return UUID(text) if text else None
    except ValueError:
        abort(404)

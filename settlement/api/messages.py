"""The bank's messages for the operator's programs: hand one in, see which could not be imported, try those again."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from sqlalchemy.engine import Connection, Row

from settlement import nightly, quarantine, receiving, schemas, xml
from settlement.imports import Imported
from settlement.receiving import Received
from wallet import clock
from wallet.api import auth
from wallet.api.context import current
from wallet.api.operations import operation
from wallet.api.paging import page
from wallet.api_keys import Caller
from wallet.clock import rfc3339
from wallet.errors import (
    BankMessageFailed,
    BankMessageInvalid,
    BankNotConfigured,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from wallet.models import KeyKind
from wallet.schemas import Page

XML = "application/xml"
ZIP = "application/zip"
# RFC 7303 section 9.2: text/xml is the same as application/xml.
_MESSAGE_TYPES = (XML, "text/xml", ZIP)

blueprint = Blueprint("messages", __name__, description="What the bank says, and what of it could not be imported.")


@operation(
    blueprint,
    "POST",
    "/v1/settlement/statements",
    callers=[KeyKind.OPERATOR],
    answer=schemas.ImportedView,
    refuses=[UnsupportedMediaType, PayloadTooLarge, BankMessageInvalid, BankMessageFailed, BankNotConfigured],
    requestBody={
        "required": True,
        "description": "A pain.002, camt.053 or camt.054, or a ZIP of such.",
        "content": {media_type: {"schema": {"type": "string"}} for media_type in _MESSAGE_TYPES},
    },
)
def import_statement(caller: Caller) -> dict[str, Any]:
    """Import what the bank says: each document as a whole or not at all. The same again changes nothing.

    A document that is refused is kept in quarantine, with its bytes and the reason, and the others of its file are
    imported all the same: ``documents`` says of each what became of it. Only when none was imported is the refusal
    the answer.
    """
    if request.mimetype not in _MESSAGE_TYPES:
        raise UnsupportedMediaType(f"The body must be {XML} or {ZIP}.")
    request.max_content_length = xml.MAX_BYTES
    obole = current()
    bank, at = nightly.bank_of(obole.settings), clock.now()
    received = receiving.receive(obole.database, bank, request.get_data(cache=False), name="sent over HTTP", at=at)
    imported = [document.imported for document in received if document.imported is not None]
    if not imported:
        raise received[0].refusal or BankMessageInvalid
    news = [each for each in imported if not each.seen_before]
    if news:
        with obole.database.write() as conn:
            for each in news:
                auth.note(conn, caller, "statement_imported", each.message_id, each.kind.value, at=at)
    return _told(received)


@operation(
    blueprint,
    "GET",
    "/v1/settlement/quarantine",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=schemas.RefusedMessageList,
)
def list_quarantine(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """The messages that could not be imported and that nobody has dealt with, newest first."""
    with current().database.read() as conn:
        return page(
            "quarantine",
            query,
            UUID,
            lambda before, limit: quarantine.newest(conn, before=before, limit=limit),
            _refused,
        )


@operation(
    blueprint,
    "POST",
    "/v1/settlement/quarantine/<uuid:message_id>/retry",
    callers=[KeyKind.OPERATOR],
    answer=schemas.ImportedView,
    refuses=[NotFound, BankMessageInvalid, BankMessageFailed, BankNotConfigured],
)
def retry_message(caller: Caller, message_id: UUID) -> dict[str, Any]:
    """Import a message again, after an upgrade perhaps; it is let go when all of it was imported."""
    obole, at = current(), clock.now()

    def noted(conn: Connection, imported: Sequence[Imported]) -> None:
        auth.note(conn, caller, "message_imported", message_id, receiving.summary(imported), at=at)

    imported = receiving.retry(obole.database, nightly.bank_of(obole.settings), message_id, at=at, note=noted)
    return _told([Received(str(message_id), imported=each) for each in imported])


def _told(received: Sequence[Received]) -> dict[str, Any]:
    whole = receiving.together([document.imported for document in received if document.imported is not None])
    return {**_imported(whole), "documents": [_document(document) for document in received]}


def _imported(imported: Imported) -> dict[str, Any]:
    return {
        "kind": imported.kind.value,
        "message_id": imported.message_id,
        "seen_before": imported.seen_before,
        "matched": imported.matched,
        "statuses": imported.statuses,
        "breaks": [kind.value for kind in imported.breaks],
    }


def _document(document: Received) -> dict[str, Any]:
    refusal = document.refusal
    return {
        "imported": None if document.imported is None else _imported(document.imported),
        "refused": None if refusal is None else {"code": refusal.code, "detail": refusal.detail},
    }


def _refused(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "reason": row.reason,
        "size": row.size,
        "sha256": row.sha256,
        "refused_at": rfc3339(row.refused_at),
    }

"""The bank's messages for the operator's programs: hand one in, see what became of each entry, and of the refused."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import fields
from sqlalchemy.engine import Connection, Row

from settlement.answers import quarantine, receiving, tellings
from settlement.answers.imports import Imported
from settlement.answers.receiving import Received
from settlement.answers.tellings import Telling
from settlement.bank.formats import xml
from settlement.runs import nightly
from settlement.tables import BreakKind, EntryMatch, MessageKind
from wallet.ground import clock
from wallet.ground.clock import rfc3339
from wallet.ground.errors import (
    BankMessageFailed,
    BankMessageInvalid,
    BankNotConfigured,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from wallet.ground.money import decimal_string
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from web.api.breaks import ShareView, share
from web.http import auth
from web.http.context import current
from web.http.fields import (
    SHA256_PATTERN,
    Answer,
    Page,
    count,
    date,
    identity,
    instant,
    next_cursor,
    one_of,
    signed_decimal,
    text,
)
from web.http.operations import operation
from web.http.paging import page


class ImportedDocument(Answer):
    """What a bank message did. ``seen_before``: it told nothing new."""

    kind = fields.String(required=True, validate=one_of(MessageKind))
    message_id = text()
    seen_before = fields.Boolean(required=True)
    matched = count()
    statuses = count()
    breaks = fields.List(fields.String(validate=one_of(BreakKind)), required=True)


class RefusedDocument(Answer):
    """Why a bank message was not imported; it is kept in quarantine. ``code`` is one of the errors."""

    code = fields.String(required=True)
    detail = fields.String(required=True)


class ReceivedDocument(Answer):
    """What became of one document of a file: one of the two is null."""

    imported = fields.Nested(ImportedDocument, required=True, allow_none=True)
    refused = fields.Nested(RefusedDocument, required=True, allow_none=True)


class ImportedView(ImportedDocument):
    """What a file from the bank did: its documents one by one, and what was imported added up, under the first one's
    ``kind`` and ``message_id``."""

    documents = fields.List(fields.Nested(ReceivedDocument), required=True)


class RefusedMessage(Answer):
    """A message of the bank's that could not be imported; ``size`` is in bytes."""

    id = identity()
    name = fields.String(required=True, metadata={"description": "What its file was called."})
    reason = fields.String(required=True)
    size = count()
    sha256 = fields.String(required=True, metadata={"pattern": SHA256_PATTERN})
    refused_at = instant()


class RefusedMessageList(Answer):
    items = fields.List(fields.Nested(RefusedMessage), required=True)
    next_cursor = next_cursor()


class MessageView(Answer):
    """A message of the bank's; ``message_id`` is its own id of it, ``name`` what its file was called."""

    id = identity()
    kind = fields.String(required=True, validate=one_of(MessageKind))
    message_id = text()
    name = fields.String(required=True, allow_none=True)
    imported_at = instant()
    is_done = fields.Boolean(required=True)
    entries = count()
    open_breaks = count()


class MessageList(Answer):
    items = fields.List(fields.Nested(MessageView), required=True)
    next_cursor = next_cursor()


class EntryView(Answer):
    """A word of the bank's: ``entry`` of its ``statement_id``, and what it ``became``.

    ``first_told_by`` is the entry that it tells again, and ``first_told_in`` the message that has that.
    """

    id = identity()
    kind = fields.String(required=True, validate=one_of(MessageKind))
    statement_id = text()
    page = fields.String(required=True, allow_none=True)
    entry = count()
    amount = signed_decimal()
    currency = fields.String(required=True, metadata={"pattern": "^[A-Z]{3}$"})
    booking_date = date(allow_none=True)
    value_date = date(allow_none=True)
    counterparty_name = fields.String(required=True, allow_none=True)
    counterparty_iban = fields.String(required=True, allow_none=True)
    text = fields.String(required=True)
    bank_reference = fields.String(required=True, allow_none=True)
    end_to_end_id = fields.String(required=True, allow_none=True)
    became = fields.String(required=True, validate=one_of(EntryMatch))
    shares = fields.List(fields.Nested(ShareView), required=True)
    transaction_id = identity(allow_none=True)
    file = fields.String(required=True, allow_none=True)
    first_told_by = identity(allow_none=True)
    first_told_in = identity(allow_none=True)
    break_id = identity(allow_none=True)


class EntryList(Answer):
    items = fields.List(fields.Nested(EntryView), required=True)
    next_cursor = next_cursor()


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
    most_body_bytes=xml.MAX_BYTES,
    answer=ImportedView,
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
    answer=RefusedMessageList,
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
    answer=ImportedView,
    refuses=[NotFound, BankMessageInvalid, BankMessageFailed, BankNotConfigured],
)
def retry_message(caller: Caller, message_id: UUID) -> dict[str, Any]:
    """Import a message again, after an upgrade perhaps; it is let go when all of it was imported."""
    obole, at = current(), clock.now()

    def noted(conn: Connection, imported: Sequence[Imported]) -> None:
        auth.note(conn, caller, "message_imported", message_id, receiving.summary(imported), at=at)

    imported = receiving.retry(obole.database, nightly.bank_of(obole.settings), message_id, at=at, note=noted)
    return _told([Received(str(message_id), imported=each) for each in imported])


@operation(
    blueprint,
    "GET",
    "/v1/settlement/messages",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=MessageList,
)
def list_messages(caller: Caller, query: dict[str, Any]) -> dict[str, Any]:
    """What the bank sent and was imported, newest first."""
    with current().database.read() as conn:
        return page(
            "messages",
            query,
            UUID,
            lambda before, limit: tellings.messages(conn, before=before, limit=limit),
            _message,
        )


@operation(
    blueprint,
    "GET",
    "/v1/settlement/messages/<uuid:bank_message_id>/entries",
    callers=[KeyKind.OPERATOR],
    query=Page,
    answer=EntryList,
    refuses=[NotFound],
)
def list_entries(caller: Caller, bank_message_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """What became of each entry of a message, in the bank's order. A status report has none."""
    with current().database.read() as conn:
        return page(
            f"entries of {bank_message_id}",
            query,
            UUID,
            lambda after, limit: tellings.entries(conn, bank_message_id, after=after, limit=limit),
            _entry,
        )


def _message(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "message_id": row.message_id,
        "name": row.name,
        "imported_at": rfc3339(row.imported_at),
        "is_done": row.stage is None,
        "entries": row.entries,
        "open_breaks": row.open_breaks,
    }


def _entry(told: Telling) -> dict[str, Any]:
    word = told.word
    return {
        "id": str(told.id),
        "kind": word.kind,
        "statement_id": word.told_in,
        "page": word.page,
        "entry": word.entry_index + 1,
        "amount": decimal_string(word.amount_micros, word.currency),
        "currency": word.currency,
        "booking_date": _iso(word.booking_date),
        "value_date": _iso(word.value_date),
        "counterparty_name": word.counterparty_name,
        "counterparty_iban": word.counterparty_iban,
        "text": word.text,
        "bank_reference": word.bank_reference,
        "end_to_end_id": word.end_to_end_id,
        "became": told.became.value,
        "shares": [share(owner, micros, word.currency) for owner, micros in told.shares],
        "transaction_id": None if told.payment is None else str(told.payment.id),
        "file": told.file,
        "first_told_by": None if told.first is None else str(told.first.id),
        "first_told_in": None if told.first is None else str(told.first.message_id),
        "break_id": None if told.found is None else str(told.found.id),
    }


def _iso(date: dt.date | None) -> str | None:
    return None if date is None else date.isoformat()


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

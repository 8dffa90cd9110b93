"""What the bank says: imported, put aside, tried again, looked at."""

import datetime as dt
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy.engine import Connection

from cli.settlement import settlement
from cli.words import JSON, note_action, say, says_no
from settlement import scheduler
from settlement.answers import quarantine, receiving, tellings
from settlement.answers.imports import Imported
from settlement.answers.receiving import Received
from settlement.answers.tellings import Telling
from settlement.bank.formats.xml import MAX_BYTES
from settlement.runs import nightly
from wallet.ground import clock
from wallet.ground.errors import (
    BankMessageFailed,
    BankMessageInvalid,
    NotFound,
)
from wallet.ground.money import decimal_string
from web.http.context import current

_ENTRIES_AT_ONCE = 200


@settlement.command("import")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@JSON
@says_no
def _import(files: tuple[Path, ...], as_json: bool) -> None:
    """Import the bank's messages: FILES, or all that wait in the inbox.

    Each file has its line, one that is refused stops none of the others and is kept in quarantine. Status 1 if any was.
    """
    bank, database = nightly.bank_of(current().settings), current().database
    if not files:
        report = scheduler.collect(database, bank)
        say(as_json, **report)
        if report["refused"]:
            raise click.exceptions.Exit(1)
        return
    all_well = True
    for file in files:
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        except OSError as error:
            received = [Received(file.name, refusal=BankMessageInvalid(f"It cannot be read: {error.strerror}."))]
        else:
            received = receiving.receive(database, bank, content, name=file.name, at=clock.now())
        all_well &= _say_received(file.name, received, as_json)
    if not all_well:
        raise click.exceptions.Exit(1)


@settlement.command("quarantine")
@JSON
@says_no
def _quarantine(as_json: bool) -> None:
    """The bank's messages that could not be imported, and why. Status 1 if there is any."""
    with current().database.read() as conn:
        messages = quarantine.listing(conn)
    for message in messages:
        say(
            as_json,
            id=str(message.id),
            name=message.name,
            reason=message.reason,
            bytes=message.size,
            refused_at=clock.rfc3339(message.refused_at),
            sha256=message.sha256,
        )
    if messages:
        raise click.exceptions.Exit(1)


@settlement.command("retry")
@click.argument("message_ids", type=click.UUID, nargs=-1)
@JSON
@says_no
def _retry(message_ids: tuple[UUID, ...], as_json: bool) -> None:
    """Import messages again that are in quarantine: MESSAGE_IDS, or all. Status 1 if any is still refused."""
    bank, database, at = nightly.bank_of(current().settings), current().database, clock.now()
    with database.read() as conn:
        chosen = message_ids or tuple(message.id for message in quarantine.listing(conn))
    all_well = True
    for message_id in chosen:
        note = functools.partial(_note_imported, message_id=message_id, at=at)
        try:
            imported = receiving.retry(database, bank, message_id, at=at, note=note)
        except (BankMessageInvalid, BankMessageFailed, NotFound) as refusal:
            received = [Received(str(message_id), refusal=refusal)]
        else:
            received = [Received(str(message_id), imported=each) for each in imported]
        all_well &= _say_received(str(message_id), received, as_json)
    if not all_well:
        raise click.exceptions.Exit(1)


@settlement.command("dismiss")
@click.argument("message_id", type=click.UUID)
@click.option("--why", required=True, help="Why it need not be imported; kept with the message.")
@says_no
def _dismiss(message_id: UUID, why: str) -> None:
    """Let a message in quarantine go without importing it."""
    at = clock.now()
    with current().database.write() as conn:
        quarantine.dismiss(conn, message_id, why, at=at)
        note_action(conn, "message_dismissed", message_id, why, at)


@settlement.command("messages")
@click.option("--limit", default=20, show_default=True)
@JSON
@says_no
def _messages(limit: int, as_json: bool) -> None:
    """What the bank sent and was imported, newest first."""
    with current().database.read() as conn:
        found = tellings.messages(conn, before=None, limit=limit)
    for row in found:
        say(
            as_json,
            id=str(row.id),
            kind=row.kind,
            message_id=row.message_id,
            name=row.name,
            imported_at=clock.rfc3339(row.imported_at),
            entries=row.entries,
            open_breaks=row.open_breaks,
        )


@settlement.command("entries")
@click.argument("message_id", type=click.UUID)
@JSON
@says_no
def _entries(message_id: UUID, as_json: bool) -> None:
    """What became of each entry of a message, in the bank's order."""
    after = None
    while True:
        with current().database.read() as conn:
            page = tellings.entries(conn, message_id, after=after, limit=_ENTRIES_AT_ONCE)
        for each in page:
            say(as_json, **_entry(each))
        if len(page) < _ENTRIES_AT_ONCE:
            return
        after = page[-1].id


def _entry(told: Telling) -> dict[str, Any]:
    word = told.word
    return {
        "id": str(told.id),
        "statement": word.told_in,
        "entry": word.entry_index + 1,
        "amount": decimal_string(word.amount_micros, word.currency),
        "currency": word.currency,
        "text": word.text,
        "became": told.became.value,
        "told_first_in": None if told.first is None else f"{told.first.kind} {told.first.told_in}",
        "whose": [f"{owner.id} {decimal_string(micros, word.currency)}" for owner, micros in told.shares],
        "payment": None if told.payment is None else str(told.payment.id),
        "break_id": None if told.found is None else str(told.found.id),
    }


def _note_imported(conn: Connection, imported: Sequence[Imported], *, message_id: UUID, at: dt.datetime) -> None:
    note_action(conn, "message_imported", message_id, receiving.summary(imported), at)


def _say_received(name: str, received: Sequence[Received], as_json: bool) -> bool:
    """What became of a file, in a line for each document in it; answers whether all of it was imported."""
    refused = [(document.name, document.refusal) for document in received if document.refusal is not None]
    if as_json:
        imported = [document.imported for document in received if document.imported is not None]
        whole = receiving.together(imported) if imported else None
        facts = {
            "file": quarantine.readable(name),
            "kind": whole.kind.value if whole else None,
            "seen_before": whole.seen_before if whole else False,
            "matched": whole.matched if whole else 0,
            "statuses": whole.statuses if whole else 0,
            "breaks": [kind.value for kind in whole.breaks] if whole else [],
            "refused": [
                {"document": quarantine.readable(document), "code": refusal.code, "reason": refusal.detail}
                for document, refusal in refused
            ],
        }
        click.echo(json.dumps(facts))
        return not refused
    for document in received:
        if document.imported is not None:
            click.echo(f"{document.name}: {_did(document.imported)}")
        elif document.refusal is not None:
            click.echo(
                f"{quarantine.readable(document.name)}: {document.refusal.detail} [{document.refusal.code}]", err=True
            )
    return not refused


def _did(imported: Imported) -> str:
    said = [imported.kind.value, *(["seen before"] if imported.seen_before else [])]
    said += [f"{imported.matched} matched"] if imported.matched else []
    said += [f"{imported.statuses} status{'es' if imported.statuses > 1 else ''}"] if imported.statuses else []
    said += [f"breaks: {', '.join(kind.value for kind in imported.breaks)}"] if imported.breaks else []
    return ", ".join(said)

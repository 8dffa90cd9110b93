"""Receiving: the one way in for what the bank says, be it found in its folder or handed in by a person.

Invariant: one message, whatever is in it, never stops the next. Each document of a file is imported by itself; one
that cannot be is put into quarantine, whole, with the reason, whatever went wrong. Only a database that does not
answer is no fault of the message: then nothing is kept, and who brought it brings it again.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from uuid import UUID

import structlog
from sqlalchemy.engine import Connection

from settlement.answers import quarantine, reconciliation
from settlement.answers.imports import Imported
from settlement.bank.formats import envelope
from settlement.runs.nightly import Bank
from wallet.ground.db import Database
from wallet.ground.errors import BankMessageFailed, BankMessageInvalid, NotFound, OboleError, Unavailable

_REFUSALS = (BankMessageInvalid, BankMessageFailed)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one document: either it was ``imported``, or the ``refusal`` says why not."""

    name: str
    imported: Imported | None = None
    refusal: OboleError | None = None


def receive(
    database: Database, bank: Bank, content: bytes, *, name: str, at: dt.datetime, flaw: str | None = None
) -> list[Received]:
    """Import what a file holds; answers what became of each document in it, of which there is at least one.

    What cannot be imported is in quarantine afterwards. ``flaw`` is what is wrong with the file, if it cannot be read.
    Raises `Unavailable` when the database does not answer; the same again is safe, whatever was done before.
    """
    name = quarantine.readable(name)
    try:
        documents = _documents(content, name)
    except _REFUSALS as refusal:
        return [_kept(database, content, name, refusal, flaw, at)]
    received: list[Received] = []
    for number, document in enumerate(documents, start=1):
        its_name = name if len(documents) == 1 else f"{name} #{number}"
        try:
            imported = _imported(database, bank, document, its_name, at)
        except _REFUSALS as refusal:
            received.append(_kept(database, document, its_name, refusal, flaw, at))
            continue
        log.info("imported", name=its_name, matched=imported.matched, breaks=len(imported.breaks))
        received.append(Received(its_name, imported=imported))
        _let_go_of_beginnings(database, document, its_name, at)
    if content != documents[0] and not any(each.refusal for each in received):
        _let_go_of_beginnings(database, content, name, at)
    return received


def together(imported: Sequence[Imported]) -> Imported:
    """What several documents did, added up, under the kind and the id of the first; there is at least one."""
    return reduce(Imported.and_then, imported)


def summary(imported: Sequence[Imported]) -> str:
    """What several documents did, in words for the log of actions."""
    return "; ".join(f"{each.kind.value}: {each.matched} matched, {len(each.breaks)} breaks" for each in imported)


def retry(
    database: Database,
    bank: Bank,
    message_id: UUID,
    *,
    at: dt.datetime,
    note: Callable[[Connection, Sequence[Imported]], None] = lambda _conn, _imported: None,
) -> list[Imported]:
    """Import a message in quarantine again, after an upgrade perhaps, and let it go when that succeeds.

    Answers what each document in it did. ``note`` is called in the transaction that lets it go. Raises `NotFound`
    unless it still waits, or `BankMessageInvalid` or `BankMessageFailed` as before. Killed in between, it is imported
    and still waits; trying again then changes nothing but that.
    """
    with database.read() as conn:
        message = quarantine.find(conn, message_id)
    if message.dismissed_at is not None:
        raise NotFound("No refused message that waits has this id.")
    documents = _documents(message.content, message.name)
    imported = [_imported(database, bank, document, message.name, at) for document in documents]
    with database.write() as conn:
        quarantine.dismiss(conn, message_id, "imported", at=at)
        quarantine.let_go_of_beginnings(conn, message.content, name=message.name, at=at)
        note(conn, imported)
    return imported


def _let_go_of_beginnings(database: Database, whole: bytes, name: str, at: dt.datetime) -> None:
    with database.read() as conn:
        any_waits = bool(quarantine.newest(conn, before=None, limit=1))
    if not any_waits:
        return
    with database.write() as conn:
        quarantine.let_go_of_beginnings(conn, whole, name=name, at=at)


def _documents(content: bytes, name: str) -> Sequence[bytes]:
    with _refusing(name):
        documents = envelope.documents(content)
    if not documents:
        raise BankMessageInvalid("The file holds no message.")
    return documents


def _imported(database: Database, bank: Bank, document: bytes, name: str, at: dt.datetime) -> Imported:
    with _refusing(name):
        return reconciliation.import_message(
            database, document, account_iban=bank.iban, other_ids=bank.other_ids, name=name, at=at
        )


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Whatever a bank may write one day must not stop the night: every failure in here becomes a refusal."""
    try:
        yield
    except (BankMessageInvalid, Unavailable):
        raise
    except Exception as error:
        log.exception("importing a bank message failed", name=name)
        raise BankMessageFailed(
            f"Importing it failed ({type(error).__name__}): a fault of this system, not of the bank. "
            "Import it again after an upgrade; the log has the details."
        ) from error


def _kept(
    database: Database, document: bytes, name: str, refusal: OboleError, flaw: str | None, at: dt.datetime
) -> Received:
    reason = " ".join(filter(None, (flaw, refusal.detail)))
    # Why is in the quarantine: what it quotes of a message has no place in a log.
    log.error("bank message refused", name=name, code=refusal.code)
    with database.write() as conn:
        quarantine.put(conn, name=name, content=document, reason=reason, at=at)
    return Received(name, refusal=type(refusal)(reason))

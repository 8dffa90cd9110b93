"""Tellings: what the bank said, message by message, and what became of each of its words.

Invariant: reads only. Nothing that the bank said is without a row, and no row is without words for what became of it:
what it booked and for whom, which word it tells again, which break it is, or why it moved nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.engine import Connection, Row

from settlement.answers import owners
from settlement.answers.owners import Owner
from settlement.tables import (
    EntryMatch,
    bank_messages,
    bank_transactions,
    breaks,
    entry_parts,
    own_payments,
    statement_entries,
    statements,
    unfinished_imports,
)
from wallet.ground.errors import NotFound
from wallet.tables.books import AccountKind, accounts, transfers

# So many tellings of one fact are shown.
_MOST = 50
_OWNED = [AccountKind.PURSE.value, AccountKind.PAYABLE.value]
_PAYMENT, _FILE = "payment ", "file "
_e, _s = statement_entries.c, statements.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A word of the bank's, and what became of it.

    ``word``: the entry, with ``kind``, ``told_in``, ``page`` and ``sequence_number`` of the statement that has it, and
    ``message_id``, ``file_name`` and ``imported_at`` of its message. ``first``: the word that it tells again.
    ``shares``: who got it or lost it, and how much. ``payment``: ours that it is about; ``file``: or a whole file.
    ``found``: its break, the open one if there is. ``sent_back``: the payment that sends it back, with its ``state``.
    """

    word: Row[Any]
    became: EntryMatch
    first: Row[Any] | None
    shares: tuple[tuple[Owner, int], ...]
    payment: Row[Any] | None
    file: str | None
    found: Row[Any] | None
    sent_back: Row[Any] | None

    @property
    def id(self) -> UUID:
        """The entry's."""
        found: UUID = self.word.id
        return found


def messages(conn: Connection, *, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """What the bank sent and was imported, newest first, from below ``before``; columns as `message`."""
    query = _messages().order_by(bank_messages.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(bank_messages.c.id < before)).all()


def message(conn: Connection, message_id: UUID) -> Row[tuple[object, ...]]:
    """One message without its bytes, with the number of its ``entries`` and ``open_breaks``, or `NotFound`.

    Its ``stage`` is None once it is imported to its end.
    """
    row = conn.execute(_messages().where(bank_messages.c.id == message_id)).one_or_none()
    if row is None:
        raise NotFound("No bank message has this id.")
    return row


def statements_of(conn: Connection, message_id: UUID) -> Sequence[Row[tuple[object, ...]]]:
    """The statements or notifications of a message, in its order; a status report has none."""
    mine = select(statements).where(_s.bank_message_id == message_id)
    return conn.execute(mine.order_by(_s.position)).all()


def entries(conn: Connection, message_id: UUID, *, after: UUID | None, limit: int) -> list[Telling]:
    """The entries of a message in its order, from behind entry ``after``. Raises `NotFound`."""
    message(conn, message_id)
    query = _words().where(_s.bank_message_id == message_id).order_by(_s.position, _e.position).limit(limit)
    if after is not None:
        last = conn.execute(_words().where(_s.bank_message_id == message_id, _e.id == after)).one_or_none()
        if last is None:
            raise NotFound("No entry of this message has this id.")
        behind = and_(_s.position == last.statement_position, _e.position > last.position)
        query = query.where(or_(_s.position > last.statement_position, behind))
    return _told(conn, conn.execute(query).all())


def of_the_same(conn: Connection, entry_id: UUID) -> list[Telling]:
    """Every word of the bank about the fact that this entry tells, in the order in which they came."""
    fact = select(func.coalesce(_e.same_as, _e.id)).where(_e.id == entry_id).scalar_subquery()
    query = _words().where(or_(_e.id == fact, _e.same_as == fact)).order_by(_s.position, _e.position).limit(_MOST)
    return _told(conn, conn.execute(query).all())


# --- private -------------------------------------------------------------------------------------------------


def _messages() -> Select[Any]:
    columns: list[Any] = [column for column in bank_messages.c if column.name != "content"]
    told = (
        select(func.count())
        .select_from(statement_entries.join(statements, _s.id == _e.statement_id))
        .where(_s.bank_message_id == bank_messages.c.id)
        .correlate(bank_messages)
        .scalar_subquery()
    )
    open_ = (
        select(func.count())
        .where(breaks.c.bank_message_id == bank_messages.c.id, breaks.c.resolved_at.is_(None))
        .scalar_subquery()
    )
    every = (*columns, unfinished_imports.c.stage, told.label("entries"), open_.label("open_breaks"))
    return select(*every).outerjoin_from(bank_messages, unfinished_imports)


def _words() -> Select[Any]:
    of_the_statement = (
        _s.kind,
        _s.statement_id.label("told_in"),
        _s.page,
        _s.sequence_number,
        _s.position.label("statement_position"),
    )
    of_the_message = (
        bank_messages.c.id.label("message_id"),
        bank_messages.c.name.label("file_name"),
        bank_messages.c.imported_at,
    )
    return (
        select(statement_entries, *of_the_statement, *of_the_message)
        .join(statements, _s.id == _e.statement_id)
        .join(bank_messages, bank_messages.c.id == _s.bank_message_id)
    )


def _told(conn: Connection, words: Sequence[Row[Any]]) -> list[Telling]:
    ids = [word.id for word in words]
    firsts = _by(conn.execute(_words().where(_e.id.in_({word.same_as for word in words if word.same_as}))), "id")
    shares = _shares(conn, ids)
    about = {word.id: UUID(word.about.removeprefix(_PAYMENT)) for word in words if _is_about(word, _PAYMENT)}
    payments = _by(conn.execute(select(bank_transactions).where(bank_transactions.c.id.in_(set(about.values())))), "id")
    found = _by(conn.execute(_breaks(ids)), "entry_id")
    sent = (
        select(own_payments, bank_transactions.c.state)
        .outerjoin(bank_transactions, bank_transactions.c.id == own_payments.c.id)
        .where(own_payments.c.entry_id.in_(ids))
        .order_by(own_payments.c.id)
    )
    sent_back = _by(conn.execute(sent), "entry_id")
    return [
        Telling(
            word=word,
            became=EntryMatch(word.match),
            first=firsts.get(word.same_as),
            shares=shares.get(word.id, ()),
            payment=payments.get(about.get(word.id)),
            file=word.about.removeprefix(_FILE) if _is_about(word, _FILE) else None,
            found=found.get(word.id),
            sent_back=sent_back.get(word.id),
        )
        for word in words
    ]


def _is_about(word: Row[Any], kind: str) -> bool:
    return word.about is not None and word.about.startswith(kind)


def _breaks(ids: Collection[UUID]) -> Select[Any]:
    # The last one counts: the open one, if there is.
    is_open = sa.case((breaks.c.resolved_at.is_(None), 1), else_=0)
    return select(breaks).where(breaks.c.entry_id.in_(ids)).order_by(is_open, breaks.c.id)


def _by(rows: Iterable[Row[Any]], name: str) -> dict[Any, Row[Any]]:
    return {getattr(row, name): row for row in rows}


def _shares(conn: Connection, ids: Collection[UUID]) -> Mapping[UUID, tuple[tuple[Owner, int], ...]]:
    """Whose purse or payable account each entry moved last, by itself or in parts: the books know."""
    parts = conn.execute(select(entry_parts).where(entry_parts.c.entry_id.in_(ids))).all()
    entry_of = {entry_id: entry_id for entry_id in ids} | {part.id: part.entry_id for part in parts}
    side = or_(accounts.c.id == transfers.c.debit_account_id, accounts.c.id == transfers.c.credit_account_id)
    moved = conn.execute(
        select(transfers.c.reference, transfers.c.amount_micros, accounts.c.owner_id)
        .join(accounts, side)
        .where(transfers.c.reference.in_(list(entry_of)), accounts.c.kind.in_(_OWNED))
        .order_by(transfers.c.id)
    ).all()
    last = {row.reference: row for row in moved}
    known = owners.by_ids(conn, {row.owner_id for row in last.values()})
    found: defaultdict[UUID, tuple[tuple[Owner, int], ...]] = defaultdict(tuple)
    for reference, row in last.items():
        found[entry_of[reference]] += ((known[row.owner_id], int(row.amount_micros)),)
    return found

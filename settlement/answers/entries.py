"""Entries: a statement or a notification, word by word: kept, paired with what was told before, booked.

Invariant: each word of the bank has a row that says what became of it, and a fact is booked once, however often and in
whatever order it is told. A message is worked through in stages of short transactions, so that purchases go on beside
it; what is half done is finished before the next message is begun, from where it stopped, by whoever comes first.

A statement is the truth: each of its entries is a fact of its own. A notification is early word of facts: booked at
once, unless it may be another word for one that is known; then the statement decides.
"""

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.engine import Connection, Row

from settlement.answers import matching, pairing, story, sums
from settlement.answers.imports import Imported, open_break
from settlement.answers.matching import Booking, Word
from settlement.bank.account import is_ours
from settlement.bank.formats import camt
from settlement.bank.profile import next_banking_day
from settlement.tables import (
    MOVED,
    BreakKind,
    EntryMatch,
    ImportStage,
    MessageKind,
    StatementStanding,
    bank_messages,
    breaks,
    statement_entries,
    statements,
    unfinished_imports,
)
from wallet.books import ledger
from wallet.ground.db import Database
from wallet.ground.errors import BankMessageInvalid, Unavailable
from wallet.ground.ids import new_id
from wallet.ground.money import EXPONENTS

log = structlog.get_logger()

# How many words one transaction handles: purchases wait for no more than that.
CHUNK = 25
# SQLite's line of waiting processes is no line: who asks seldom waits longest. So an import stands back after each
# transaction for as long as it took, at most so long.
_LONGEST_PAUSE = dt.timedelta(milliseconds=100)
# How many it keeps at once: that only inserts.
_KEPT = 250
# So many bank days after it was told, early word that is on no statement is doubted.
PATIENCE_DAYS = 5
# A statement of a Friday may be dated to the Monday, but no further than this.
_FURTHEST = dt.timedelta(days=7)
# So many of the latest statements are looked through for the last that is not from the future.
_LOOKED_THROUGH = 100
# ISO 20022, Max35Text.
_LONGEST_ID = 35
_FACTS = [match.value for match in (*MOVED, EntryMatch.BREAK, EntryMatch.CLOSED)]
# More facts of one amount than these are not compared with a word.
_MOST_ALIKE = 500
_e = statement_entries.c


def begin(
    conn: Connection,
    message: Sequence[camt.Statement],
    *,
    message_id: UUID,
    account_iban: str,
    other_ids: Collection[str],
) -> None:
    """Keep the statements of a message, in the transaction that keeps the message.

    Raises `BankMessageInvalid` where none is about our account, or one cannot be placed.
    """
    if not any(is_ours(told.account_ids, iban=account_iban, other_ids=other_ids) for told in message):
        raise BankMessageInvalid("The statement is about another account.")
    conn.execute(
        unfinished_imports.insert().values(bank_message_id=message_id, stage=ImportStage.READING.value, place=0)
    )
    position = int(conn.execute(select(func.coalesce(func.max(statements.c.position), 0))).scalar_one())
    for number, told in enumerate(message, start=1):
        ours = is_ours(told.account_ids, iban=account_iban, other_ids=other_ids)
        _check_id(told.statement_id)
        currency = _currency(told) if ours else (told.currency or "XXX")
        if ours:
            ledger.open_currency(conn, currency)
            figures = story.figures(conn, told, currency, account_iban)
        else:
            figures = story.Figures(told.opening_balance_micros, told.closing_balance_micros, 0)
        conn.execute(
            statements.insert().values(
                id=new_id(),
                bank_message_id=message_id,
                kind=told.kind,
                statement_id=told.statement_id,
                account_iban=account_iban if ours else told.account_iban[:34],
                currency=currency,
                position=position + number,
                opening_micros=figures.opening,
                closing_micros=figures.closing,
                opening_date=told.opening_date,
                closing_date=told.closing_date,
                written_at=told.created_at,
                sequence_number=_clip(told.sequence_number, 35),
                page=_clip(told.page, 5),
                standing=(StatementStanding.NEW if ours else StatementStanding.OTHER_ACCOUNT).value,
                entries_micros=figures.entries,
            )
        )


def finish(
    database: Database, message: Row[Any], parse: Callable[[bytes], Sequence[camt.Statement]], *, imported: Imported
) -> None:
    """Work a message through its stages, from wherever it is.

    Raises `BankMessageInvalid` when it cannot be kept; then nothing of it is.
    """
    work = _Work(database, message.id, message.imported_at, imported)
    while (stage := work.stage()) is not None:
        try:
            with _failing(stage):
                _work_on(work, stage, lambda: parse(message.content))
        except _WorkFailed as failure:
            # It must not keep the messages behind it from being imported.
            work.give_up(stage, failure)
    imported.seen_before = not work.is_news()


def _work_on(work: "_Work", stage: ImportStage, message: Callable[[], Sequence[camt.Statement]]) -> None:
    match stage:
        case ImportStage.READING:
            work.read(message)
        case ImportStage.PAIRING | ImportStage.GUESSING:
            work.pair(guessing=stage is ImportStage.GUESSING)
        case ImportStage.BOOKING:
            work.book()
        case _:
            work.sum_up()


class _WorkFailed(Exception):
    """A fault of ours while a message was worked on; what it was is in the log."""


@contextmanager
def _failing(stage: ImportStage) -> Iterator[None]:
    """Any fault is a `_WorkFailed`, but for those that are nobody's (the database) or the message's own."""
    try:
        yield
    except (Unavailable, BankMessageInvalid, _WorkFailed):
        raise
    except Exception as error:
        log.exception("bank message not worked on", stage=stage.value)
        raise _WorkFailed(f"{type(error).__name__} while it was imported.") from error


def _check_id(told: str) -> None:
    if len(told) > _LONGEST_ID:
        raise BankMessageInvalid(f"An id has more than {_LONGEST_ID} characters.")


def _currency(told: camt.Statement) -> str:
    """The currency of the account, which its balances have and most of its entries."""
    currency = told.currency
    if currency is None:
        named = {entry.currency for entry in told.entries}
        if len(named) != 1:
            raise BankMessageInvalid("The statement does not name its one currency.")
        (currency,) = named
    if currency not in EXPONENTS:
        raise BankMessageInvalid(f"{currency!r} is not a currency of an account.")
    return currency


@dataclass(slots=True)
class _Work:
    """One message at work. Each step is one transaction, and looks first whether it is still the next."""

    database: Database
    message_id: UUID
    at: dt.datetime
    imported: Imported

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        """One of many short transactions, and time for others after it."""
        began = time.monotonic()
        with self.database.settle() as conn:
            yield conn
        if self.database.is_sqlite:
            time.sleep(min(time.monotonic() - began, _LONGEST_PAUSE.total_seconds()))

    def stage(self) -> ImportStage | None:
        """What is to be done next, if anything."""
        with self.database.read() as conn:
            stage = self._row(conn).stage
        return None if stage is None else ImportStage(stage)

    def is_news(self) -> bool:
        """Whether it told anything new: a statement of its own days, or a fact."""
        mine = statements.c.bank_message_id == self.message_id
        own = select(statements.c.id).where(
            mine,
            statements.c.kind == MessageKind.CAMT_053.value,
            statements.c.standing == StatementStanding.NEW.value,
        )
        again = [match.value for match in (EntryMatch.PAIRED, EntryMatch.SEEN_BEFORE)]
        fact = select(_e.id).join(statements, statements.c.id == _e.statement_id).where(mine, _e.match.not_in(again))
        with self.database.read() as conn:
            return any(conn.execute(query.limit(1)).one_or_none() is not None for query in (own, fact))

    # --- kept ------------------------------------------------------------------------------------------------

    def read(self, message: Callable[[], Sequence[camt.Statement]]) -> None:
        """Keep each word. A message that cannot be kept is refused whole, and the next one has its turn."""
        try:
            with _failing(ImportStage.READING):
                self._read(message())
        except BankMessageInvalid:
            self._forget()  # it could be read when it was begun: by another version of this system
            raise
        except _WorkFailed as failure:
            self._forget()
            raise BankMessageInvalid(f"The message could not be kept: {failure}") from failure

    def _read(self, message: Sequence[camt.Statement]) -> None:
        told = [
            (number, position, entry)
            for number, statement in enumerate(message)
            for position, entry in enumerate(statement.entries)
        ]
        with self.database.read() as conn:
            rows = conn.execute(
                select(statements)
                .where(statements.c.bank_message_id == self.message_id)
                .order_by(statements.c.position)
            ).all()
            flipped = [_is_flipped(conn, row, statement) for row, statement in zip(rows, message, strict=True)]
        while True:
            with self._turn() as conn:
                row = self._row(conn)
                if row.stage != ImportStage.READING.value:
                    return
                chunk = told[row.place : row.place + _KEPT]
                if not chunk:
                    self._advance(conn, row, ImportStage.PAIRING)
                    return
                ours = [each for each in chunk if rows[each[0]].standing != StatementStanding.OTHER_ACCOUNT.value]
                abouts = matching.about(conn, [entry for *_, entry in ours])
                values = [
                    _values(rows[number], position, entry, about, flip=flipped[number])
                    for (number, position, entry), about in zip(ours, abouts, strict=True)
                ]
                if values:
                    conn.execute(statement_entries.insert(), values)
                self._advance(conn, row, ImportStage.READING, row.place + len(chunk))

    def _forget(self) -> None:
        mine = select(statements.c.id).where(statements.c.bank_message_id == self.message_id)
        with self.database.settle() as conn:
            if self._row(conn).stage != ImportStage.READING.value:
                return
            conn.execute(unfinished_imports.delete().where(unfinished_imports.c.bank_message_id == self.message_id))
            conn.execute(statement_entries.delete().where(_e.statement_id.in_(mine)))
            conn.execute(statements.delete().where(statements.c.bank_message_id == self.message_id))
            conn.execute(bank_messages.delete().where(bank_messages.c.id == self.message_id))

    # --- paired ----------------------------------------------------------------------------------------------

    def pair(self, *, guessing: bool) -> None:
        """Pair each word with a fact that was told before; ``guessing``, the words that the first round left."""
        stage, following = (
            (ImportStage.GUESSING, ImportStage.BOOKING) if guessing else (ImportStage.PAIRING, ImportStage.GUESSING)
        )
        with self.database.read() as conn:
            mine = statements.c.bank_message_id == self.message_id
            left = matching.words(conn, mine, _e.match == EntryMatch.TOLD.value)
            again: dict[object, Word] = {}
            for statement in () if guessing else self._final(conn):
                again |= story.told_again(conn, statement).words
        pair = partial(self._pair_chunk, stage=stage, again=again, guessing=guessing)
        for _, told in groupby(left, key=lambda word: word.statement_id):
            words = list(told)
            for start in range(0, len(words), CHUNK):
                self._step(stage, pair, words[start : start + CHUNK])
        with self.database.settle() as conn:
            row = self._row(conn)
            if row.stage == stage.value:
                self._advance(conn, row, following)

    def _step(self, stage: ImportStage, do: Callable[[Sequence[Word]], None], words: Sequence[Word]) -> None:
        """One transaction over some words. Where it fails, one for each; a word that fails by itself is a break."""
        mark = self.imported.mark()
        try:
            with _failing(stage):
                do(words)
        except _WorkFailed as failure:
            self.imported.back_to(mark)
            if len(words) == 1:
                self._fail(stage, words, failure)
            for word in words if len(words) > 1 else ():
                self._step(stage, do, [word])

    def _fail(self, stage: ImportStage, words: Sequence[Word], failure: "_WorkFailed") -> None:
        """What cannot be worked on is a break of its amount: in nobody's purse, and in nobody's way."""
        with self.database.settle() as conn:
            row = self._row(conn)
            if row.stage == stage.value:
                for word in self._still_told(conn, words):
                    self._booking(conn).fail(word, str(failure), is_statement=word.kind == MessageKind.CAMT_053.value)
                self._advance(conn, row, stage, row.place + 1)

    def _pair_chunk(
        self, words: Sequence[Word], *, stage: ImportStage, again: Mapping[object, Word], guessing: bool
    ) -> None:
        """Pair words of one statement. Many facts may be like them: no purchase waits while these are compared."""
        while True:
            with self.database.read() as conn:
                place = self._row(conn).place
                new = [word for word in self._still_told(conn, words) if word.id not in again]
                pairs = self._pairs(conn, new, guessing=guessing) if new else []
            with self._turn() as conn:
                row = self._row(conn)
                if row.stage != stage.value:
                    return
                if row.place != place or self._have_changed(conn, [fact for _, fact in pairs]):
                    continue
                self._tell_seen(conn, self._still_told(conn, words), again)
                self._tell_paired(conn, pairs, is_statement=words[0].kind == MessageKind.CAMT_053.value)
                if not guessing and words[0].kind == MessageKind.CAMT_053.value:
                    self._correct_guesses(conn, self._still_told(conn, words))
                self._advance(conn, row, stage, place + 1)
                return

    def _tell_seen(self, conn: Connection, words: Sequence[Word], again: Mapping[object, Word]) -> None:
        first = {word.id: again[word.id].id for word in words if word.id in again}
        # As it is now: which fact that told may have been corrected meanwhile.
        query = select(_e.id, _e.same_as).where(_e.id.in_(first.values()))
        facts = {row.id: row.same_as or row.id for row in conn.execute(query)} if first else {}
        known = {told: facts[by] for told, by in first.items()}
        unexplained = self._breaks(conn, known.values()) if known else {}
        for word in words:
            if word.id in known:
                fact = unexplained.get(known[word.id])
                self._tell_again(conn, word, EntryMatch.SEEN_BEFORE, known[word.id])
                if fact is not None and fact.about is None and word.about is not None:
                    self._booking(conn).explain(fact, by=word)

    def _pairs(self, conn: Connection, words: Sequence[Word], *, guessing: bool) -> list[tuple[Word, Word]]:
        is_statement = words[0].kind == MessageKind.CAMT_053.value
        facts = self._facts(conn, words, guessing=guessing, is_statement=is_statement)
        last_day = None if is_statement else _last_day(conn, words[0].account_iban, words[0].account_currency)
        return pairing.paired(words, facts, guessing=guessing, is_statement=is_statement, last_day=last_day)

    def _have_changed(self, conn: Connection, facts: Sequence[Word]) -> bool:
        """Whether a person did something about one of these since they were looked at."""
        few = (_e.id, _e.match, _e.booked_in, _e.about)
        found = conn.execute(select(*few).where(_e.id.in_([fact.id for fact in facts]))) if facts else ()
        now = {row.id: tuple(row) for row in found}
        return any(now.get(fact.id) != (fact.id, fact.match, fact.booked_in, fact.about) for fact in facts)

    def _tell_paired(self, conn: Connection, pairs: Sequence[tuple[Word, Word]], *, is_statement: bool) -> None:
        left = self._left(conn, [fact.id for _, fact in pairs]) if pairs else set()
        # A notification may be of the day that the statement's word for a fact has, and early word had not.
        if is_statement and pairs:
            matching.confirm(conn, [fact.id for _, fact in pairs], pairs[0][0].statement_id, self.at)
        for word, fact in pairs:
            self._tell_again(conn, word, EntryMatch.PAIRED, pairing.fact_id(fact))
            if fact.match != EntryMatch.BREAK.value or (fact.id in left and not is_statement):
                # Late word that is told once more is as late as it was.
                continue
            by = fact if word.about is None else word
            if by.about is not None or fact.id in left:
                (now,) = matching.words(conn, _e.id == fact.id)
                self._booking(conn).explain(now, by=by)

    def _correct_guesses(self, conn: Connection, words: Sequence[Word]) -> None:
        """Early word that a statement seemed to tell without its name, and that another tells with it, for its day.

        The first was of somebody else.
        """
        named = [word for word in words if None not in (word.about, word.booking_date)]
        if not named:
            return
        fact, guess = statement_entries.alias("fact"), statement_entries.alias("guess")
        query = (
            select(guess.c.id, guess.c.same_as, fact.c.about, fact.c.amount_micros, fact.c.booking_date)
            .join(fact, (fact.c.id == guess.c.same_as) & (fact.c.booked_in == guess.c.statement_id))
            .where(
                fact.c.account_iban == words[0].account_iban,
                fact.c.currency == words[0].currency,
                fact.c.about.in_({word.about for word in named}),
                fact.c.amount_micros.in_({word.amount_micros for word in named}),
                fact.c.booking_date.in_({word.booking_date for word in named}),
                guess.c.match == EntryMatch.PAIRED.value,
                guess.c.about.is_(None),
                # What a person said of it stands.
                ~select(breaks.c.id).where(breaks.c.entry_id == guess.c.id).exists(),
            )
            .order_by(guess.c.id)
        )
        guesses = list(conn.execute(query))
        for word in named:
            mine = (word.about, word.amount_micros, word.booking_date)
            wrong = next((row for row in guesses if (row.about, row.amount_micros, row.booking_date) == mine), None)
            if wrong is None:
                continue
            guesses.remove(wrong)
            conn.execute(statement_entries.update().where(_e.id == wrong.same_as).values(booked_in=word.statement_id))
            self._tell_again(conn, word, EntryMatch.PAIRED, wrong.same_as)
            again = {"match": EntryMatch.TOLD.value, "same_as": None}
            conn.execute(statement_entries.update().where(_e.id == wrong.id).values(**again))
            # What told it again still does.
            seen = (_e.match == EntryMatch.SEEN_BEFORE.value) & _e.about.is_(None)
            repeated = statement_entries.update().where(_e.same_as == wrong.same_as, seen)
            conn.execute(repeated.values(same_as=wrong.id))
            (other,) = matching.words(conn, _e.id == wrong.id)
            self._booking(conn).book(other, is_statement=True)

    def _breaks(self, conn: Connection, ids: Iterable[UUID]) -> dict[UUID, Word]:
        found = matching.words(conn, _e.id.in_(list(ids)), _e.match == EntryMatch.BREAK.value)
        return {fact.id: fact for fact in found}

    def _left(self, conn: Connection, ids: Collection[UUID]) -> set[UUID]:
        """Which of these facts are late word that moved nothing (`Booking.leave`): a statement that tells it does."""
        late = select(breaks.c.entry_id).where(
            breaks.c.entry_id.in_(ids),
            breaks.c.kind == BreakKind.NOT_CONFIRMED.value,
            breaks.c.resolved_at.is_(None),
        )
        unmoved = select(_e.id).where(_e.id.in_(late), _e.match == EntryMatch.BREAK.value)
        return set(conn.execute(unmoved).scalars())

    def _facts(self, conn: Connection, words: Sequence[Word], *, guessing: bool, is_statement: bool) -> Sequence[Word]:
        """The facts that these words may tell again, each of one of their amounts."""
        conditions = [
            _e.account_iban == words[0].account_iban,
            _e.currency == words[0].currency,
            _e.amount_micros.in_({word.amount_micros for word in words}),
            statements.c.bank_message_id != self.message_id,
        ]
        if not guessing:
            conditions.append(_e.about.in_({word.about for word in words if word.about is not None}))
        elif all(word.about is not None for word in words):
            conditions.append(_e.about.is_(None))
        if is_statement:
            # Early word; what is on a statement is another fact than this one.
            # No other match is a fact's; the index of early word needs it said.
            conditions += [_e.booked_in.is_(None), _e.match.in_(_FACTS), _e.same_as.is_(None)]
        else:
            told_too = (_e.match == EntryMatch.PAIRED.value) & (statements.c.kind == MessageKind.CAMT_053.value)
            conditions.append((_e.match.in_(_FACTS) & _e.same_as.is_(None)) | told_too)
            twin, other = statement_entries.alias("twin"), statements.alias("other")
            used = (
                select(twin.c.id)
                .join(other, other.c.id == twin.c.statement_id)
                .where(twin.c.same_as == func.coalesce(_e.same_as, _e.id), other.c.bank_message_id == self.message_id)
            )
            conditions.append(~used.exists())
            days = [word.booking_date for word in words]
            if None not in days:
                near = _e.booking_date.between(min(days) - pairing.FURTHEST, max(days) + pairing.FURTHEST)
                conditions.append(_e.booking_date.is_(None) | near)
        return matching.words(conn, *conditions, limit=_MOST_ALIKE * len(words))

    def _tell_again(self, conn: Connection, word: Word, match: EntryMatch, fact_id: UUID) -> None:
        conn.execute(
            statement_entries.update()
            .where(_e.id == word.id, _e.match == EntryMatch.TOLD.value)
            .values(match=match.value, same_as=fact_id)
        )
        self.imported.told_again += 1

    def _still_told(self, conn: Connection, words: Sequence[Word]) -> Sequence[Word]:
        """Those that nobody has worked on yet: what was stopped half way is begun again."""
        query = select(_e.id).where(_e.id.in_([word.id for word in words]), _e.match == EntryMatch.TOLD.value)
        still = set(conn.execute(query).scalars())
        return [word for word in words if word.id in still]

    # --- booked ----------------------------------------------------------------------------------------------

    def book(self) -> None:
        """Book what is new. What left is booked before what came back, so that a return finds its payment."""
        with self.database.read() as conn:
            mine = statements.c.bank_message_id == self.message_id
            told = matching.words(conn, mine, _e.match == EntryMatch.TOLD.value)
        left = sorted(told, key=lambda word: word.amount_micros > 0)
        for start in range(0, len(left), CHUNK):
            chunk = left[start : start + CHUNK]
            self._step(ImportStage.BOOKING, self._book_words, chunk)
        with self.database.settle() as conn:
            row = self._row(conn)
            if row.stage == ImportStage.BOOKING.value:
                self._booking(conn).retry_returns()
                self._advance(conn, row, ImportStage.SUMMING)

    def _book_words(self, words: Sequence[Word]) -> None:
        with self._turn() as conn:
            if self._row(conn).stage != ImportStage.BOOKING.value:
                return
            last_days = {
                account: _last_day(conn, *account)
                for account in {(word.account_iban, word.account_currency) for word in words}
            }
            for word in self._still_told(conn, words):
                is_statement = word.kind == MessageKind.CAMT_053.value
                if not is_statement and pairing.is_late(word, last_days[word.account_iban, word.account_currency]):
                    self._booking(conn).leave(word)
                else:
                    self._booking(conn).book(word, is_statement=is_statement)

    def give_up(self, stage: ImportStage, failure: _WorkFailed) -> None:
        """End a message that cannot be ended well: each word that is left is a break, and so is the failure."""
        with self.database.read() as conn:
            mine = statements.c.bank_message_id == self.message_id
            left = matching.words(conn, mine, _e.match == EntryMatch.TOLD.value)
        for start in range(0, len(left), CHUNK):
            self._fail(stage, left[start : start + CHUNK], failure)
        with self.database.settle() as conn:
            row = self._row(conn)
            if row.stage != stage.value:
                return
            open_break(
                conn,
                BreakKind.FAILED,
                imported=self.imported,
                bank_message_id=self.message_id,
                at=self.at,
                detail=f"Message {row.message_id} was not imported to its end: {failure}",
            )
            self._end(conn, row)

    # --- summed up -------------------------------------------------------------------------------------------

    def sum_up(self) -> None:
        """Explain sums by their details, put each statement in its place, and doubt what none confirms."""
        with self.database.read() as conn:
            accounts = {(row.account_iban, row.currency) for row in self._statements(conn)}
            found = [each for account in accounts for each in sums.explained(conn, *account, self.message_id)]
        for start in range(0, len(found), CHUNK):
            with self._turn() as conn:
                if self._row(conn).stage != ImportStage.SUMMING.value:
                    return
                for each in found[start : start + CHUNK]:
                    left = self._left(conn, [detail.id for detail in each.details])
                    if sums.apply(conn, each, at=self.at) and each.whole.booked_in is not None:
                        for fact in self._breaks(conn, left).values():
                            self._booking(conn).explain(fact, by=fact)
        with self.database.read() as conn:
            placing = [(row, story.told_again(conn, row)) for row in self._final(conn)]
            doubtful = [(*account, _long_ago(_last_day(conn, *account))) for account in accounts]
        with self.database.settle() as conn:
            row = self._row(conn)
            if row.stage != ImportStage.SUMMING.value:
                return
            for statement, again in placing:
                story.place(conn, statement, again, imported=self.imported, message_id=self.message_id, at=self.at)
            for account, currency, long_ago in doubtful:
                if long_ago is not None:
                    self._doubt(conn, account, currency, long_ago)
            self._end(conn, row)

    def _doubt(self, conn: Connection, account: str, currency: str, long_ago: dt.date) -> None:
        """Early word that no statement has confirmed, some bank days before the last one, is a break."""
        told = func.coalesce(_e.booking_date, _e.value_date, statements.c.closing_date)
        # Without a date, or with one in the future, it is as old as the message that told it.
        midnight = dt.datetime.combine(long_ago, dt.time(), dt.UTC)
        came_long_ago = select(bank_messages.c.id).where(
            bank_messages.c.id == statements.c.bank_message_id, bank_messages.c.imported_at < midnight
        )
        doubted = select(breaks.c.id).where(breaks.c.entry_id == _e.id, breaks.c.kind == BreakKind.NOT_CONFIRMED.value)
        unconfirmed = matching.words(
            conn,
            _e.account_iban == account,
            statements.c.currency == currency,
            _e.booked_in.is_(None),
            _e.same_as.is_(None),
            _e.match.in_([match.value for match in (*MOVED, EntryMatch.BREAK)]),
            statements.c.kind == MessageKind.CAMT_054.value,
            or_(told < long_ago, came_long_ago.exists()),
            ~doubted.exists(),
        )
        for word in unconfirmed:
            if word.match == EntryMatch.BREAK.value:
                self._booking(conn).doubt(word)
                continue
            open_break(
                conn,
                BreakKind.NOT_CONFIRMED,
                imported=self.imported,
                bank_message_id=word.bank_message_id,
                at=self.at,
                currency=currency,
                difference=-word.amount_micros,
                entry_id=word.id,
                detail=f"Notified, booked, and on no statement since: {word.text}".strip(" :"),
            )

    # --- rows ------------------------------------------------------------------------------------------------

    def _row(self, conn: Connection) -> Row[Any]:
        """Where the message is; its ``stage`` is None once it is done. Without its bytes: each short step asks."""
        mine: Sequence[Any] = (bank_messages.c.message_id, unfinished_imports.c.stage, unfinished_imports.c.place)
        row: Row[Any] | None = conn.execute(
            select(*mine).outerjoin_from(bank_messages, unfinished_imports).where(bank_messages.c.id == self.message_id)
        ).one_or_none()
        if row is None:
            raise BankMessageInvalid("The message could not be kept.")
        return row

    def _advance(self, conn: Connection, row: Row[Any], stage: ImportStage, place: int = 0) -> None:
        conn.execute(unfinished_imports.update().where(self._at(row)).values(stage=stage.value, place=place))

    def _end(self, conn: Connection, row: Row[Any]) -> None:
        conn.execute(unfinished_imports.delete().where(self._at(row)))

    def _at(self, row: Row[Any]) -> ColumnElement[bool]:
        u = unfinished_imports.c
        return and_(u.bank_message_id == self.message_id, u.stage == row.stage, u.place == row.place)

    def _statements(self, conn: Connection) -> Sequence[Row[Any]]:
        return conn.execute(
            select(statements)
            .where(
                statements.c.bank_message_id == self.message_id,
                statements.c.standing != StatementStanding.OTHER_ACCOUNT.value,
            )
            .order_by(statements.c.position)
        ).all()

    def _final(self, conn: Connection) -> list[Row[Any]]:
        return [row for row in self._statements(conn) if row.kind == MessageKind.CAMT_053.value]

    def _booking(self, conn: Connection) -> Booking:
        return Booking(conn, self.message_id, self.at, self.imported)


def _last_day(conn: Connection, account: str, currency: str) -> dt.date | None:
    """The last day that an account's statements have told; one dated long after it came tells no day."""
    told = conn.execute(
        select(statements.c.closing_date, bank_messages.c.imported_at)
        .join(bank_messages, bank_messages.c.id == statements.c.bank_message_id)
        .where(
            statements.c.kind == MessageKind.CAMT_053.value,
            statements.c.account_iban == account,
            statements.c.currency == currency,
            statements.c.closing_date.is_not(None),
        )
        .order_by(statements.c.closing_date.desc())
        .limit(_LOOKED_THROUGH)
    ).all()
    days = (row.closing_date for row in told if row.closing_date <= row.imported_at.date() + _FURTHEST)
    return next(days, None)


def _long_ago(last: dt.date | None) -> dt.date | None:
    return None if last is None else bank_days_before(last, PATIENCE_DAYS)


def bank_days_before(date: dt.date, days: int) -> dt.date:
    """The day that lies so many bank days (T2's) before ``date``."""
    while days:
        date -= dt.timedelta(days=1)
        days -= next_banking_day(date) == date
    return date


def _is_flipped(conn: Connection, statement: Row[Any], told: camt.Statement) -> bool:
    """Whether it was found that the statement's reversals have the original's sign (`story.figures`)."""
    if statement.standing == StatementStanding.OTHER_ACCOUNT.value or told.kind != MessageKind.CAMT_053.value:
        return False
    plain, flipped = (story.moved(told, statement.currency, flip=flip) for flip in (False, True))
    if plain == flipped:
        return story.is_turned_by_what_it_undoes(conn, told, statement.currency)
    return bool(statement.entries_micros == flipped)


def _values(
    statement: Row[Any], position: int, entry: camt.Entry, about: matching.About, *, flip: bool
) -> dict[str, object]:
    micros = story.signed(entry, flip=flip)
    match = EntryMatch.TOLD
    if entry.status != "BOOK":
        match = EntryMatch.INFORMATION if entry.status == "INFO" else EntryMatch.PENDING
    elif micros == 0:
        match = EntryMatch.INFORMATION
    elif entry.reversal and statement.kind == MessageKind.CAMT_054.value:
        # Without balances nothing tells which sign a bank gives a reversal, but what it undoes.
        undone = (about.about or "").partition(" ")[0]
        if undone not in matching.SIGN_OF_REVERSAL:
            match = EntryMatch.PENDING
        else:
            micros = matching.SIGN_OF_REVERSAL[undone] * abs(micros)
    return {
        "id": new_id(),
        "statement_id": statement.id,
        "position": position,
        "entry_index": entry.entry_index,
        "detail_index": entry.detail_index,
        "account_iban": statement.account_iban,
        "currency": entry.currency,
        "amount_micros": micros,
        "is_reversal": entry.reversal,
        "is_fee": entry.is_fee,
        "batch_count": entry.batch_count if entry.detail_count == 1 else None,
        "booking_date": entry.booking_date,
        "value_date": entry.value_date,
        "bank_reference": _clip(entry.entry_reference, 100),
        "end_to_end_id": _clip(entry.end_to_end_id, 35),
        "payment_information_id": _clip(entry.payment_information_id, 35),
        "reference": _clip(about.reference, 35),
        "text": entry.remittance_text[:500],
        "counterparty_name": _clip(entry.counterparty_name, 140),
        "counterparty_iban": _clip(entry.counterparty_iban, 34),
        "bank_code": entry.bank_code[:35],
        "return_reason": _clip(entry.return_reason, 35),
        "about": about.about,
        "match": match.value,
    }


def _clip(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]

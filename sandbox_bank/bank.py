"""One pass of the bank over its folder, and the bank's surface for Python.

Invariant: books first. What is executed is committed together with the bytes that will say so; only then is a
file
written, marked written, and the customer's file taken away. So a pass may die at any instruction: the next
one finds in the books what is still owed, and executes nothing twice.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from schwifty import BIC, IBAN

from sandbox_bank import amounts, camt, days, dialects, folder, instructions, pain002, payins, settling
from sandbox_bank.books import Books, Settings
from sandbox_bank.camt import CREDIT, Account, Balance, Entry, Page
from sandbox_bank.dialects import Dialect
from sandbox_bank.errors import BankError, MalformedOrder, NotOpened
from sandbox_bank.instructions import Act, Instruction
from sandbox_bank.pain001 import Fault, PaymentFile, Unreadable, parse

#: The fee of one payment where none is given: what banks take today, and what they took in 2000.
KNOWN_FEES = {"EUR": "0.38", "FRF": "2.50"}


@dataclass
class FileReport:
    """What became of one bank file. ``status`` is None when it was not answered."""

    name: str
    msg_id: str
    status: str | None
    reason: str | None = None
    executed: int = 0
    rejected: int = 0
    delayed: int = 0


@dataclass
class WorkReport:
    """What one pass did."""

    run: int = 0
    files: list[FileReport] = field(default_factory=list)
    pay_ins: list[str] = field(default_factory=list)
    refused_orders: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON would have it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        told = [
            f"{f.name}: {f.msg_id} {f.status or 'unanswered'}{' ' + f.reason if f.reason else ''},"
            f" {f.executed} executed, {f.rejected} rejected, {f.delayed} delayed"
            for f in self.files
        ]
        told += [f"pay-in {order_id}" for order_id in self.pay_ins]
        told += [f"order refused: {why}" for why in self.refused_orders]
        told += [f"returned: {end_to_end_id}" for end_to_end_id in self.returned]
        told += [f"wrote {name}" for name in self.answers]
        return told + [f"error: {why}" for why in self.errors]


class Bank:
    """A bank in a folder. Every verb is one or more durable transactions of its books."""

    def __init__(self, path: Path | str) -> None:
        """Open the bank in this folder. Raises NotOpened when ``init`` never ran there, and NotPrivate."""
        self.folder = Path(path)
        if not (self.folder / folder.BOOKS).exists():
            raise NotOpened(f"{self.folder} holds no bank yet: run init first")
        folder.check(self.folder)
        folder.lay_out(self.folder)
        self.books = Books(self.folder / folder.BOOKS)

    def close(self) -> None:
        """Close the books."""
        self.books.close()

    # --- opening
    # -----------------------------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        path: Path | str,
        *,
        iban: str,
        name: str,
        bic: str | None = None,
        opening: dict[str, str] | None = None,
        fees: dict[str, str] | None = None,
        batch_booking: bool | None = None,
        batch_details: bool | None = None,
        notify: bool | None = None,
        slow_upload: bool | None = None,
        overdraft: dict[str, str] | None = None,
        dialect: Sequence[str] = (),
        today: date | None = None,
    ) -> "Bank":
        """Open a bank with one customer and an account per currency in ``opening``; without any, EUR at zero.

        Again with the same IBAN: adds accounts, changes what is given; an opening balance counts only once.
        Raises BankError when the folder is another customer's bank, or a value is wrong.
        """
        compact = _valid_iban(iban)
        if bic is not None and not BIC(bic, allow_invalid=True).is_valid:
            raise BankError(f"not a BIC: {bic}")
        openings = {currency: _amount(text, currency) for currency, text in (opening or {"EUR": "0"}).items()}
        given = {currency: _amount(text, currency) for currency, text in (fees or {}).items()}
        overdrafts = {currency: _amount(text, currency) for currency, text in (overdraft or {}).items()}
        switches = {
            "batch_booking": batch_booking,
            "batch_details": batch_details,
            "notify": notify,
            "slow_upload": slow_upload,
        }
        dialects.named(dialect)
        folder.check(Path(path))
        folder.lay_out(Path(path))
        with folder.one_pass_at_a_time(Path(path)):
            Books(Path(path) / folder.BOOKS).close()
            bank = cls(path)
            with bank.books.transaction():
                bank._customer(compact, name, bic)
                bank._switch({column: value for column, value in switches.items() if value is not None})
                bank._set_fees(given)
                for currency, amount_micros in openings.items():
                    bank._open_account(currency, amount_micros, _today(today))
                bank._allow(overdrafts)
                if dialect:
                    bank.books.db.execute("UPDATE settings SET dialects = ?", (" ".join(dialect),))
        return bank

    def _customer(self, iban: str, name: str, bic: str | None) -> None:
        self.books.db.execute(
            "INSERT INTO settings (id, iban, name, bic) VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING",
            (iban, name, bic),
        )
        if self.books.settings().iban != iban:
            raise BankError(f"this folder is the bank of {self.books.settings().iban}")
        self.books.db.execute("UPDATE settings SET name = ?, bic = COALESCE(?, bic)", (name, bic))

    def _switch(self, switches: dict[str, bool]) -> None:
        for column, value in switches.items():
            self.books.db.execute(f"UPDATE settings SET {column} = ?", (int(value),))  # noqa: S608

    def _set_fees(self, given: dict[str, int]) -> None:
        """Fees as given; the known ones where no fee of that currency was ever set."""
        for currency, text in KNOWN_FEES.items():
            self.books.db.execute(
                "INSERT INTO fees VALUES (?, ?) ON CONFLICT DO NOTHING", (currency, _amount(text, currency))
            )
        for currency, fee_micros in given.items():
            self.books.db.execute("INSERT OR REPLACE INTO fees VALUES (?, ?)", (currency, fee_micros))

    def _allow(self, overdrafts: dict[str, int]) -> None:
        for currency, limit_micros in overdrafts.items():
            self.books.account(currency)
            self.books.db.execute(
                "UPDATE accounts SET overdraft_micros = ? WHERE currency = ?", (limit_micros, currency)
            )

    def _open_account(self, currency: str, amount_micros: int, today: str) -> None:
        """An opening balance is where the first statement starts, so no statement tells of its entry."""
        if currency in self.books.currencies():
            return
        self.books.insert("accounts", currency=currency, stated_micros=amount_micros, stated_on=today)
        if amount_micros:
            ref = self.books.book(
                "opening",
                currency=currency,
                direction=CREDIT,
                amount_micros=amount_micros,
                booking_date=today,
                text="OPENING BALANCE",
            )
            self.books.db.execute("UPDATE entries SET statement = 0 WHERE ref = ?", (ref,))

    # --- at the counter
    # ----------------------------------------------------------------------------------------

    def pay_in(
        self,
        amount: str,
        currency: str,
        *,
        name: str,
        reference: str | None = None,
        iban: str | None = None,
        order_id: str | None = None,
        today: date | None = None,
    ) -> str:
        """Credit the account at once; the next pass's statement tells of it. Returns the order's id.

        The same ``order_id`` again does nothing, with other facts it raises MalformedOrder.
        """
        order = payins.Order(order_id or str(uuid.uuid4()), amount, currency, name, reference, iban)
        with self.books.transaction():
            payins.execute(self.books, order, _today(today))
        return order.id

    def misbehave(
        self,
        act: Act | str,
        *,
        end_to_end_id: str | None = None,
        iban: str | None = None,
        next_count: int | None = None,
        every: bool = False,
        reason: str | None = None,
        runs: int = 1,
        book_twice: bool = False,
        name: str | None = None,
    ) -> int:
        """Give an instruction (see ``Act``) for one selector; returns its number. Raises BankError."""
        with self.books.transaction():
            return instructions.give(
                self.books,
                Act(act),
                end_to_end_id=end_to_end_id,
                iban=iban,
                next_count=next_count,
                every=every,
                reason=reason,
                runs=runs,
                book_twice=book_twice,
                name=name,
            )

    def instructions(self) -> list[Instruction]:
        """The instructions in force."""
        return instructions.standing(self.books)

    def behave(self) -> None:
        """Clear all instructions."""
        with self.books.transaction():
            instructions.clear(self.books)

    def settings(self) -> Settings:
        """How this bank is run."""
        return self.books.settings()

    def balance(self, currency: str) -> int:
        """What is on the account, in micros. Raises NotOpened when there is none in that currency."""
        self.books.account(currency)
        return self.books.balance_micros(currency)

    def currencies(self) -> list[str]:
        """The currencies an account is kept in."""
        return sorted(self.books.currencies())

    def entries(self, currency: str) -> list[Entry]:
        """Every entry of the account since it was opened."""
        self.books.account(currency)
        return self.books.entries("currency = ?", currency)

    def release(self, msg_id: str | None = None, *, refuse: bool = False) -> int:
        """Say of the payments that wait for a word on the payee's name: pay them, or ``refuse`` those that differ.

        Of one file, or of all; the next pass does it and answers. Returns how many there were; raises BankError
        when there were none.
        """
        with self.books.transaction():
            found = settling.release(self.books, msg_id, refuse=refuse)
        if not found:
            raise BankError("no payment waits for a word on the payee's name")
        return found

    def release_answers(self, today: date | None = None) -> list[str]:
        """Write what was kept back, in one statement per account. Returns the names written."""
        report = WorkReport()
        with folder.one_pass_at_a_time(self.folder):
            with self.books.transaction():
                self.books.db.execute("UPDATE accounts SET withheld = 0")
                self._draw_statements(_today(today), _now(today))
            self._deliver(report)
        return report.answers

    # --- one pass
    # ----------------------------------------------------------------------------------------------

    def work(self, today: date | None = None) -> WorkReport:
        """One pass: orders, bank files, due delays and returns, statements. A second bank waits its turn.

        ``today`` (in Paris, when None) dates the entries; if it is given, every byte of the answers is predictable.
        """
        day, now, report = _today(today), _now(today), WorkReport()
        with folder.one_pass_at_a_time(self.folder):
            with self.books.transaction():
                report.run = self.books.settings().run + 1
                self.books.db.execute("UPDATE settings SET run = ?", (report.run,))
            self._deliver(report)
            self._finish_moves()
            for path in folder.waiting(self.folder / folder.ORDERS, ".json"):
                self._take_order(path, day, report)
            for path in folder.waiting(self.folder / folder.OUTBOX, ".xml"):
                self._take_file(path, day, now, report)
            self._execute_delayed(day, now, report)
            self._give_back(day, report)
            with self.books.transaction():
                self._draw_statements(day, now)
            self._deliver(report)
        return report

    def _take_order(self, path: Path, day: str, report: WorkReport) -> None:
        target = self.folder / folder.PROCESSED / path.name
        try:
            order = payins.read(path.read_bytes())
            with self.books.transaction():
                if payins.execute(self.books, order, day):
                    report.pay_ins.append(order.id)
        except MalformedOrder as refusal:
            report.refused_orders.append(f"{path.name}: {refusal}")
            target = target.with_name(f"{path.name}.refused")
        except OSError as error:
            report.errors.append(f"{path.name}: {error}")
            return
        folder.move(path, target)

    def _take_file(self, path: Path, day: str, now: str, report: WorkReport) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            report.errors.append(f"{path.name}: {error}")
            return
        with self.books.transaction():
            report.files.append(self._answer_file(path.name, data, day, now))
        self._deliver(report)
        self._finish_moves()

    def _answer_file(self, name: str, data: bytes, day: str, now: str) -> FileReport:
        """Judge and execute one file, in the caller's transaction: readable, new, sound, its payments."""
        settings = self.books.settings()
        try:
            file = parse(
                data,
                iban=settings.iban,
                bic=settings.bic,
                currencies=self.books.currencies(),
                today=date.fromisoformat(day),
            )
        except Unreadable as refusal:
            self._keep_file(name, data, "refused", pain002.Original(refusal.msg_id))
            return self._refuse(name, pain002.Original(refusal.msg_id), refusal.fault, now)
        original = pain002.Original(file.msg_id, file.created_at, file.nb_of_txs, file.control_sum)
        fault = self._known(file) or file.fault
        file_id = self._keep_file(name, data, "refused" if fault else "taken", original)
        if fault is not None:
            return self._refuse(name, original, fault, now)
        settled = settling.take(self.books, file_id, file.msg_id, file.transfers, day)
        return self._tell(name, original, settled, now)

    def _known(self, file: PaymentFile) -> Fault | None:
        """A MsgId is burnt once a file with it was executed; a refused file may be mended and sent again."""
        known = self.books.db.execute(
            "SELECT 1 FROM files WHERE msg_id = ? AND state = 'taken'", (file.msg_id,)
        ).fetchone()
        return Fault("DU01", "a file with this MsgId was executed before; nothing was executed now") if known else None

    def _keep_file(self, name: str, data: bytes, state: str, original: pain002.Original) -> int:
        known = self.books.db.execute("SELECT COUNT(*) FROM files WHERE name = ?", (name,)).fetchone()[0]
        return self.books.insert(
            "files",
            name=name,
            sha256=hashlib.sha256(data).hexdigest(),
            state=state,
            msg_id=original.msg_id,
            processed_name=name if known == 0 else f"{name}.{known}",
            created_at=original.created_at,
            nb_of_txs=original.nb_of_txs,
            control_sum=original.control_sum,
        )

    def _refuse(self, name: str, original: pain002.Original, fault: Fault, now: str) -> FileReport:
        self._owe_status(original, fault, [], now)
        return FileReport(name, original.msg_id, pain002.REFUSED, fault.code)

    def _tell(self, name: str, original: pain002.Original, settled: settling.Settled, now: str) -> FileReport:
        """Owe the answer: once, twice when told so, never when it gets lost or when all is delayed."""
        rejected = sum(outcome.fault is not None for outcome in settled.outcomes)
        executed = sum(outcome.status == pain002.SETTLED for outcome in settled.outcomes)
        report = FileReport(name, original.msg_id, None, None, executed, rejected, settled.delayed)
        if settled.outcomes and not settled.answer_lost:
            report.status = pain002.group_status(original, settled.outcomes)
            self._owe_status(original, None, settled.outcomes, now, told_twice=settled.told_twice)
        return report

    def _owe_status(
        self,
        original: pain002.Original,
        fault: Fault | None,
        outcomes: list[pain002.Outcome],
        now: str,
        *,
        told_twice: bool = False,
    ) -> None:
        body = pain002.render(
            msg_id=f"SBX-{self.books.next_answer():010d}",
            created_at=now,
            bic=self.books.settings().bic,
            original=original,
            fault=fault,
            outcomes=outcomes,
        )
        for _ in range(2 if told_twice else 1):
            self.books.owe("pain.002", body)

    def _execute_delayed(self, day: str, now: str, report: WorkReport) -> None:
        due = self.books.db.execute(
            "SELECT * FROM files WHERE id IN"
            " (SELECT file_id FROM payments WHERE state = 'delayed' AND due_run <= ?) ORDER BY id",
            (report.run,),
        ).fetchall()
        for row in due:
            original = pain002.Original(row["msg_id"], row["created_at"], row["nb_of_txs"], row["control_sum"])
            with self.books.transaction():
                settled = settling.take_delayed(self.books, row["id"], row["msg_id"], day)
                report.files.append(self._tell(row["name"], original, settled, now))

    def _give_back(self, day: str, report: WorkReport) -> None:
        with self.books.transaction():
            due = self.books.db.execute(
                "SELECT payments.*, files.msg_id FROM payments JOIN files ON files.id = file_id"
                " WHERE payments.state = 'return-due' AND due_run <= ? ORDER BY payments.id",
                (report.run,),
            ).fetchall()
            for row in due:
                settling.give_back(self.books, row, row["msg_id"], day)
                report.returned.append(row["end_to_end_id"])

    def _draw_statements(self, day: str, now: str) -> None:
        """Tell every account's untold entries, in the caller's transaction; a withheld account waits."""
        settings = self.books.settings()
        early_word = settings.notify or settings.dialect.notifies
        for row in self.books.db.execute(
            "SELECT currency FROM accounts WHERE withheld = 0 ORDER BY currency"
        ).fetchall():
            account = self.books.account(row["currency"])
            if early_word:
                self._notify(account, settings, now)
            entries = self.books.entries("statement IS NULL AND currency = ?", account.currency)
            if early_word and settings.dialect.statement_later:
                entries = [entry for entry in entries if entry.notified != settings.run]
            if entries:
                self._draw_statement(account, entries, settings.dialect, day, now)

    def _notify(self, account: Account, settings: Settings, now: str) -> None:
        """Early word of what is new, by a number of its own."""
        entries = self.books.entries("notified IS NULL AND statement IS NULL AND currency = ?", account.currency)
        if not entries:
            return
        entries = [replace(entry, notified=settings.run) for entry in entries]
        body = camt.render_notification(
            msg_id=f"SBX-{self.books.next_answer():010d}",
            created_at=now,
            number=settings.run,
            account=account,
            entries=dialects.tell(entries, settings.dialect, early=True),
            old=settings.dialect.old,
        )
        self._owe_camt(f"camt.054.{account.currency}", [body], entries, settings.dialect)
        self._mark(entries, notified=settings.run)

    def _draw_statement(self, account: Account, entries: list[Entry], dialect: Dialect, day: str, now: str) -> None:
        """What is new; in a dialect that tells the day again, with what was told of it before."""
        number, opening = self.books.last_statement(account.currency)
        closed_on = max(day, opening.day, *(entry.booking_date for entry in entries))
        closing = Balance(opening.amount_micros + _sum(entries), closed_on)
        told, statement_id = entries, f"{account.currency}-{number + 1:06d}"
        if dialect.longer:
            told = self.books.entries("told_on = ? AND currency = ?", day, account.currency) + entries
            opening, statement_id = Balance(closing.amount_micros - _sum(told), day), f"{account.currency}-{day}"
        bodies = self._pages(
            dialects.tell(told, dialect, early=False),
            opening,
            closing,
            dialect,
            created_at=now,
            statement_id=statement_id,
            number=number + 1,
            account=account,
        )
        self._owe_camt(f"camt.053.{account.currency}", bodies, entries, dialect)
        self.books.db.execute(
            "UPDATE accounts SET statement = ?, stated_micros = ?, stated_on = ? WHERE currency = ?",
            (number + 1, closing.amount_micros, closing.day, account.currency),
        )
        self._mark(entries, statement=number + 1, told_on=day)

    def _pages(
        self, told: list[Entry], opening: Balance, closing: Balance, dialect: Dialect, **same: Any
    ) -> list[bytes]:
        """The statement, in as many messages as it has pages."""
        length = dialect.page_length or len(told)
        parts = [told[start : start + length] for start in range(0, len(told), length)]
        msg_id, bodies = f"SBX-{self.books.next_answer():010d}", []
        for number, part in enumerate(parts, start=1):
            page = Page(number, is_last=number == len(parts))
            end = closing if page.is_last else Balance(opening.amount_micros + _sum(part), closing.day)
            name = msg_id if number == 1 else f"{msg_id}-{number}"
            bodies.append(
                camt.render_statement(
                    msg_id=name, opening=opening, closing=end, entries=part, page=page, old=dialect.old, **same
                )
            )
            opening = end
        return bodies

    def _owe_camt(self, kind: str, bodies: list[bytes], entries: list[Entry], dialect: Dialect) -> None:
        """Owe messages about these entries, twice if the bank was told so of one of them."""
        for _ in range(1 + any(entry.told_twice for entry in entries)):
            if dialect.zipped:
                self.books.owe(kind, folder.packed(kind, bodies), suffix="zip")
                continue
            for body in bodies:
                self.books.owe(kind, body)

    def _mark(self, entries: list[Entry], **told: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in told)
        self.books.db.executemany(
            f"UPDATE entries SET {columns} WHERE ref = ?",  # noqa: S608
            [(*told.values(), entry.ref) for entry in entries],
        )

    # --- putting down and taking away
    # --------------------------------------------------------------------------

    def _deliver(self, report: WorkReport) -> None:
        """Write what is owed, oldest first. Dying before it is marked writes the same bytes again."""
        settings, inbox = self.books.settings(), self.folder / folder.INBOX
        owed = self.books.db.execute("SELECT * FROM answers WHERE state = 'owed' ORDER BY id").fetchall()
        for row in owed:
            if row["half_in_run"] is None and settings.slow_upload:
                folder.begin(inbox, row["name"], row["body"])
                self._mark_answer(row["id"], half_in_run=settings.run)
            elif row["half_in_run"] != settings.run:
                write = folder.put if row["half_in_run"] is None else folder.finish
                write(inbox, row["name"], row["body"])
                self._mark_answer(row["id"], state="written")
                report.answers.append(row["name"])

    def _mark_answer(self, answer_id: int, **facts: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in facts)
        with self.books.transaction():
            self.books.db.execute(
                f"UPDATE answers SET {columns} WHERE id = ?",  # noqa: S608
                (*facts.values(), answer_id),
            )

    def _finish_moves(self) -> None:
        """Take away the answered bank files, unless the name in the outbox is another file by now."""
        rows = self.books.db.execute("SELECT * FROM files WHERE place = 'outbox' ORDER BY id").fetchall()
        for row in rows:
            source = self.folder / folder.OUTBOX / row["name"]
            target = self.folder / folder.PROCESSED / row["processed_name"]
            if not target.exists() and _sha256(source) == row["sha256"]:
                folder.move(source, target)
            with self.books.transaction():
                self.books.db.execute("UPDATE files SET place = 'processed' WHERE id = ?", (row["id"],))


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _today(today: date | None) -> str:
    return (today or days.date_here()).isoformat()


def _now(today: date | None) -> str:
    """The instant messages are dated with: six in the evening of a day that was given."""
    return f"{today.isoformat()}T18:00:00Z" if today else days.instant()


def _sum(entries: list[Entry]) -> int:
    return sum(entry.signed_micros for entry in entries)


def _valid_iban(text: str) -> str:
    try:
        return str(IBAN(text).compact)
    except ValueError as error:
        raise BankError(f"not an IBAN: {text}: {error}") from error


def _amount(text: str, currency: str) -> int:
    """Micros of an amount given at the counter, zero included. Raises BankError when it is none."""
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise BankError(f"not a currency: {currency!r}")
    try:
        amount_micros = amounts.parse(text)
    except ValueError as error:
        raise BankError(str(error)) from error
    if amount_micros > amounts.LARGEST or not amounts.is_whole(amount_micros, currency):
        raise BankError(f"not an amount of {currency}: {text}")
    return amount_micros

"""The rules of executing: funds, fees, batch booking, returns, pay-ins. Every verb runs inside the caller's
transaction.

Invariant: a payment is booked once, unless the bank was told to err; the account covers each payment and its
fee.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date

from sandbox_bank import amounts, days, pain002
from sandbox_bank.books import Books, Settings
from sandbox_bank.camt import CREDIT, DEBIT, Detail
from sandbox_bank.dialects import Fees
from sandbox_bank.instructions import Act, Instruction, obey
from sandbox_bank.pain001 import Fault, Transfer


@dataclass
class Settled:
    """What became of some payments of one file: told in one ``pain.002``, unless the answer is lost."""

    outcomes: list[pain002.Outcome] = field(default_factory=list)
    delayed: int = 0
    told_twice: bool = False
    answer_lost: bool = False


@dataclass(frozen=True)
class _Accepted:
    payment_id: int
    transfer: Transfer
    book_twice: bool


def take(books: Books, file_id: int, msg_id: str, transfers: Iterable[Transfer], today: str) -> Settled:
    """Execute a new file's payments, as far as they are sound, covered and not misbehaved about.

    Where a single payee's name is doubtful the whole file waits, as banks let it, until `release`.
    """
    settled, ready = Settled(), []
    for asked in transfers:
        transfer = _maybe_reject(books, asked)
        late = obey(books, Act.DELAY, transfer) if transfer.fault is None else None
        payment_id = _record(books, file_id, transfer, late)
        if late is not None:
            settled.delayed += 1
        else:
            ready.append((payment_id, transfer))
    doubts = _doubts(books, ready)
    if doubts:
        settled.delayed += _wait(books, ready, doubts, settled)
    else:
        _execute(books, msg_id, ready, today, settled)
    return settled


def release(books: Books, msg_id: str | None, *, refuse: bool) -> int:
    """The customer's word on what waits for it: pay it with the next pass, or, ``refuse``, only what matched.

    One file's payments, or everybody's; answers how many there were.
    """
    run, waiting = books.settings().run, "state = 'delayed' AND due_run IS NULL AND (? IS NULL OR file_id IN"
    waiting += " (SELECT id FROM files WHERE msg_id = ?))"
    if refuse:
        books.db.execute(
            f"UPDATE payments SET reason = 'BE01' WHERE verification <> ? AND {waiting}",  # noqa: S608
            (pain002.MATCH, msg_id, msg_id),
        )
    return books.db.execute(f"UPDATE payments SET due_run = ? WHERE {waiting}", (run, msg_id, msg_id)).rowcount  # noqa: S608


def take_delayed(books: Books, file_id: int, msg_id: str, today: str) -> Settled:
    """Execute the payments of a file whose delay is over in this run."""
    settled = Settled()
    rows = books.db.execute(
        "SELECT * FROM payments WHERE file_id = ? AND state = 'delayed' AND due_run <= ? ORDER BY id",
        (file_id, books.settings().run),
    ).fetchall()
    _execute(books, msg_id, [(row["id"], _due(row)) for row in rows], today, settled)
    return settled


def give_back(books: Books, row: sqlite3.Row, msg_id: str, today: str) -> None:
    """Credit a returned payment: the whole amount, not the fee."""
    detail = replace(_detail(_transfer(row), msg_id), return_reason=row["reason"])
    books.book(
        "return",
        currency=row["currency"],
        direction=CREDIT,
        amount_micros=row["amount_micros"],
        booking_date=today,
        text=f"RETURN {row['reason']} {row['end_to_end_id']}",
        details=(detail,),
    )
    books.db.execute("UPDATE payments SET state = 'returned' WHERE id = ?", (row["id"],))


def _doubts(books: Books, ready: list[tuple[int, Transfer]]) -> dict[int, Instruction]:
    found = {
        payment_id: obey(books, Act.CHECK_PAYEE, transfer) for payment_id, transfer in ready if transfer.fault is None
    }
    return {payment_id: told for payment_id, told in found.items() if told is not None}


def _wait(books: Books, ready: list[tuple[int, Transfer]], doubts: dict[int, Instruction], settled: Settled) -> int:
    """Tell what was found out of each name, and let every sound payment wait; answers how many do."""
    waiting = 0
    for payment_id, transfer in ready:
        if transfer.fault is not None:
            settled.outcomes.append(_outcome(transfer, transfer.fault))
            continue
        told = doubts.get(payment_id)
        code, name = (told.reason or "", told.name) if told is not None else (pain002.MATCH, None)
        settled.outcomes.append(replace(_outcome(transfer, None), verification=_verification(transfer, code, name)))
        books.db.execute(
            "UPDATE payments SET state = 'delayed', verification = ?, payee_name = ? WHERE id = ?",
            (code, name, payment_id),
        )
        waiting += 1
    return waiting


def _verification(transfer: Transfer, code: str, name: str | None) -> pain002.Verification:
    return pain002.Verification(
        code=code,
        creditor_name=transfer.creditor_name,
        creditor_iban=transfer.creditor_iban,
        amount_micros=transfer.amount_micros,
        currency=transfer.currency,
        suggested_name=name,
    )


def _due(row: sqlite3.Row) -> Transfer:
    """A payment that waited; with a reason it was refused meanwhile, for the name."""
    transfer = _transfer(row)
    if row["reason"] is None:
        return transfer
    return replace(transfer, fault=Fault(row["reason"], "the name is not that of the account"))


def _maybe_reject(books: Books, transfer: Transfer) -> Transfer:
    told = obey(books, Act.REJECT, transfer) if transfer.fault is None else None
    if told is None or told.reason is None:
        return transfer
    return replace(transfer, fault=Fault(told.reason, "refused by the creditor's bank"))


def _execute(books: Books, msg_id: str, ready: list[tuple[int, Transfer]], today: str, settled: Settled) -> None:
    accepted: list[_Accepted] = []
    balances = {currency: books.balance_micros(currency) for currency in books.currencies()}
    for payment_id, transfer in ready:
        fault = transfer.fault or _cover(books, transfer, balances)
        settled.outcomes.append(_outcome(transfer, fault))
        if fault is not None:
            _set_state(books, payment_id, "rejected", fault.code)
        else:
            accepted.append(_misbehave(books, payment_id, transfer, settled))
    settings = books.settings()
    groups: dict[tuple[object, ...], list[_Accepted]] = {}
    for one in accepted:
        groups.setdefault(_batch_key(one, settings), []).append(one)
    booked = [
        (_book_payments(books, msg_id, group, today, settled.told_twice), [one.transfer for one in group])
        for group in groups.values()
    ]
    _book_errors(books, msg_id, accepted, today, settled.told_twice)
    if settings.dialect.fees is not Fees.A_FILE:
        for ref, charged in booked:
            _charge(books, charged, today, settled.told_twice, along=ref)
        return
    for currency in sorted({one.transfer.currency for one in accepted}):
        charged = [one.transfer for one in accepted if one.transfer.currency == currency]
        _charge(books, charged, today, settled.told_twice, along=None)


def _cover(books: Books, transfer: Transfer, balances: dict[str, int]) -> Fault | None:
    """Set the payment and its fee aside, or say that the account does not cover them."""
    cost = transfer.amount_micros + books.fee_micros(transfer.currency)
    if cost > balances[transfer.currency] + books.overdraft_micros(transfer.currency):
        return Fault("AM04", "the account does not cover the payment and its fee")
    balances[transfer.currency] -= cost
    return None


def _misbehave(books: Books, payment_id: int, transfer: Transfer, settled: Settled) -> _Accepted:
    """Mark the payment booked, and note what the bank will do wrong about it."""
    back = obey(books, Act.RETURN, transfer)
    _set_state(books, payment_id, "return-due" if back else "booked", back.reason if back else None)
    if back is not None:
        due = books.settings().run + back.runs
        books.db.execute("UPDATE payments SET due_run = ? WHERE id = ?", (due, payment_id))
    again = obey(books, Act.REPEAT, transfer)
    settled.told_twice |= again is not None
    if obey(books, Act.LOSE_ANSWER, transfer) is not None:
        settled.answer_lost = True
        books.db.execute("UPDATE accounts SET withheld = 1 WHERE currency = ?", (transfer.currency,))
    return _Accepted(payment_id, transfer, again is not None and again.book_twice)


def _batch_key(one: _Accepted, settings: Settings) -> tuple[object, ...]:
    transfer = one.transfer
    if settings.batch_booking and transfer.batch_booking:
        return transfer.pmt_inf_id, transfer.currency
    return (one.payment_id,)


def _book_payments(books: Books, msg_id: str, group: list[_Accepted], today: str, told_twice: bool) -> str:
    """One debit entry: a batch when its PmtInf asked for it and the bank does it, else one payment."""
    first, settings = group[0].transfer, books.settings()
    batched = settings.batch_booking and first.batch_booking
    details = tuple(_detail(one.transfer, msg_id) for one in group)
    return books.book(
        "payments",
        currency=first.currency,
        direction=DEBIT,
        amount_micros=sum(one.transfer.amount_micros for one in group),
        booking_date=_booking_date([first], today),
        text=f"{len(group)} CREDIT TRANSFERS" if batched else f"CREDIT TRANSFER {first.end_to_end_id}",
        batch=(msg_id, first.pmt_inf_id, len(group)) if batched else None,
        details=() if batched and not settings.batch_details else details,
        told_twice=told_twice,
    )


def _book_errors(books: Books, msg_id: str, accepted: list[_Accepted], today: str, told_twice: bool) -> None:
    """The second debit of the same payment, booked by mistake: no cover asked, no fee charged."""
    for one in accepted:
        if one.book_twice:
            transfer = one.transfer
            books.book(
                "payments",
                currency=transfer.currency,
                direction=DEBIT,
                amount_micros=transfer.amount_micros,
                booking_date=_booking_date([transfer], today),
                text=f"CREDIT TRANSFER {transfer.end_to_end_id}",
                details=(_detail(transfer, msg_id),),
                told_twice=told_twice,
            )


def _charge(books: Books, charged: list[Transfer], today: str, told_twice: bool, *, along: str | None) -> None:
    """The fixed fees of some payments in one currency: an entry of its own, never mixed into the payments."""
    currency = charged[0].currency
    fee_micros = books.fee_micros(currency)
    if fee_micros:
        books.book(
            "fee",
            currency=currency,
            direction=DEBIT,
            amount_micros=len(charged) * fee_micros,
            booking_date=_booking_date(charged, today),
            text=f"{len(charged)} x {amounts.show(fee_micros, currency)} {currency}",
            along=along,
            told_twice=told_twice,
        )


def _booking_date(transfers: list[Transfer], today: str) -> str:
    """The day that was asked for, or today where the payment waited; not before the next one that the bank works."""
    asked = max(today, *(transfer.execution_date for transfer in transfers))
    return days.banking_day(date.fromisoformat(asked)).isoformat()


def _outcome(transfer: Transfer, fault: Fault | None) -> pain002.Outcome:
    return pain002.Outcome(transfer.pmt_inf_id, transfer.instruction_id, transfer.end_to_end_id, fault)


def _detail(transfer: Transfer, msg_id: str) -> Detail:
    return Detail(
        ref="",
        amount_micros=transfer.amount_micros,
        party_name=transfer.creditor_name,
        party_iban=transfer.creditor_iban,
        msg_id=msg_id,
        pmt_inf_id=transfer.pmt_inf_id,
        instruction_id=transfer.instruction_id,
        end_to_end_id=transfer.end_to_end_id,
        rf=transfer.rf,
        text=transfer.text,
    )


def _record(books: Books, file_id: int, transfer: Transfer, late: Instruction | None) -> int:
    """Keep the payment. What was refused is kept without its amount, which may be one no book can hold."""
    facts = {key: value for key, value in vars(transfer).items() if key != "fault"}
    facts["batch_booking"] = int(transfer.batch_booking)
    if transfer.fault is not None:
        facts.update(amount_micros=0, reason=transfer.fault.code)
    return books.insert(
        "payments",
        file_id=file_id,
        state="rejected" if late is None else "delayed",
        due_run=None if late is None else books.settings().run + late.runs,
        **facts,
    )


def _transfer(row: sqlite3.Row) -> Transfer:
    return Transfer(
        pmt_inf_id=row["pmt_inf_id"],
        batch_booking=bool(row["batch_booking"]),
        execution_date=row["execution_date"],
        end_to_end_id=row["end_to_end_id"],
        instruction_id=row["instruction_id"],
        amount_micros=row["amount_micros"],
        currency=row["currency"],
        creditor_name=row["creditor_name"],
        creditor_iban=row["creditor_iban"],
        rf=row["rf"],
        text=row["text"],
    )


def _set_state(books: Books, payment_id: int, state: str, reason: str | None) -> None:
    books.db.execute("UPDATE payments SET state = ?, reason = ? WHERE id = ?", (state, reason, payment_id))

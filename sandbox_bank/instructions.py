"""How the bank was told to misbehave: instructions kept in its books, matched against one payment at a time.

Invariant: an instruction for the next N payments is used up N times, and in the same transaction as the
payment.
"""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from sandbox_bank import pain002
from sandbox_bank.books import Books
from sandbox_bank.errors import BankError
from sandbox_bank.pain001 import Transfer


class Act(StrEnum):
    """What the bank does instead of its duty."""

    REJECT = "reject"  #: not executed; refused with a reason
    RETURN = "return"  #: executed, and credited back some runs later
    DELAY = "delay"  #: neither executed nor answered for some runs
    REPEAT = "repeat"  #: the answers are written twice, and if told so the payment is booked twice
    LOSE_ANSWER = "lose-answer"  #: executed; no pain.002 ever, the statement only when released
    CHECK_PAYEE = "check-payee"  #: the file waits until the customer says what to do about the payee's name


@dataclass(frozen=True)
class Instruction:
    """One instruction: on which payments, and what."""

    id: int
    act: Act
    selector: str
    value: str | None
    remaining: int | None
    reason: str | None
    runs: int
    book_twice: bool
    name: str | None


def give(
    books: Books,
    act: Act,
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
    """Keep an instruction and return its number. Exactly one selector; raises BankError otherwise."""
    chosen = {
        "end-to-end-id": end_to_end_id,
        "iban": iban,
        "next": next_count,
        "all": True if every else None,
    }
    picked = [(name, value) for name, value in chosen.items() if value is not None]
    if len(picked) != 1:
        raise BankError("choose one of: an end-to-end id, an IBAN, the next N payments, all payments")
    if (act in (Act.REJECT, Act.RETURN, Act.CHECK_PAYEE)) != (reason is not None):
        raise BankError("reject, return and check-payee need a code; the others take none")
    if act is Act.CHECK_PAYEE:
        pain002.check_verification(reason or "", name)
    if reason is not None and not (reason.isascii() and reason.isalnum() and len(reason) == 4):
        raise BankError("a reason is an ISO code of four letters and digits, such as AC04")
    if runs < 1 or (next_count is not None and next_count < 1):
        raise BankError("a number of runs or payments is at least 1")
    selector, value = picked[0]
    return books.insert(
        "instructions",
        act=act.value,
        selector=selector,
        value=str(value),
        remaining=next_count,
        reason=reason,
        runs=runs,
        book_twice=int(book_twice),
        name=name,
    )


def standing(books: Books) -> list[Instruction]:
    """The instructions in force, oldest first."""
    rows = books.db.execute("SELECT * FROM instructions WHERE remaining IS NULL OR remaining > 0 ORDER BY id")
    return [_instruction(row) for row in rows]


def clear(books: Books) -> None:
    """Behave again. Delays and returns already under way take their course."""
    books.db.execute("DELETE FROM instructions")


def obey(books: Books, act: Act, transfer: Transfer) -> Instruction | None:
    """The oldest instruction of that kind for this payment, used up by one; None when there is none."""
    for instruction in standing(books):
        if instruction.act == act and _concerns(instruction, transfer):
            books.db.execute(
                "UPDATE instructions SET remaining = remaining - 1 WHERE id = ? AND remaining IS NOT NULL",
                (instruction.id,),
            )
            return instruction
    return None


def _concerns(instruction: Instruction, transfer: Transfer) -> bool:
    if instruction.selector == "end-to-end-id":
        return instruction.value == transfer.end_to_end_id
    if instruction.selector == "iban":
        return instruction.value == transfer.creditor_iban
    return True


def _instruction(row: sqlite3.Row) -> Instruction:
    return Instruction(
        row["id"],
        Act(row["act"]),
        row["selector"],
        row["value"],
        row["remaining"],
        row["reason"],
        row["runs"],
        bool(row["book_twice"]),
        row["name"],
    )

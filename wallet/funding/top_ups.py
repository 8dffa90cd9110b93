"""Top-ups: announced by a shopper; and the ways: which this wallet offers, and which fetch the money by themselves.

Invariant: a top-up moves no money; only the bank's booking does. Fetching the same one again is the same act, so
whoever was killed before it could note that it fetched may do it again.
"""

import datetime as dt
import json
import os
from pathlib import Path
from uuid import UUID

import segno
import structlog
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.books.ledger import IS_BEING_CLOSED
from wallet.ground import private
from wallet.ground.db import Database
from wallet.ground.errors import NotFound, TopUpMethodUnavailable
from wallet.ground.ids import new_id, new_reference
from wallet.ground.money import Money, check_listed
from wallet.purses import purses as purse_room
from wallet.settings import Settings
from wallet.tables.funding import TopUpMethod, top_ups
from wallet.tables.purses import purses

# The largest amount of a SEPA credit transfer, and so of its QR code (EPC069-12 section 2).
_LARGEST_EPC_MICROS = 999_999_999_990_000
# Announced so long ago, money is fetched again if it was not asked for; before, whoever announced it may be at it.
_AT_ONCE, _LATELY = dt.timedelta(seconds=10), dt.timedelta(days=7)

_log = structlog.get_logger(__name__)


def available(settings: Settings) -> list[TopUpMethod]:
    """The ways to top up that this wallet is set up for."""
    set_up = {
        TopUpMethod.BANK_TRANSFER: settings.bank_iban is not None,
        TopUpMethod.SANDBOX: settings.sandbox_folder is not None,
        TopUpMethod.CARD: False,
    }
    return [method for method in TopUpMethod if set_up[method]]


def offered(method: TopUpMethod, settings: Settings) -> None:
    """Raise `TopUpMethodUnavailable` unless this wallet is set up for ``method``."""
    if method not in available(settings):
        raise TopUpMethodUnavailable


def request_top_up(
    conn: Connection, purse_id: UUID, amount: Money, method: TopUpMethod, *, at: dt.datetime
) -> Row[tuple[object, ...]]:
    """Announce money from outside; answers its row, whose ``reference`` the bank entry will carry.

    Nothing is in the purse until the bank has booked it. Raises `PurseNotFound`, `CurrencyMismatch`,
    `CurrencyWithdrawn`, `AmountNotWholeMinor`, or `PurseClosing`. What was announced before the closing, and comes all
    the same, is credited and goes home (`wallet.funding.closing`).
    """
    purse_room.check_for_the_bank(conn, purse_id, amount)
    check_listed(amount.currency)
    purse_room.check_kept(conn, purse_id)
    return conn.execute(
        top_ups.insert()
        .values(
            id=new_id(),
            purse_id=purse_id,
            currency=amount.currency,
            amount_micros=amount.micros,
            method=method.value,
            reference=new_reference(),
            requested_at=at,
        )
        .returning(top_ups)
    ).one()


def find(conn: Connection, purse_id: UUID, top_up_id: UUID) -> Row[tuple[object, ...]]:
    """One announced top-up of the purse, or `NotFound`."""
    row = conn.execute(select(top_ups).where(top_ups.c.id == top_up_id, top_ups.c.purse_id == purse_id)).one_or_none()
    if row is None:
        raise NotFound("No such top-up.")
    return row


def pulls(method: TopUpMethod, settings: Settings) -> bool:
    """Whether this wallet can fetch money by ``method`` while its shopper sleeps; a bank transfer has to be sent."""
    return method is TopUpMethod.SANDBOX and settings.sandbox_folder is not None


def pull(method: TopUpMethod, settings: Settings, *, top_up_id: UUID, amount: Money, reference: str) -> None:
    """Fetch the money of an announced top-up; a second time changes nothing.

    Raises `TopUpMethodUnavailable` unless `pulls`, or `OSError` when the bank's folder does not take it.
    """
    if method is not TopUpMethod.SANDBOX or settings.sandbox_folder is None:
        raise TopUpMethodUnavailable
    drop_pay_in_order(settings.sandbox_folder, top_up_id=top_up_id, amount=amount, reference=reference)


def pull_soon(method: TopUpMethod, settings: Settings, *, top_up_id: UUID, amount: Money, reference: str) -> None:
    """`pull` after the commit that announced it: what fails now is asked for by `pull_late`, and nobody is told no."""
    try:
        pull(method, settings, top_up_id=top_up_id, amount=amount, reference=reference)
    except OSError as error:
        _log.error("top-up not asked for yet", top_up=str(top_up_id), error=repr(error))


def pull_late(database: Database, settings: Settings, *, at: dt.datetime) -> int:
    """Fetch what was announced lately and could not be asked for then; answers how many."""
    if settings.sandbox_folder is None:
        return 0
    lately = top_ups.c.requested_at.between(at - _LATELY, at - _AT_ONCE)
    with database.read() as conn:
        # Nothing more is fetched for a purse that is being closed.
        kept = select(purses.c.id).where(purses.c.id == top_ups.c.purse_id, ~IS_BEING_CLOSED).exists()
        rows = conn.execute(select(top_ups).where(top_ups.c.method == TopUpMethod.SANDBOX.value, lately, kept)).all()
    missing = [row for row in rows if not _is_asked(settings.sandbox_folder, row.id)]
    for row in missing:
        amount = Money(row.amount_micros, row.currency)
        pull(TopUpMethod.SANDBOX, settings, top_up_id=row.id, amount=amount, reference=row.reference)
    return len(missing)


def _is_asked(folder: Path, top_up_id: UUID) -> bool:
    """Whether the order is with the sandbox bank: waiting, done, or refused."""
    name = f"{top_up_id}.json"
    places = (f"orders/{name}", f"processed/{name}", f"processed/{name}.refused")
    return any((folder / place).exists() for place in places)


def epc_of(amount: Money, reference: str, settings: Settings) -> str | None:
    """The text of the QR code that fills in the transfer to this wallet, or None where there is no such code."""
    if settings.bank_iban is None or amount.currency != "EUR" or amount.micros > _LARGEST_EPC_MICROS:
        return None
    return epc_text(amount, reference, name=settings.operator_name, iban=settings.bank_iban, bic=settings.bank_bic)


def epc_text(amount: Money, reference: str, *, name: str, iban: str, bic: str | None) -> str:
    """The text of a QR code that fills in a SEPA transfer form (EPC069-12 version 002): UTF-8, eleven lines."""
    lines = ["BCD", "002", "1", "SCT", bic or "", name, iban, f"EUR{amount}", "", reference]
    return "\n".join(lines)


def epc_qr(text: str) -> segno.QRCode:
    """The QR code of `epc_text` (EPC069-12 section 3): error correction M, at most version 13, byte mode."""
    return segno.make_qr(text, error="m", boost_error=False, encoding="utf-8", mode="byte")


def drop_pay_in_order(
    folder: Path, *, top_up_id: UUID, amount: Money, reference: str, name: str = "Sandbox shopper"
) -> None:
    """Ask the sandbox bank to send the money of a top-up, or other money announced; it books an order's id once."""
    order = {
        "id": str(top_up_id),
        "amount": str(amount),
        "currency": amount.currency,
        "name": name,
        "reference": reference,
    }
    _put(folder / "orders", f"{top_up_id}.json", json.dumps(order).encode())


def _put(directory: Path, name: str, body: bytes) -> None:
    """A whole file or none, on the disk when this returns; written twice it is the same file."""
    private.make_folder(directory)
    # A name of its own, because two replays may write at once; hidden, because the bank reads what it can see.
    beside = directory / f".{name}.{new_id()}"
    with open(beside, "xb", opener=private.opener) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(directory / name)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

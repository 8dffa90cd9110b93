"""Ways to top up: what a shopper is told, and the sandbox bank's stand-in for a shopper's own bank.

Invariant: a top-up moves no money; only the bank's booking does (`wallet.purses`).
"""

import json
import os
from pathlib import Path
from typing import Any

import segno
from sqlalchemy.engine import Row

from wallet.clock import rfc3339
from wallet.errors import TopUpMethodUnavailable
from wallet.ids import new_id
from wallet.models import TopUpMethod
from wallet.money import Money
from wallet.settings import Settings

# The largest amount of a SEPA credit transfer, and so of its QR code (EPC069-12 section 2).
_LARGEST_EPC_MICROS = 999_999_999_990_000


def offered(method: TopUpMethod, settings: Settings) -> None:
    """Raise `TopUpMethodUnavailable` unless this wallet is set up for ``method``."""
    available = {
        TopUpMethod.BANK_TRANSFER: settings.bank_iban is not None,
        TopUpMethod.SANDBOX: settings.sandbox_folder is not None,
        TopUpMethod.CARD: False,
    }
    if not available[method]:
        raise TopUpMethodUnavailable


def top_up_body(row: Row[Any], settings: Settings) -> dict[str, Any]:
    """The answer: what was announced, and for a bank transfer where to send it."""
    amount = Money(row.amount_micros, row.currency)
    return {
        "id": str(row.id),
        "method": row.method,
        "amount": str(amount),
        "currency": row.currency,
        "reference": row.reference,
        "requested_at": rfc3339(row.requested_at),
        "bank_transfer": _instructions(amount, row.reference, settings)
        if row.method == TopUpMethod.BANK_TRANSFER.value
        else None,
    }


def epc_text(amount: Money, reference: str, *, name: str, iban: str, bic: str | None) -> str:
    """The text of a QR code that fills in a SEPA transfer form (EPC069-12 version 002): UTF-8, eleven
    lines."""
    lines = ["BCD", "002", "1", "SCT", bic or "", name, iban, f"EUR{amount}", "", reference]
    return "\n".join(lines)


def drop_pay_in_order(folder: Path, answer: bytes) -> None:
    """Ask the sandbox bank to send the money of a top-up, from its answer: the same answer, the same file."""
    top_up = json.loads(answer)
    order = {
        "id": top_up["id"],
        "amount": top_up["amount"],
        "currency": top_up["currency"],
        "name": "Sandbox shopper",
        "reference": top_up["reference"],
    }
    _put(folder / "orders", f"{top_up['id']}.json", json.dumps(order).encode())


def _instructions(amount: Money, reference: str, settings: Settings) -> dict[str, Any]:
    name, iban, bic = settings.operator_name, settings.bank_iban or "", settings.bank_bic
    epc = None
    if amount.currency == "EUR" and amount.micros <= _LARGEST_EPC_MICROS:
        epc = epc_text(amount, reference, name=name, iban=iban, bic=bic)
    return {
        "name": name,
        "iban": iban,
        "bic": bic,
        "reference": reference,
        "epc": epc,
        "qr_svg": None if epc is None else _qr_svg(epc),
    }


def _qr_svg(text: str) -> str:
    # EPC069-12 section 3: error correction M, at most version 13, byte mode.
    code = segno.make(text, error="m", boost_error=False, encoding="utf-8", micro=False, mode="byte")
    return code.svg_inline(scale=4)


def _put(directory: Path, name: str, body: bytes) -> None:
    """A whole file or none, on the disk when this returns; written twice it is the same file."""
    directory.mkdir(parents=True, exist_ok=True)
    # A name of its own, because two replays may write at once; hidden, because the bank reads what it can
    # see.
    beside = directory / f".{name}.{new_id()}"
    with beside.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(directory / name)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""From the sandbox bank: play money, for anybody who asks, fetched by an order in a folder that the bank reads.

Invariant: an order is a whole file, under the top-up's id, and the bank books an id once; so fetching the same top-up
again is the same act.
"""

import json
import os
from pathlib import Path
from uuid import UUID

from sqlalchemy.engine import Row

from wallet.ground import private
from wallet.ground.db import Database
from wallet.ground.errors import TopUpMethodUnavailable
from wallet.ground.ids import new_id
from wallet.ground.money import Money
from wallet.settings import Settings


def is_available(settings: Settings) -> bool:
    """Whether the operator gave its folder."""
    return settings.sandbox_folder is not None


def transfer(_settings: Settings, _amount: Money, _reference: str) -> None:
    """Nothing for the shopper to send."""


def fetch(_database: Database, settings: Settings, top_up: Row[tuple[object, ...]]) -> None:
    """Ask the sandbox bank for it; OSError when the folder does not take the order."""
    amount = Money(top_up.amount_micros, top_up.currency)
    drop_pay_in_order(_folder(settings), top_up_id=top_up.id, amount=amount, reference=top_up.reference)


def is_asked(_database: Database, settings: Settings, top_up_id: UUID) -> bool:
    """Whether the order is with the sandbox bank: waiting, done, or refused."""
    name = f"{top_up_id}.json"
    places = (f"orders/{name}", f"processed/{name}", f"processed/{name}.refused")
    return any((_folder(settings) / place).exists() for place in places)


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


def _folder(settings: Settings) -> Path:
    if settings.sandbox_folder is None:
        raise TopUpMethodUnavailable
    return settings.sandbox_folder


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

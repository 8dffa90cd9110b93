"""Pay-ins: money that somebody outside sends to the account, ordered at the counter or by a file in
``orders/``.

Invariant: an order's id is executed at most once, ever; the same id with other facts is refused.
"""

import json
from dataclasses import asdict, dataclass

from schwifty import IBAN
from stdnum import iso11649

from sandbox_bank import amounts
from sandbox_bank.books import Books
from sandbox_bank.camt import CREDIT, Detail
from sandbox_bank.errors import MalformedOrder

_REQUIRED = {"id": 64, "amount": 32, "currency": 3, "name": 70}
_OPTIONAL = {"reference": 140, "iban": 34}


@dataclass(frozen=True)
class Order:
    """Pay this amount in. ``reference`` is what the payer wrote: an RF reference, free text, or nothing."""

    id: str
    amount: str
    currency: str
    name: str
    reference: str | None = None
    iban: str | None = None

    def __post_init__(self) -> None:
        """Raises MalformedOrder when a field is no printable text of its length."""
        for key, longest in {**_REQUIRED, **_OPTIONAL}.items():
            value = getattr(self, key)
            if value is None and key in _OPTIONAL:
                continue
            if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
                raise MalformedOrder(f"{key} must be a printable string of 1 to {longest} characters")

    def amount_micros(self) -> int:
        """Raises MalformedOrder unless it is a payable amount of its currency."""
        try:
            amount_micros = amounts.parse(self.amount)
        except ValueError as error:
            raise MalformedOrder(str(error)) from error
        if not 0 < amount_micros <= amounts.LARGEST or not amounts.is_whole(amount_micros, self.currency):
            raise MalformedOrder(f"not an amount of {self.currency} to pay in: {self.amount}")
        return amount_micros


def read(data: bytes) -> Order:
    """Read an order file, a JSON object of strings. Raises MalformedOrder."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedOrder(f"not JSON: {error}") from error
    if not isinstance(facts, dict) or not facts.keys() >= _REQUIRED.keys():
        raise MalformedOrder(f"an order is an object with {', '.join(_REQUIRED)}")
    unknown = facts.keys() - _REQUIRED.keys() - _OPTIONAL.keys()
    if unknown:
        raise MalformedOrder(f"unknown fields: {', '.join(sorted(unknown))}")
    return Order(**facts)


def execute(books: Books, order: Order, today: str) -> bool:
    """Credit the account, in the caller's transaction; False when this very order was executed before.

    Raises MalformedOrder, and then nothing was done.
    """
    amount_micros = order.amount_micros()
    if order.currency not in books.currencies():
        raise MalformedOrder(f"no account in {order.currency}")
    if order.iban is not None and not IBAN(order.iban, allow_invalid=True).is_valid:
        raise MalformedOrder(f"the payer's IBAN is wrong: {order.iban}")
    facts = json.dumps({**asdict(order), "amount": amount_micros}, sort_keys=True)
    known = books.db.execute("SELECT facts FROM pay_ins WHERE id = ?", (order.id,)).fetchone()
    if known is not None:
        if known["facts"] != facts:
            raise MalformedOrder(f"order {order.id} was executed before with other facts")
        return False
    books.insert("pay_ins", id=order.id, facts=facts)
    books.book(
        "pay-in",
        currency=order.currency,
        direction=CREDIT,
        amount_micros=amount_micros,
        booking_date=today,
        text=f"CREDIT TRANSFER FROM {order.name}",
        details=(_detail(order, amount_micros),),
    )
    return True


def _detail(order: Order, amount_micros: int) -> Detail:
    """A true RF reference travels structured, anything else as the payer's free text."""
    reference = order.reference
    rf = iso11649.compact(reference) if reference is not None and iso11649.is_valid(reference) else None
    return Detail(
        ref="",
        amount_micros=amount_micros,
        party_name=order.name,
        party_iban=IBAN(order.iban).compact if order.iban else None,
        end_to_end_id="NOTPROVIDED",
        rf=rf,
        text=None if rf else reference,
    )

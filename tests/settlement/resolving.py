"""What tests of breaks begin with, and how they look at them and close them."""

from collections.abc import Callable
from typing import Any

from settlement.answers import breaks
from tests.books import Books

# Two payouts and a withdrawal that the bank has.
SENT = """
    merchant bakery
    merchant press
    top_up   alice 20.00
    buy      alice bakery 1.07
    buy      alice press 2.00
    withdraw alice 3.00 w1
    night
"""


def listed(books: Books, *, closed: bool = False) -> list[Any]:
    """Oldest first."""
    with books.database.read() as conn:
        return list(breaks.listing(conn, closed=closed, before=None, limit=99))[::-1]


def resolve(books: Books, verb: Callable[..., Any], which: Any, **more: Any) -> Any:
    """Close a break one way; answers what that answers."""
    with books.database.settle() as conn:
        return verb(conn, which, why="asked the bank", at=books.at, **more)

"""Search: purses and merchants by what an operator has been told: an id, an address, a name.

Invariant: what was typed is only ever compared, never read as a pattern; newest first, a page at a time.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.engine import Connection, Row

from wallet.tables.merchants import merchants
from wallet.tables.purses import purses, shoppers


def find_purses(conn: Connection, text: str, *, before: UUID | None, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    """Purses whose id this is, or whose shopper's address or name it is in; all of them for an empty text."""
    query = (
        select(purses, shoppers.c.email, shoppers.c.name)
        .join(shoppers, shoppers.c.id == purses.c.shopper_id)
        .where(_fits(text, purses.c.id, shoppers.c.email, shoppers.c.name))
        .order_by(purses.c.id.desc())
        .limit(limit)
    )
    return conn.execute(query if before is None else query.where(purses.c.id < before)).all()


def find_merchants(
    conn: Connection, text: str, *, before: UUID | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """Merchants whose id this is, or in whose name, origin or address it is; all of them for an empty text."""
    fits = _fits(text, merchants.c.id, merchants.c.legal_name, merchants.c.origin, merchants.c.email)
    query = select(merchants).where(fits).order_by(merchants.c.id.desc()).limit(limit)
    return conn.execute(query if before is None else query.where(merchants.c.id < before)).all()


def _fits(text: str, key: ColumnElement[UUID], *columns: ColumnElement[str]) -> ColumnElement[bool]:
    wanted = text.replace("\0", "").strip()  # PostgreSQL takes no text with a zero in it
    try:
        return key == UUID(wanted)
    except ValueError:
        # SQLite's lower() knows ASCII only: what has other capitals is found as it was typed.
        within = [column.contains(wanted, autoescape=True) for column in columns]
        folded = [func.lower(column).contains(wanted.lower(), autoescape=True) for column in columns]
        return or_(false(), *within, *folded)

"""Owners: whose money it is, by what people call them, and who it may be for.

Invariant: a name given is somebody's, or it is refused: what nobody is called, or several are, decides nothing. What is
only likely is suggested, with what speaks for it, and a person chooses.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, or_, select
from sqlalchemy.engine import Connection, Row

from settlement.answers import breaks, references
from settlement.answers.breaks import Way
from settlement.tables import EntryMatch, entry_parts, statement_entries
from wallet.ground import names
from wallet.ground.errors import MerchantNotFound, NameAmbiguous, PurseNotFound
from wallet.ground.ids import is_reference
from wallet.tables.books import Reason, accounts, transfers
from wallet.tables.funding import announcements, top_ups
from wallet.tables.merchants import merchants
from wallet.tables.purses import purses, shoppers

# Of references typed wrongly some stretch is right: enough to find them, and for a person to compare.
_STRETCH, _MOST_PIECES = 8, 200
_MOST_NAMED = 20
# Of those whose names are alike but for their letters so many are compared.
_MOST_ALIKE = 500
# So many of the last top-ups that were announced may be what a payment is for: what is expected is not old.
_EXPECTED = 10_000
_NOBODY = "No purse and no merchant in this currency has this id, reference, e-mail address or name."


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A purse or a merchant, with what people know it by."""

    id: UUID
    is_purse: bool
    name: str
    email: str

    @property
    def purse_id(self) -> UUID | None:
        """Its id, if it is a purse."""
        return self.id if self.is_purse else None

    @property
    def merchant_id(self) -> UUID | None:
        """Its id, if it is a merchant."""
        return None if self.is_purse else self.id


def named(conn: Connection, text: str, currency: str) -> list[Owner]:
    """The purses and merchants of a currency that ``text`` is the id, a reference, the e-mail address or the name of.

    At most a few: of one that many have, it is enough to know that.
    """
    return [*_purses(conn, text, currency), *_merchants(conn, text, currency)]


def find(conn: Connection, text: str, currency: str) -> Owner:
    """The one purse or merchant that ``text`` names, as `named`. Raises `PurseNotFound` or `NameAmbiguous`."""
    found = named(conn, text, currency)
    if not found:
        raise PurseNotFound(_NOBODY)
    return _the_one(found)


def purse(conn: Connection, text: str, currency: str) -> Owner:
    """The one purse that ``text`` names. Raises `PurseNotFound` or `NameAmbiguous`."""
    found = _purses(conn, text, currency)
    if not found:
        raise PurseNotFound("No purse in this currency has this id, reference, e-mail address or name.")
    return _the_one(found)


def merchant(conn: Connection, text: str, currency: str) -> Owner:
    """The one merchant that ``text`` names. Raises `MerchantNotFound` or `NameAmbiguous`."""
    found = _merchants(conn, text, currency)
    if not found:
        raise MerchantNotFound("No merchant in this currency has this id, reference, e-mail address or name.")
    return _the_one(found)


def by_ids(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Owner]:
    """The purses and merchants of these ids."""
    some_purses = (
        select(purses.c.id, shoppers.c.name, shoppers.c.email)
        .join(shoppers, shoppers.c.id == purses.c.shopper_id)
        .where(purses.c.id.in_(ids))
    )
    some_merchants = select(merchants).where(merchants.c.id.in_(ids))
    found = [_purse_owner(row) for row in conn.execute(some_purses)]
    found += [_merchant_owner(row) for row in conn.execute(some_merchants)]
    return {owner.id: owner for owner in found}


class Because(StrEnum):
    """What speaks for a purse: the likeliest first."""

    # A reference of its that the text names, or nearly.
    REFERENCE = "reference"
    # It was topped up from that account before; a merchant is paid to it.
    ACCOUNT = "account"
    # The payer's name is its shopper's, whatever its capitals, accents, order and titles.
    NAME = "name"
    # A top-up of exactly that amount was announced and has not come.
    AMOUNT = "amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A purse that an unexplained payment may be for; the ``reference`` that is nearly named, or awaited."""

    owner: Owner
    because: Because
    reference: str | None = None


def suggestions(conn: Connection, row: Row[tuple[object, ...]], *, limit: int = 20) -> list[Suggestion]:
    """Purses that a break over money that came in may be for, the likeliest first, each once."""
    if Way.ASSIGN not in breaks.ways(row):
        return []
    queries = (
        (Because.REFERENCE, _nearly_named(row)),
        (Because.ACCOUNT, _topped_up_from(row)),
        (Because.NAME, _called(row)),
        (Because.AMOUNT, _awaiting(row)),
    )
    found: dict[UUID, Suggestion] = {}
    for because, query in queries:
        if query is None:
            continue
        for each in conn.execute(query.order_by(purses.c.id.desc()).limit(limit)):
            reference = getattr(each, "reference", None)
            found.setdefault(each.id, Suggestion(owner=_purse_owner(each), because=because, reference=reference))
    return list(found.values())[:limit]


def suggested_merchants(conn: Connection, row: Row[tuple[object, ...]], *, limit: int = 20) -> list[Suggestion]:
    """Merchants that may have paid this back: by the account that they are paid to, or by their name."""
    if Way.REPAYMENT not in breaks.ways(row):
        return []
    some = select(merchants).where(merchants.c.currency == row.currency).order_by(merchants.c.id.desc()).limit(limit)
    queries = [(Because.ACCOUNT, some.where(merchants.c.iban == row.counterparty_iban))]
    queries += [(Because.NAME, some.where(merchants.c.name_key.in_(names.keys(row.counterparty_name or ""))))]
    found: dict[UUID, Suggestion] = {}
    for because, query in queries:
        for each in conn.execute(query):
            found.setdefault(each.id, Suggestion(owner=_merchant_owner(each), because=because))
    return list(found.values())[:limit]


# --- who is called so ----------------------------------------------------------------------------------------


def _purses(conn: Connection, text: str, currency: str) -> list[Owner]:
    wanted = _typed(text)
    query = _whose(currency).limit(_MOST_ALIKE)
    if (key := _id(wanted)) is not None:
        query = query.where(purses.c.id == key)
    elif is_reference(reference := references.compact(wanted)):
        announced = select(top_ups.c.purse_id).where(top_ups.c.reference == reference)
        query = query.where(purses.c.id.in_(announced))
    else:
        # Addresses are kept in small letters.
        query = query.where(or_(shoppers.c.email == wanted.lower(), _has_key_of(wanted, shoppers.c.name_key)))
        return _called_exactly(wanted, [_purse_owner(row) for row in conn.execute(query.order_by(purses.c.id))])
    return [_purse_owner(row) for row in conn.execute(query.order_by(purses.c.id))]


def _merchants(conn: Connection, text: str, currency: str) -> list[Owner]:
    wanted = _typed(text)
    query = select(merchants).where(merchants.c.currency == currency).limit(_MOST_ALIKE)
    if (key := _id(wanted)) is not None:
        query = query.where(merchants.c.id == key)
    elif is_reference(reference := references.compact(wanted)):
        announced = select(announcements.c.merchant_id).where(announcements.c.reference == reference)
        query = query.where(merchants.c.id.in_(announced))
    else:
        mail = func.lower(merchants.c.email) == wanted.lower()
        query = query.where(or_(mail, _has_key_of(wanted, merchants.c.name_key)))
        return _called_exactly(wanted, [_merchant_owner(row) for row in conn.execute(query.order_by(merchants.c.id))])
    return [_merchant_owner(row) for row in conn.execute(query.order_by(merchants.c.id))]


def _purse_owner(row: Any) -> Owner:
    return Owner(id=row.id, is_purse=True, name=row.name, email=row.email)


def _merchant_owner(row: Any) -> Owner:
    return Owner(id=row.id, is_purse=False, name=row.legal_name, email=row.email)


def _the_one(found: Sequence[Owner]) -> Owner:
    if len(found) > 1:
        raise NameAmbiguous
    return found[0]


def _typed(text: str) -> str:
    return text.replace("\0", "").strip()  # PostgreSQL takes no text with a zero in it


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _has_key_of(text: str, column: Any) -> Any:
    key = names.key(text)
    return (column == key) & (column != "")


def _called_exactly(text: str, found: Iterable[Owner]) -> list[Owner]:
    """Of those whose name is much like it: they who are called so, whatever the capitals."""
    exactly = [each for each in found if text.casefold() in (each.name.casefold(), each.email.casefold())]
    return exactly[:_MOST_NAMED]


# --- who it may be for ---------------------------------------------------------------------------------------


def _whose(currency: str) -> Select[Any]:
    return (
        select(purses.c.id, shoppers.c.name, shoppers.c.email)
        .join(shoppers, shoppers.c.id == purses.c.shopper_id)
        .where(purses.c.currency == currency)
    )


def _announced(currency: str) -> Select[Any]:
    last = select(top_ups.c.id).order_by(top_ups.c.id.desc()).limit(_EXPECTED)
    announced = _whose(currency).join(top_ups, top_ups.c.purse_id == purses.c.id).where(top_ups.c.id.in_(last))
    return announced.add_columns(top_ups.c.reference)


def _nearly_named(row: Row[tuple[object, ...]]) -> Select[Any] | None:
    text = references.compact(f"{row.text or ''} {row.end_to_end_id or ''}")
    pieces = {text[start : start + _STRETCH] for start in range(len(text) - _STRETCH + 1)}
    if not pieces:
        return None
    near = (top_ups.c.reference.contains(piece) for piece in sorted(pieces)[:_MOST_PIECES])
    return _announced(row.currency).where(or_(*near))


def _topped_up_from(row: Row[tuple[object, ...]]) -> Select[Any] | None:
    """By its reference or by a person, whole or as a part: the books know whose each entry became."""
    if not row.counterparty_iban:
        return None
    entry, part = statement_entries.alias("earlier"), entry_parts.alias("part")
    same_payer = entry.c.counterparty_iban == row.counterparty_iban
    told = select(entry.c.id).where(same_payer, entry.c.match == EntryMatch.TOP_UP.value)
    parts = select(part.c.id).join(entry, entry.c.id == part.c.entry_id).where(same_payer)
    credited = (
        select(accounts.c.owner_id)
        .join(transfers, transfers.c.credit_account_id == accounts.c.id)
        .where(transfers.c.reason == Reason.TOP_UP.value, transfers.c.reference.in_(told.union_all(parts)))
    )
    return _whose(row.currency).where(purses.c.id.in_(credited))


def _called(row: Row[tuple[object, ...]]) -> Select[Any] | None:
    keys = names.keys(row.counterparty_name or "")
    return _whose(row.currency).where(shoppers.c.name_key.in_(keys)) if keys else None


def _awaiting(row: Row[tuple[object, ...]]) -> Select[Any] | None:
    entry = statement_entries.alias("come")
    come = select(literal(1)).where(entry.c.reference == top_ups.c.reference, entry.c.match == EntryMatch.TOP_UP.value)
    exactly = top_ups.c.amount_micros == row.difference_micros
    return _announced(row.currency).where(exactly, ~come.exists())

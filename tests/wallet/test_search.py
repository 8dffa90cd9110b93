"""Search: by id, address or name, in either case, a page at a time, and no sign is a pattern."""

from typing import Any

import pytest

from tests.support import MERCHANT_IBAN
from wallet import search
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS

PEOPLE = [("ada@a.example", "Ada Lovelace"), ("bob_1@b.example", "Bob 100%"), ("\u00e9lo@c.example", "\u00c9lodie")]


@pytest.fixture
def town(db: Database) -> dict[str, Any]:
    ids: dict[str, Any] = {}
    with db.write() as conn:
        for email, name in PEOPLE:
            ids[name] = purses.open_purse(
                conn, currency="EUR", email=email, name=name, locale="fr", limits=NO_CAPS, at=clock.now()
            )
        for name in ("Bakery", "Press"):
            ids[name] = merchants.register(
                conn,
                legal_name=name,
                iban=MERCHANT_IBAN,
                origin=f"https://{name.lower()}.example",
                currency="EUR",
                email=f"till@{name.lower()}.example",
                terms=Terms(),
                at=clock.now(),
            )
    return ids


FOUND = {
    "ada": ["Ada Lovelace"],
    " LOVELACE ": ["Ada Lovelace"],
    "\u00c9lo": ["\u00c9lodie"],
    "b.example": ["Bob 100%"],
    "100%": ["Bob 100%"],
    "%": ["Bob 100%"],
    "b_1": ["Bob 100%"],
    "a_a": [],
    "nobody": [],
    "": ["\u00c9lodie", "Bob 100%", "Ada Lovelace"],
}


def test_purses_by_address_name_and_id(db: Database, town: dict[str, Any]) -> None:
    with db.read() as conn:
        found = {text: [row.name for row in search.find_purses(conn, text, before=None, limit=9)] for text in FOUND}
        assert found == FOUND
        (ada,) = search.find_purses(conn, str(town["Ada Lovelace"]), before=None, limit=9)
        assert (ada.email, ada.currency) == ("ada@a.example", "EUR")
        first = search.find_purses(conn, "", before=None, limit=2)
        rest = search.find_purses(conn, "", before=first[-1].id, limit=2)
        assert [row.name for row in [*first, *rest]] == FOUND[""]
        (ada,) = search.find_purses(conn, "Ada\0 Lovelace", before=None, limit=9)


def test_merchants_by_name_origin_and_id(db: Database, town: dict[str, Any]) -> None:
    with db.read() as conn:
        for text in ("BAKE", "bakery.example", "till@bakery", str(town["Bakery"])):
            assert [row.legal_name for row in search.find_merchants(conn, text, before=None, limit=9)] == ["Bakery"]
        everybody = search.find_merchants(conn, "", before=None, limit=9)
        assert [row.legal_name for row in everybody] == ["Press", "Bakery"]
        assert [row.id for row in search.find_merchants(conn, "", before=everybody[0].id, limit=9)] == [town["Bakery"]]

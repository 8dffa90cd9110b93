"""Owners: a name that one is called decides, one that nobody or several have does not; the likely are suggested."""

from typing import Any

import pytest
import sqlalchemy as sa

from settlement.answers import breaks, owners
from settlement.answers.breaks import Part
from settlement.answers.owners import Because
from settlement.payouts import own_money
from tests.books import Books, camt, entry
from tests.support import MERCHANT_IBAN, SHOPPER_IBAN
from wallet.ground.errors import MerchantNotFound, NameAmbiguous, PurseNotFound
from wallet.ground.ids import new_id, new_reference
from wallet.ground.money import Money
from wallet.merchants import merchants
from wallet.people import identities
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.people import IdentityKind


@pytest.fixture
def town(books: Books) -> Books:
    books.run("merchant bakery\n merchant press FRF\n shopper alice\n shopper bob\n shopper claire FRF")
    books.run("announce alice 20.00\n announce bob 30.00")
    return books


def newest(books: Books) -> Any:
    with books.database.read() as conn:
        return breaks.listing(conn, closed=False, before=None, limit=1)[0]


def resolve(books: Books, verb: Any, **more: Any) -> None:
    with books.database.settle() as conn:
        verb(conn, newest(books).id, why="asked", at=books.at, **more)


def called(books: Books, text: str, verb: Any = owners.find, currency: str = "EUR") -> Any:
    with books.database.read() as conn:
        found = verb(conn, text, currency)
    return found.purse_id or found.merchant_id


def suggested(books: Books) -> list[tuple[str, Because]]:
    with books.database.read() as conn:
        return [(each.owner.name, each.because) for each in owners.suggestions(conn, newest(books))]


def test_a_purse_is_known_by_its_id_a_reference_an_address_or_a_name(town: Books) -> None:
    alice, reference = town.ids["alice"], town.references["alice"]
    spaced = " ".join(reference[start : start + 4] for start in range(0, len(reference), 4)).lower()
    for text in (str(alice), alice.hex, reference, spaced, " Alice@Shoppers.example ", "alice", "ALICE"):
        assert called(town, text, owners.purse) == alice
        assert called(town, text) == alice


def test_a_merchant_is_known_by_its_id_the_reference_of_what_it_pays_back_an_address_or_a_name(town: Books) -> None:
    bakery = town.ids["bakery"]
    with town.database.write() as conn:
        repaid = own_money.announce_repayment(conn, bakery, Money.parse("2.00", "EUR"), at=town.at)
        mine = own_money.announce_equity(conn, Money.parse("2.00", "EUR"), at=town.at)
    for text in (str(bakery), repaid.reference, "till@bakery.example", "Bakery"):
        assert called(town, text, owners.merchant) == bakery
        assert called(town, text) == bakery
    with pytest.raises(MerchantNotFound):
        called(town, mine.reference, owners.merchant)


def test_what_nobody_is_called_decides_nothing(town: Books) -> None:
    nobody = (str(new_id()), new_reference(), "eve@shoppers.example", "ali", "a%", "", "RF00\0", str(town.ids["press"]))
    for text in (*nobody, "claire", town.references["alice"][:-1]):
        for verb, error in ((owners.purse, PurseNotFound), (owners.merchant, MerchantNotFound)):
            with pytest.raises(error):
                called(town, text, verb)
        with pytest.raises(PurseNotFound):
            called(town, text)
    assert called(town, "claire", currency="FRF") == town.ids["claire"]
    with pytest.raises(MerchantNotFound):
        called(town, "alice", owners.merchant)
    with pytest.raises(PurseNotFound):
        called(town, "bakery", owners.purse)


def test_what_several_are_called_decides_nothing(town: Books) -> None:
    first = town.ids["alice"]
    town.shopper("alice")
    for text in ("alice", "alice@shoppers.example"):
        with pytest.raises(NameAmbiguous):
            called(town, text)
    assert called(town, str(first)) == first
    assert called(town, town.references["alice"]) == first


def test_a_reference_that_is_nearly_right_is_suggested(town: Books) -> None:
    reference = town.references["bob"]
    wrong = reference[:-1] + ("Z" if reference[-1] != "Z" else "Y")
    town.statement(f"+4.00/for_{wrong.lower()}")
    assert suggested(town) == [("bob", Because.REFERENCE)]


def test_whoever_was_topped_up_from_that_account_before_is_suggested(town: Books) -> None:
    town.statement("+20.00/alice%Somebody")
    town.statement("+4.00/no_word%Somebody_Else")
    assert suggested(town) == [("alice", Because.ACCOUNT)]
    resolve(town, breaks.split, parts=[Part(amount_micros=4_000_000, purse_id=town.ids["bob"])])
    town.statement("+5.00/no_word%Somebody_Else")
    assert sorted(suggested(town)) == [("alice", Because.ACCOUNT), ("bob", Because.ACCOUNT)]


def test_a_purse_that_a_person_chose_once_is_suggested_the_next_time(town: Books) -> None:
    town.statement("+4.00/no_word%Somebody")
    assert suggested(town) == []
    resolve(town, breaks.assign, purse_id=town.ids["bob"])
    town.statement("+5.00/no_word%Somebody")
    assert suggested(town) == [("bob", Because.ACCOUNT)]


def test_a_shopper_of_the_payers_name_is_suggested_once_for_the_best_reason(town: Books) -> None:
    town.statement("+30.00/no_word%BOB")
    assert suggested(town) == [("bob", Because.NAME)]


@pytest.mark.parametrize(
    ("shopper", "payer"),
    [
        ("Erika Müller", "MUELLER, ERIKA"),
        ("Erika Müller", "Frau Dr. Erika Muller"),
        ("Jean-François Noël", "M NOEL JEAN FRANCOIS"),
        ("Erika Müller", "ERIKA MARIA MUELLER"),
        ("Erika Müller", "PAUL UND ERIKA MÜLLER"),
        ("Łukasz Groß", "Gross Lukasz"),
        ("Søren Æbelø", "SOEREN AEBELOE"),
    ],
)
def test_a_shopper_is_suggested_however_the_bank_writes_the_payers_name(town: Books, shopper: str, payer: str) -> None:
    with town.database.write() as conn:
        for name in (shopper, "Erika", "Paul Müllermeister"):
            email = f"{name.encode().hex()}@a.example"
            purses.open_purse(conn, currency="EUR", email=email, name=name, locale="en", limits=NO_CAPS, at=town.at)
    paid = entry("P", 7_000_000, "EUR", text="no word", payer=(payer, SHOPPER_IBAN))
    town.told(camt("053", "P", "EUR", {"OPBD": 0, "CLBD": 7_000_000}, [paid], day=town.at.date()))
    assert suggested(town) == [(shopper, Because.NAME)]


def test_a_name_that_changes_is_compared_anew(town: Books) -> None:
    with town.database.write() as conn:
        at = town.at
        who = identities.add(conn, IdentityKind.SHOPPER, identifier="eve@a.example", name="Eve", locale="en", at=at)
        purses.open_purse(conn, currency="EUR", email="eve@a.example", name="", locale="en", limits=NO_CAPS, at=at)
        identities.rename(conn, who, name="Eve Adams", locale="en")
        merchants.rename(conn, town.ids["bakery"], "Wheat and Rye Ltd")
    town.statement("+7.00/no_word%ADAMS-EVE")
    assert suggested(town) == [("Eve Adams", Because.NAME)]
    town.statement("+8.00/no_word%RYE-WHEAT")
    with town.database.read() as conn:
        (found,) = owners.suggested_merchants(conn, newest(town))
    assert (found.owner.id, found.because) == (town.ids["bakery"], Because.NAME)


def test_a_merchant_is_suggested_by_the_account_that_it_is_paid_to(town: Books) -> None:
    paid = entry("P", 7_000_000, "EUR", text="no word", payer=("Somebody", MERCHANT_IBAN))
    town.told(camt("053", "P", "EUR", {"OPBD": 0, "CLBD": 7_000_000}, [paid], day=town.at.date()))
    with town.database.read() as conn:
        found = owners.suggested_merchants(conn, newest(town))
        assert [(each.owner.name, each.because) for each in found] == [("Bakery", Because.ACCOUNT)]
    town.statement("=7.00/a_charge")
    with town.database.read() as conn:
        assert owners.suggested_merchants(conn, newest(town)) == []


def test_a_name_that_is_only_much_like_it_decides_nothing(town: Books) -> None:
    with town.database.write() as conn:
        for name in ("Erika Müller", "Zoé"):
            email = f"{name.encode().hex()}@a.example"
            purses.open_purse(conn, currency="EUR", email=email, name=name, locale="en", limits=NO_CAPS, at=town.at)
    for text in ("Erika Muller", "Müller Erika", "Erika", "zoe"):
        with pytest.raises(PurseNotFound):
            called(town, text)
    assert called(town, "ERIKA MÜLLER")
    assert called(town, "ZOÉ")


def test_a_top_up_of_that_amount_is_suggested_until_it_has_come(town: Books) -> None:
    town.statement("+20.00/no_word")
    assert suggested(town) == [("alice", Because.AMOUNT)]
    town.statement("+20.00/alice")
    assert suggested(town) == []


def test_nothing_is_suggested_for_what_is_nobodys_top_up(town: Books) -> None:
    town.statement("=20.00/a_charge%alice")
    assert suggested(town) == []


@pytest.mark.only_on("sqlite")
def test_no_table_that_grows_is_read_whole_to_find_out_whose_it_may_be(town: Books) -> None:
    town.statement("+20.00/no_word%ALICE")
    plans: list[str] = []

    def explained(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = conn.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend(row[3] for row in rows)

    with town.database.read() as conn:
        row = newest(town)
        sa.event.listen(town.database.engine, "before_cursor_execute", explained)
        try:
            owners.suggestions(conn, row)
            owners.suggested_merchants(conn, row)
            owners.named(conn, "alice", "EUR")
            breaks.fitting(conn, row)
        finally:
            sa.event.remove(town.database.engine, "before_cursor_execute", explained)
    assert plans
    grow = ("shoppers", "purses", "bank_transactions", "statement_entries", "come", "earlier", "transfers", "breaks")
    # The last top-ups that were announced are read backwards, by their key, up to so many.
    assert [plan for plan in plans if plan.split()[:2] in [["SCAN", table] for table in grow]] == []

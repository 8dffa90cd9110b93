"""What a word of the bank is about, and what it does to the books."""

import pytest

from tests.books import Books, camt, entry

SENT = """
    merchant bakery
    merchant press
    top_up   alice 20.00
    buy      alice bakery 1.07 v1
    buy      alice press 2.00 v2
    withdraw alice 3.00 w1
    shopper  bob
    announce alice 5.00
    announce bob   7.00
    night
"""


@pytest.fixture
def sent(books: Books) -> Books:
    books.run(SENT)
    return books


def told(books: Books, *entries: str, kind: str = "053") -> str:
    """A statement of these entries after what is in the bank's account already."""
    return books.told(camt(kind, f"T{next(books.numbers)}", "EUR", {}, list(entries), day=books.at.date()))


@pytest.mark.parametrize(
    "spelled",
    [
        lambda rf: {"text": f"Top-up {rf.lower()}"},
        lambda rf: {"text": " ".join(rf[n : n + 4] for n in range(0, 20, 4))},
        lambda rf: {"e2e": rf},
        lambda rf: {"text": f"{rf[:12]}</Ustrd><Ustrd>{rf[12:]}"},
    ],
)
def test_a_reference_is_found_wherever_it_stands(sent: Books, spelled) -> None:
    assert told(sent, entry("E", 5_000_000, "EUR", **spelled(sent.references["alice"]))) == "1 matched"
    sent.run("purse alice -> 18.93\n breaks -> none\n audit -> sound")


def test_a_payment_naming_two_of_our_references_is_for_a_person_and_stops_nothing(sent: Books) -> None:
    both = f"{sent.references['alice']} {sent.references['bob']}"
    answer = told(
        sent, entry("E", 12_000_000, "EUR", text=both), entry("F", 7_000_000, "EUR", rf=sent.references["bob"])
    )
    assert answer == "1 matched, break several_references"
    sent.run("purse bob -> 7.00\n breaks -> several_references 12.00\n audit -> sound")


def test_two_references_of_one_purse_are_one_purses(sent: Books) -> None:
    first = sent.references["alice"]
    sent.announce("alice", "1.00")
    assert told(sent, entry("E", 6_000_000, "EUR", text=f"{first} {sent.references['alice']}")) == "1 matched"
    assert sent.purse("alice") == "19.93"


def test_a_payment_of_ours_is_known_by_its_id_in_capitals_and_by_its_reference(sent: Books) -> None:
    bakery, press = sent.transaction("bakery"), sent.transaction("press")
    capital = entry("E", -1_070_000, "EUR", e2e=bakery.end_to_end_id.upper())
    by_reference = entry("F", -2_000_000, "EUR", rf=press.reference)
    assert told(sent, capital, by_reference) == "2 matched"
    sent.run("state bakery -> booked\n state press -> booked\n audit -> sound")


def test_a_payment_and_its_fee_may_carry_one_id(sent: Books) -> None:
    row = sent.transaction("bakery")
    paid = entry("E", -1_070_000, "EUR", e2e=row.end_to_end_id)
    fee = entry("E", -380_000, "EUR", e2e=row.end_to_end_id, code="ACMT/MDOP/CHRG")
    assert told(sent, paid, fee) == "2 matched"
    sent.run("state bakery -> booked\n expenses -> 0.38\n breaks -> none\n audit -> sound")


def test_a_payment_and_its_return_under_one_reference_are_two(sent: Books) -> None:
    row = sent.transaction("bakery")
    left = entry("E", -1_070_000, "EUR", e2e=row.end_to_end_id)
    back = entry("E", 1_070_000, "EUR", e2e=row.end_to_end_id, reason="AC04")
    assert (told(sent, left), told(sent, back)) == ("1 matched", "1 matched")
    sent.run("state bakery -> returned AC04\n payable bakery -> 1.07\n breaks -> none\n audit -> sound")


def test_a_file_told_as_a_sum_and_its_payments_one_by_one_is_booked_once(sent: Books) -> None:
    sent.run("""
        notify    batch         -> 1 matched
        statement -bakery -press -w1 -> nothing
        at_bank                 -> -6.07
        breaks                  -> none
        audit                   -> sound
        statement -bakery       -> break booked_twice
    """)


def test_a_file_whose_payments_were_told_first_is_confirmed_by_its_sum(sent: Books) -> None:
    sent.run("notify -bakery -press -w1 -> 3 matched")
    file = sent.last_file()
    whole = entry("B", -6_070_000, "EUR", batch=file.payment_information_id)
    balances = {"OPBD": 0, "CLBD": -6_070_000}
    assert sent.told(camt("053", "S", "EUR", balances, [whole], day=sent.at.date())) == "nothing"
    sent.run("at_bank -> -6.07\n breaks -> none\n audit -> sound")


def test_a_file_told_in_part_is_booked_for_the_rest_by_its_sum(sent: Books) -> None:
    sent.run("notify -bakery -> 1 matched")
    file = sent.last_file()
    whole = entry("B", -6_070_000, "EUR", batch=file.payment_information_id)
    balances = {"OPBD": 0, "CLBD": -6_070_000}
    assert sent.told(camt("053", "S", "EUR", balances, [whole], day=sent.at.date())) == "2 matched"
    sent.run("state w1 -> booked\n at_bank -> -6.07\n breaks -> none\n audit -> sound")


def test_an_entry_in_another_currency_than_its_account_is_for_a_person(sent: Books) -> None:
    foreign = entry("E", 5_000_000, "CHF", rf=sent.references["alice"])
    balances = {"OPBD": 0, "CLBD": 4_900_000}
    answer = sent.told(camt("053", "S", "EUR", balances, [foreign], day=sent.at.date()))
    assert answer == "break currency_differs, break statement_sum"
    sent.run("breaks -> currency_differs 0.00, statement_sum 4.90\n purse alice -> 13.93\n audit -> sound")


def test_an_entry_in_another_currency_books_nothing_though_another_telling_names_its_purse(sent: Books) -> None:
    """A purse in that currency has nothing on an account in this one."""
    sent.run("shopper carl USD\n announce carl 4.00\n")
    told(sent, entry("E", 4_000_000, "USD", text="hello"), kind="054")
    named = entry("E", 4_000_000, "USD", rf=sent.references["carl"])
    balances = {"OPBD": 0, "CLBD": 3_500_000}
    answer = sent.told(camt("053", "S", "EUR", balances, [named], day=sent.at.date()))
    assert answer == "break statement_sum"
    sent.run("breaks -> currency_differs 0.00, statement_sum 3.50\n purse carl -> 0.00\n audit -> sound")


def test_what_an_operator_announced_is_its_own_money(sent: Books) -> None:
    sent.run("put_in 50.00\n breaks -> none\n audit -> sound")

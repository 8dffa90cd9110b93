"""Which word tells again what: by what it would do to the books; references and dates only choose among equals."""

import datetime as dt
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from settlement.answers import pairing

DAY = dt.date(2026, 5, 11)
NEXT = DAY + dt.timedelta(days=1)


def word(number: int, micros: int = 20, **facts: Any) -> Any:
    usual = {
        "id": UUID(int=number),
        "position": number,
        "amount_micros": micros,
        "is_reversal": False,
        "about": None,
        "reference": None,
        "booking_date": DAY,
        "value_date": None,
        "bank_reference": None,
        "end_to_end_id": None,
        "counterparty_name": None,
        "counterparty_iban": None,
        "text": "",
        "written_at": None,
        "same_as": None,
    }
    return SimpleNamespace(**{**usual, **facts})


def pairs(words: list[Any], facts: list[Any], **how: Any) -> list[tuple[int, int]]:
    usual = {"guessing": False, "is_statement": True}
    return sorted((w.id.int, f.id.int) for w, f in pairing.paired(words, facts, **{**usual, **how}))


def test_what_is_about_the_same_is_the_same_whatever_the_references_say() -> None:
    early = word(1, about="purse a", bank_reference="A")
    assert pairs([word(2, about="purse a", bank_reference="B")], [early]) == [(2, 1)]


@pytest.mark.parametrize("other", [{"about": "purse b"}, {"micros": 30}, {"micros": -20}, {}])
def test_what_is_about_something_else_is_never_exchanged(other: dict[str, Any]) -> None:
    early = word(1, about="purse a", bank_reference="A")
    assert pairs([word(2, **{"about": None, **other}, bank_reference="A")], [early]) == []


def test_each_fact_is_used_once() -> None:
    facts = [word(1, about="fee"), word(2, about="fee")]
    assert pairs([word(n, about="fee") for n in (3, 4, 5)], facts) == [(3, 1), (4, 2)]


def test_agreeing_references_are_preferred_then_dates() -> None:
    facts = [word(1, about="fee", bank_reference="A"), word(2, about="fee"), word(3, about="fee", booking_date=NEXT)]
    words = [word(4, about="fee", booking_date=NEXT), word(5, about="fee", bank_reference="A")]
    assert pairs(words, facts) == [(4, 3), (5, 1)]


def test_a_guess_needs_one_side_that_does_not_say() -> None:
    known, unknown = word(1, about="purse a"), word(2)
    assert pairs([word(3, about="purse b")], [known], guessing=True) == []
    assert pairs([word(3, about="purse b")], [unknown], guessing=True) == [(3, 2)]
    assert pairs([word(3)], [known], guessing=True) == [(3, 1)]


def test_a_guess_is_of_no_day_before_unless_both_have_one_name() -> None:
    """Word of another day may be another payment of equal amount, to another purse perhaps."""
    early = word(1, about="purse a", bank_reference="A", end_to_end_id="E", booking_date=NEXT)
    later: dict[str, Any] = {"booking_date": DAY}
    assert pairs([word(2, **later, bank_reference="B")], [early], guessing=True) == []
    assert pairs([word(2, booking_date=None)], [early], guessing=True) == [(2, 1)]
    assert pairs([word(2, **later, bank_reference="A")], [early], guessing=True) == [(2, 1)]
    assert pairs([word(2, **later, end_to_end_id="E")], [early], guessing=True) == [(2, 1)]
    # A counter that starts again calls two the same.
    first = word(1, about="purse a", bank_reference="1", counterparty_name="Erika Exempel", booking_date=NEXT)
    other = word(2, **later, bank_reference="1", counterparty_name="Max Muster")
    assert pairs([other], [first], guessing=True) == []
    late = word(3, bank_reference="A", end_to_end_id="E")
    other = word(1, about="purse a", booking_date=NEXT)
    assert pairs([late], [other], guessing=True, is_statement=False, last_day=NEXT) == []


def test_a_statement_may_tell_it_some_days_later() -> None:
    early = word(1, about="purse a")
    for late, expected in ((7, [(2, 1)]), (8, [])):
        told = word(2, booking_date=DAY + dt.timedelta(days=late))
        assert pairs([told], [early], guessing=True) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, False),
        ({"end_to_end_id": "a"}, {"end_to_end_id": "b"}, True),
        ({"end_to_end_id": "a"}, {}, False),
        ({"counterparty_iban": "FR76"}, {"counterparty_iban": "DE02"}, True),
        ({"counterparty_name": "Erika Exempel"}, {"counterparty_name": "ERIKA EXEMPEL GMBH"}, False),
        ({"counterparty_name": "Erika Exempel"}, {"counterparty_name": "EXEMPEL, ERIKA"}, False),
        ({"counterparty_name": "Erika Exempel"}, {"counterparty_name": "Jörg Muster"}, True),
        ({"bank_reference": "A", "text": "for bread"}, {"bank_reference": "A", "text": "for cake"}, False),
        ({"text": "for bread"}, {"text": "SVWZ+FOR BREAD 12"}, False),
        ({"text": "for bread"}, {"text": "for cake"}, True),
        ({"reference": "RF1812"}, {"reference": "RF1813"}, True),
        ({"reference": "RF1812"}, {}, False),
    ],
)
def test_what_cannot_both_be_true(one: dict[str, Any], other: dict[str, Any], expected: bool) -> None:
    assert pairing.contradict(word(1, **one), word(2, **other)) is expected
    assert (pairs([word(1, **one)], [word(2, **other)], guessing=True) == []) is expected


def test_a_notification_of_another_day_or_payer_is_of_another_fact() -> None:
    fact = word(1, about="purse a", counterparty_iban="FR76")
    told: dict[str, Any] = {"about": "purse a", "counterparty_iban": "FR76"}
    assert pairs([word(2, **told)], [fact], is_statement=False) == [(2, 1)]
    assert pairs([word(2, **told, booking_date=NEXT)], [fact], is_statement=False) == []
    assert pairs([word(2, **{**told, "counterparty_iban": "DE02"})], [fact], is_statement=False) == []
    # A statement's word is paired all the same: what would be booked the same may be exchanged.
    assert pairs([word(2, **told, booking_date=NEXT)], [fact]) == [(2, 1)]


def test_late_word_may_be_of_another_date_than_its_statement() -> None:
    fact = word(1, about="purse a", booking_date=NEXT)
    assert pairs([word(2, about="purse a")], [fact], is_statement=False) == []
    assert pairs([word(2, about="purse a")], [fact], is_statement=False, last_day=DAY) == []
    assert pairs([word(2, about="purse a")], [fact], is_statement=False, last_day=NEXT) == [(2, 1)]
    weeks = word(3, about="purse a", booking_date=DAY + dt.timedelta(days=20))
    assert pairs([word(2, about="purse a")], [weeks], is_statement=False, last_day=NEXT) == []


def test_a_statement_is_in_another_only_if_all_of_it_is() -> None:
    longer = [word(1), word(2, 30), word(3, -5)]
    how = {"same_day": True, "by_reference": False}
    found = pairing.contained([word(4, 30), word(5)], longer, **how)
    assert found is not None
    assert {key.int: told.id.int for key, told in found.items()} == {4: 2, 5: 1}  # type: ignore[attr-defined]
    assert pairing.contained([word(4), word(5)], longer, **how) is None
    assert pairing.contained([word(4, booking_date=NEXT)], longer, **how) is None


def test_a_reversal_is_told_again_under_either_sign() -> None:
    how = {"same_day": True, "by_reference": False}
    assert pairing.contained([word(1, 20, is_reversal=True)], [word(2, -20, is_reversal=True)], **how) is not None
    assert pairing.contained([word(1, 20, is_reversal=True)], [word(2, -20)], **how) is None
    assert pairing.contained([word(1, 20)], [word(2, -20, is_reversal=True)], **how) is None


def test_without_dates_the_statements_must_be_of_one_day_and_references_may_tell() -> None:
    undated, other = word(1, booking_date=None, bank_reference="A"), word(2, booking_date=None, bank_reference="B")
    assert pairing.contained([undated], [other], same_day=False, by_reference=False) is None
    assert pairing.contained([undated], [other], same_day=True, by_reference=False) is not None
    assert pairing.contained([undated], [other], same_day=True, by_reference=True) is None

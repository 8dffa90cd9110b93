"""Ids grow with time; references carry check digits that others agree with."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stdnum import iso11649

from wallet.ground import ids


def test_ids_are_version_7_all_different_and_in_the_order_they_were_made():
    made = [ids.new_id() for _ in range(2_000)]
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert all(one < other for one, other in pairwise(made))


def test_an_id_is_pythons_own_kind_of_uuid():
    """So that databases, JSON and comparisons treat it as one."""
    assert type(ids.new_id()).__module__ == "uuid"


def test_references_hold_for_an_independent_validator():
    made = [ids.new_reference() for _ in range(500)]
    assert len(set(made)) == len(made)
    for reference in made:
        assert iso11649.validate(reference) == reference
        assert ids.is_reference(reference)
        assert len(reference) == 20
        assert not set(reference[4:]) & set("ILOU")


@given(position=st.integers(4, 19), other=st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_a_digit_for_a_digit_or_a_letter_for_a_letter_is_found(position, other):
    reference = ids.new_reference()
    # ISO 7064 counts a letter as two digits, so a letter for a digit shifts the rest and may, rarely, go unseen.
    assume(reference[position].isdigit() == other.isdigit())
    mistyped = reference[:position] + other + reference[position + 1 :]
    assert ids.is_reference(mistyped) == (mistyped == reference)


@pytest.mark.parametrize("text", ["", "RF", "RF00", "RF18539007547035", "DE89370400440532013000", "RF18" + "0" * 22])
def test_what_is_not_a_reference_is_refused(text):
    assert not ids.is_reference(text)


def test_a_reference_from_the_standard_is_one():
    assert ids.is_reference("RF18539007547034")


def test_what_is_stored_of_a_token_is_its_sha_256_whatever_somebody_sends():
    assert ids.token_sha256("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(ids.token_sha256("\ud800")) == 32

"""Names: one key for one name, however a bank writes it; and for each of those whom a payer's name may mean."""

import pytest

from wallet.ground import names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Erika Müller", "MUELLER ERIKA"),
        ("Müller, Dr. Erika", "erika muller"),
        ("Noël", "NOEL"),
        ("Groß", "GROSS"),
        ("Bakery GmbH", "BAKERY"),
        ("O'Brien", "O BRIEN"),
        ("Ελένη", "ΕΛΕΝΗ"),
    ],
)
def test_one_name_has_one_key(one: str, other: str) -> None:
    assert names.key(one) == names.key(other) != ""


@pytest.mark.parametrize(("one", "other"), [("Erika Müller", "Erika"), ("Anna", "Anne"), ("Dr", "Herr"), ("A B", "AB")])
def test_other_names_have_others(one: str, other: str) -> None:
    assert names.key(one) != names.key(other)


def test_a_payer_may_be_one_of_two_or_have_a_second_name() -> None:
    assert names.key("Erika Müller") in names.keys("Erika und Paul MUELLER")
    assert names.key("Paul Müller") in names.keys("Erika und Paul MUELLER")
    # One word in common is nobody.
    assert names.key("Erika") not in names.keys("Erika Müller")
    assert names.keys("ERIKA") == ["erika"]
    assert names.keys("– !") == []


def test_a_long_name_is_looked_for_in_few_ways() -> None:
    words = " ".join(f"name{number}" for number in range(90))
    assert len(names.keys(words)) == 2**7 - 7 - 1
    assert max(map(len, names.keys("x" * 500))) == len(names.key("x" * 500)) == 140

"""Whose account it is: by IBAN, by the number inside it, or by another name of the bank's; never by a shared one."""

import pytest

from settlement.bank.account import compact, is_ours

IBAN = "DE89370400440532013000"
OF_ANOTHER = "FR7630006000011234567890189"


@pytest.mark.parametrize(
    "ids",
    [
        [IBAN],
        ["de89 3704 0044 0532 0130 00"],
        ["370400440532013000"],
        ["3704 0044-0532013000"],
        ["000370400440532013000"],
        ["K-77/12 a"],
        ["0004711"],
        ["SOMETHING", "4711"],
        [IBAN, "SOMETHING"],
    ],
)
def test_ours_by_any_of_its_names(ids: list[str]) -> None:
    assert is_ours(ids, iban=IBAN, other_ids=("K7712A", "4711"))


@pytest.mark.parametrize(
    "ids",
    [
        [],
        [""],
        ["---"],
        ["0"],
        ["000000"],
        ["NOTPROVIDED"],
        ["0532013000"],
        ["370400440532013001"],
        [OF_ANOTHER],
        # The customer number is the same for all accounts of one owner: the IBAN decides.
        [OF_ANOTHER, "4711"],
    ],
)
def test_not_ours(ids: list[str]) -> None:
    assert not is_ours(ids, iban=IBAN, other_ids=("4711", "000"))


def test_an_iban_that_the_account_had_before_is_a_name_as_any_other() -> None:
    assert is_ours([OF_ANOTHER], iban=IBAN, other_ids=(OF_ANOTHER,))
    assert not is_ours([OF_ANOTHER], iban=IBAN)


def test_compact_leaves_what_tells_numbers_apart() -> None:
    assert (compact("0600-123-456"), compact("k 07/a"), compact("00")) == ("600123456", "K07A", "")

"""Whose account a bank speaks of: banks name one by its IBAN, by the domestic number inside it, or by one of their own.

Invariant: an IBAN decides. A number that a bank uses for several accounts of ours (a customer number) never makes
another account's statement ours.
"""

import re
from collections.abc import Collection, Iterable

import schwifty

_NOT_OF_A_NUMBER = re.compile(r"[^0-9A-Z]")


def is_ours(ids: Iterable[str], *, iban: str, other_ids: Collection[str] = ()) -> bool:
    """Whether these names of one account, as a bank gives them, are names of the account ``iban``.

    ``other_ids`` are what else the bank calls it. Spaces, signs, small letters and leading zeros do not matter.
    """
    # ISO 13616: the domestic number (BBAN) follows country and check digits.
    ours = {compact(each) for each in (iban, compact(iban)[4:], *other_ids)} - {""}
    told = {compact(each) for each in ids} - {""}
    ibans = {each for each in told if schwifty.IBAN(each, allow_invalid=True).is_valid}
    return bool((ibans or told) & ours)


def compact(number: str) -> str:
    """The letters and digits of an account's number, in capitals; of digits alone, without zeros before."""
    plain = _NOT_OF_A_NUMBER.sub("", number.upper())
    return plain.lstrip("0") if plain.isdigit() else plain

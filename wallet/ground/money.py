"""Money: whole micros of one currency, and the only place where amounts are parsed and printed.

Invariant: an amount is an integer count of micros (10**-6 of the currency's unit) within the books' 64-bit
column, and one that somebody asks for within ``MAX_MICROS``: what comes in is bounded, not what adds up.
No float comes in, two currencies never mix, and only `whole_minor` rounds (down, at the bank's border).

Exponents are those of ISO 4217:2015 list one, from the ``iso4217`` package; the French franc, which left that
list in 2002, is kept from list three because fees of the year 2000 are quoted in it. What leaves the list while
the books hold it is remembered from their table ``currencies``: it is shown and paid out, and never opened anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import iso4217

from wallet.ground.errors import AmountInvalid, CurrencyMismatch, CurrencyUnknown, CurrencyWithdrawn

MICROS_PER_UNIT = 1_000_000
_DECIMALS = 6
# A thousand million units, the most that one call, form, order or setting can name: 9 000 of them still add up
# within a signed 64-bit integer.
MAX_MICROS = 1_000_000_000 * MICROS_PER_UNIT
# A million million units, the most that the bank's own messages can name: one typed wrong adds up to a balance, too.
MAX_TOLD_MICROS = 1_000 * MAX_MICROS
# The most that a column holds, and so a balance or a sum.
MAX_SUM_MICROS = 2**63 - 1

# The currencies of today.
LISTED: Mapping[str, int] = {
    **{str(entry.code): entry.exponent for entry in iso4217.Currency if entry.exponent is not None},
    "FRF": 2,
}
# Those and what `remember` added.
EXPONENTS: Mapping[str, int] = (_known := dict(LISTED))

_DECIMAL_STRING = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?", re.ASCII)
# XML Schema 1.0 part 2, 3.2.3.1: a decimal may lack either side of its point, and have a plus and any zeros.
_XSD_DECIMAL = re.compile(r"\+?(?=[0-9]|\.[0-9])([0-9]*)(?:\.([0-9]*))?", re.ASCII)


def remember(exponents: Mapping[str, int]) -> None:
    """Know these currencies of the books by their minor units, though ISO 4217 may have dropped them."""
    for currency, exponent in exponents.items():
        _known.setdefault(currency, exponent)


def minor_unit_micros(currency: str) -> int:
    """Micros in the smallest amount a bank moves: 10 000 for EUR, 1 000 000 for JPY, 1 000 for TND.

    Raises `CurrencyUnknown` for a code that is not in ISO 4217 or has no minor unit (XAU), and that no books hold.
    """
    try:
        return int(10 ** (_DECIMALS - EXPONENTS[currency]))
    except KeyError:
        raise CurrencyUnknown(f"{currency!r} is not an ISO 4217 currency with a minor unit.") from None


def check_listed(currency: str) -> None:
    """Whether something can be opened in it: `CurrencyWithdrawn` for what ISO 4217 dropped, or `CurrencyUnknown`."""
    minor_unit_micros(currency)
    if currency not in LISTED:
        raise CurrencyWithdrawn(f"{currency} is no longer a currency of ISO 4217.")


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in one currency. ``micros`` may be negative: a difference or a purse on credit."""

    micros: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.micros) is not int:
            raise TypeError(f"micros must be int, not {type(self.micros).__name__}")
        if not -MAX_SUM_MICROS <= self.micros <= MAX_SUM_MICROS:
            raise AmountInvalid("The amount is larger than this system's books hold.")
        minor_unit_micros(self.currency)

    @classmethod
    def parse(cls, amount: str, currency: str) -> Self:
        """Read what somebody asks for, such as ``"0.002"``: no sign, no exponent, at most six decimals.

        Raises `AmountInvalid`, also above `MAX_MICROS`, or `CurrencyUnknown`; zero is an amount, and callers that
        need more say so.
        """
        if not isinstance(amount, str):
            raise AmountInvalid("An amount is a decimal string, not a number.")
        match = _DECIMAL_STRING.fullmatch(amount)
        if match is None:
            raise AmountInvalid("An amount is a decimal string without sign or exponent, with at most six decimals.")
        units, fraction = match.group(1), match.group(2) or ""
        micros = int(units) * MICROS_PER_UNIT + int(fraction.ljust(_DECIMALS, "0"))
        if micros > MAX_MICROS:
            raise AmountInvalid("The amount is larger than this system moves at once.")
        return cls(micros, currency)

    @classmethod
    def of_xml(cls, amount: str, currency: str) -> Self:
        """Read an ``xs:decimal`` of the bank's: ``.35``, ``20.`` and ``+20.00`` are amounts, ``-1`` is none.

        A seventh decimal has to be a zero. Raises `AmountInvalid`, also above `MAX_TOLD_MICROS`, or
        `CurrencyUnknown`.
        """
        match = _XSD_DECIMAL.fullmatch(amount)
        if match is None:
            raise AmountInvalid("An amount is a decimal number that is not negative.")
        units, fraction = match.group(1).lstrip("0"), (match.group(2) or "").rstrip("0")
        if len(fraction) > _DECIMALS:
            raise AmountInvalid("An amount has at most six decimals that are not zero.")
        whole = int(units or 0) if len(units) <= len(str(MAX_TOLD_MICROS)) else MAX_TOLD_MICROS
        micros = whole * MICROS_PER_UNIT + int(fraction.ljust(_DECIMALS, "0"))
        if micros > MAX_TOLD_MICROS:
            raise AmountInvalid("The amount is larger than this system's books hold.")
        return cls(micros, currency)

    def __str__(self) -> str:
        """The wire form: at least the currency's own decimals, more only where the micros need them."""
        return decimal_string(self.micros, self.currency)

    def __add__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.micros + other.micros, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.micros - other.micros, self.currency)

    def _same_currency(self, other: "Money") -> None:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not add up.")


def decimal_string(micros: int, currency: str) -> str:
    """The wire form of any count of micros; a total over many accounts may be larger than one column."""
    sign = "-" if micros < 0 else ""
    units, rest = divmod(abs(micros), MICROS_PER_UNIT)
    fraction = f"{rest:06d}".rstrip("0").ljust(EXPONENTS[currency], "0")
    return f"{sign}{units}.{fraction}" if fraction else f"{sign}{units}"


def whole_minor(micros: int, currency: str) -> int:
    """The largest whole number of minor units within ``micros`` (≥ 0), in micros: what a bank can move."""
    if micros < 0:
        raise AmountInvalid("A negative amount cannot cross the bank's border.")
    return micros - micros % minor_unit_micros(currency)


def largest_transaction(currency: str) -> int:
    """The most that one bank transaction carries, in micros: nine digits before the point.

    EPC132-08, InstructedAmount, says so of the euro (999 999 999.99); other banks take no more.
    """
    return MAX_MICROS - minor_unit_micros(currency)


def is_whole_minor(micros: int, currency: str) -> bool:
    """Whether a bank can move exactly this amount."""
    return micros % minor_unit_micros(currency) == 0


def share_bp(micros: int, basis_points: int) -> int:
    """``basis_points`` ten-thousandths of ``micros`` (≥ 0), rounded down to whole micros."""
    if micros < 0:
        raise AmountInvalid("A share is taken of an amount that is not negative.")
    return micros * basis_points // 10_000

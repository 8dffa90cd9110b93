"""Money: whole micros of one currency, and the only place where amounts are parsed and printed.

Invariant: an amount is an integer count of micros (10**-6 of the currency's unit) within ±``MAX_MICROS``.
No float comes in, two currencies never mix, and only `whole_minor` rounds (down, at the bank's border).

Exponents are those of ISO 4217:2015 list one, from the ``iso4217`` package; the French franc, which left that
list in 2002, is kept from list three because fees of the year 2000 are quoted in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import iso4217

from wallet.errors import AmountInvalid, CurrencyMismatch, CurrencyUnknown

MICROS_PER_UNIT = 1_000_000
_DECIMALS = 6
# A thousand million units: 9 000 of the largest amounts still add up within a signed 64-bit integer.
MAX_MICROS = 1_000_000_000 * MICROS_PER_UNIT

EXPONENTS: Mapping[str, int] = {
    **{str(entry.code): entry.exponent for entry in iso4217.Currency if entry.exponent is not None},
    "FRF": 2,
}

_DECIMAL_STRING = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?", re.ASCII)


def minor_unit_micros(currency: str) -> int:
    """Micros in the smallest amount a bank moves: 10 000 for EUR, 1 000 000 for JPY, 1 000 for TND.

    Raises `CurrencyUnknown` for a code that is not in ISO 4217 or has no minor unit (XAU).
    """
    try:
        return int(10 ** (_DECIMALS - EXPONENTS[currency]))
    except KeyError:
        raise CurrencyUnknown(f"{currency!r} is not an ISO 4217 currency with a minor unit.") from None


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in one currency. ``micros`` may be negative: a difference or a purse on credit."""

    micros: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.micros) is not int:
            raise TypeError(f"micros must be int, not {type(self.micros).__name__}")
        if not -MAX_MICROS <= self.micros <= MAX_MICROS:
            raise AmountInvalid("The amount is larger than this system moves.")
        minor_unit_micros(self.currency)

    @classmethod
    def parse(cls, amount: str, currency: str) -> Self:
        """Read a decimal string such as ``"0.002"``: no sign, no exponent, at most six decimals.

        Raises `AmountInvalid` or `CurrencyUnknown`; zero is an amount, and callers that need more say so.
        """
        if not isinstance(amount, str):
            raise AmountInvalid("An amount is a decimal string, not a number.")
        match = _DECIMAL_STRING.fullmatch(amount)
        if match is None:
            raise AmountInvalid("An amount is a decimal string without sign or exponent, with at most six decimals.")
        units, fraction = match.group(1), match.group(2) or ""
        return cls(int(units) * MICROS_PER_UNIT + int(fraction.ljust(_DECIMALS, "0")), currency)

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
    """The wire form of any count of micros; a total over many accounts may be larger than one `Money`."""
    sign = "-" if micros < 0 else ""
    units, rest = divmod(abs(micros), MICROS_PER_UNIT)
    fraction = f"{rest:06d}".rstrip("0").ljust(EXPONENTS[currency], "0")
    return f"{sign}{units}.{fraction}" if fraction else f"{sign}{units}"


def whole_minor(micros: int, currency: str) -> int:
    """The largest whole number of minor units within ``micros`` (≥ 0), in micros: what a bank can move."""
    if micros < 0:
        raise AmountInvalid("A negative amount cannot cross the bank's border.")
    return micros - micros % minor_unit_micros(currency)


def is_whole_minor(micros: int, currency: str) -> bool:
    """Whether a bank can move exactly this amount."""
    return micros % minor_unit_micros(currency) == 0


def share_bp(micros: int, basis_points: int) -> int:
    """``basis_points`` ten-thousandths of ``micros`` (≥ 0), rounded down to whole micros."""
    if micros < 0:
        raise AmountInvalid("A share is taken of an amount that is not negative.")
    return micros * basis_points // 10_000

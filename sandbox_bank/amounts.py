"""Amounts: integers of micros (10^-6 of the currency's unit), decimal strings only at the border.

Invariant: no float, no rounding; text that is not an exact number of micros is an error.
"""

import re

MICROS = 1_000_000

#: Decimals of the currencies that do not have two: ISO 4217 list one, and the francs of list three by
#: default.
_EXPONENTS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

#: No single amount above ten thousand million units, so that the books' 64-bit sums hold hundreds of them.
LARGEST = 10**10 * MICROS

_DECIMAL = re.compile(r"\+?(?P<units>[0-9]*)(?:\.(?P<fraction>[0-9]*))?")


def parse(text: str) -> int:
    """Read a non-negative decimal (``xs:decimal`` without minus: no exponent) as micros.

    Raises ValueError when it is no such number or finer than a micro.
    """
    found = _DECIMAL.fullmatch(text.strip())
    if found is None or not (found["units"] or found["fraction"]):
        raise ValueError(f"not a decimal amount: {text!r}")
    fraction = (found["fraction"] or "").rstrip("0")
    if len(fraction) > 6:
        raise ValueError(f"finer than a millionth: {text!r}")
    return int(found["units"] or "0") * MICROS + int(fraction.ljust(6, "0"))


def exponent(currency: str) -> int:
    """Decimals of the currency's minor unit (ISO 4217); two unless listed."""
    return _EXPONENTS.get(currency, 2)


def is_whole(amount_micros: int, currency: str) -> bool:
    """True when the amount is a whole number of the currency's minor units."""
    return bool(amount_micros % 10 ** (6 - exponent(currency)) == 0)


def show(amount_micros: int, currency: str) -> str:
    """Print micros as a decimal with the currency's decimals: ``0.38``, ``-12``, ``1.250``."""
    if not is_whole(amount_micros, currency):
        raise ValueError(f"{amount_micros} micros are not whole minor units of {currency}")
    sign = "-" if amount_micros < 0 else ""
    units, rest = divmod(abs(amount_micros), MICROS)
    digits = exponent(currency)
    return f"{sign}{units}.{rest:06d}"[: -(6 - digits)] if digits else f"{sign}{units}"

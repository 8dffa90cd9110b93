"""The languages of pages and mail: messages, amounts, dates, in English and French.

Invariant: messages are written in English where they are used, and every one of them is in ``translations/fr``
(a test looks). Amounts show every micro they have and at least ISO 4217's decimals, which Babel's do not follow.
"""

import datetime as dt
import functools
import gettext
import io
import math
from decimal import Decimal
from pathlib import Path
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency

from wallet.ground.money import EXPONENTS, MICROS_PER_UNIT, Money

LOCALES = ("en", "fr")
TRANSLATIONS = Path(__file__).resolve().parents[2] / "translations"
_DECIMALS = 6
_MANY_MINUTES = 100
# Dates and amounts as people write them where the currency is mostly euro: 23 November 2026, not November 23.
_REGION = {"en": "en_IE", "fr": "fr_FR"}


def chosen(*wishes: str | None) -> str:
    """The first of these that is a language of ours, else English."""
    return next((wish for wish in wishes if wish in LOCALES), "en")


@functools.cache
def catalog(locale: str) -> gettext.NullTranslations:
    """The messages of one language, from every file of its folder; English is what stands in the code."""
    messages = gettext.NullTranslations()
    for file in sorted((TRANSLATIONS / locale).glob("*.po"), reverse=True):
        with file.open("rb") as opened:
            read = read_po(opened, locale=locale)
        compiled = io.BytesIO()
        write_mo(compiled, read)
        compiled.seek(0)
        translated = gettext.GNUTranslations(compiled)
        translated.add_fallback(messages)
        messages = translated
    return messages


def translate(locale: str, message: str, **values: object) -> str:
    """``message`` in this language, its ``%(name)s`` filled in."""
    text = catalog(locale).gettext(message)
    return text % values if values else text


def money(amount: Money, locale: str, *, sign: bool = False) -> str:
    """An amount as people read it: ``0,20 €``, ``€0.002``; with ``sign``, a plus where it is above zero."""
    exponent = EXPONENTS[amount.currency]
    decimals = "0" * exponent + "#" * (_DECIMALS - exponent)
    region = Locale.parse(_REGION[locale])
    standard: str = region.currency_formats["standard"].pattern
    pattern = standard.replace("#,##0.00", f"#,##0.{decimals}")
    text: str = format_currency(
        Decimal(amount.micros) / MICROS_PER_UNIT,
        amount.currency,
        pattern,
        locale=region,
        currency_digits=False,
    )
    return f"+{text}" if sign and amount.micros > 0 else text


def date(value: dt.date, locale: str) -> str:
    """``23 November 2026``."""
    text: str = format_date(value, "long", locale=_REGION[locale])
    return text


def instant(value: dt.datetime, locale: str) -> str:
    """``23 Nov 2026, 21:05 UTC``: every time on a page is UTC and says so."""
    text: str = format_datetime(value.astimezone(dt.UTC), "d MMM y, HH:mm", locale=_REGION[locale])
    return f"{text} UTC"


def later(wait: dt.timedelta, locale: str) -> str:
    """After how long: ``in 15 minutes``, ``in 3 hours``; in whole ones, and never sooner."""
    minutes = -(-wait // dt.timedelta(minutes=1))
    unit: Literal["minute", "hour"] = "minute" if minutes < _MANY_MINUTES else "hour"
    whole = dt.timedelta(minutes=max(1, minutes)) if unit == "minute" else dt.timedelta(hours=-(-minutes // 60))
    text: str = format_timedelta(whole, unit, threshold=math.inf, add_direction=True, locale=_REGION[locale])
    return text

"""Amounts, dates and messages, as people in each language write them."""

import ast
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from wallet.ground import languages
from wallet.ground.errors import leaves
from wallet.ground.money import Money

ROOT = Path(__file__).resolve().parents[3]
CODE = ("wallet", "settlement", "web", "cli")
# The functions that look a message up in the reader's language.
LOOKS_UP = {"say", "tell", "translate", "N_"}


@pytest.mark.parametrize(
    ("micros", "currency", "english", "french"),
    [
        (200_000, "EUR", "€0.20", "0,20 €"),
        (2_000, "EUR", "€0.002", "0,002 €"),
        (1, "EUR", "€0.000001", "0,000001 €"),
        (-1_234_567_890_000, "EUR", "-€1,234,567.89", "-1 234 567,89 €"),
        (5_000_000, "JPY", "JP¥5", "5 JPY"),
        (1_234_000, "TND", "TND1.234", "1,234 TND"),
    ],
)
def test_an_amount_shows_every_micro_and_at_least_its_minor_units(
    micros: int, currency: str, english: str, french: str
) -> None:
    shown = [languages.money(Money(micros, currency), locale) for locale in ("en", "fr")]
    assert [re.sub("[\u00a0\u202f]", " ", text) for text in shown] == [english, french]


def test_a_sign_is_shown_where_asked_for() -> None:
    assert languages.money(Money(10_000, "EUR"), "en", sign=True) == "+€0.01"
    assert languages.money(Money(0, "EUR"), "en", sign=True) == "€0.00"


def test_dates_and_times_say_their_month_and_zone() -> None:
    instant = dt.datetime(2026, 2, 3, 23, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert languages.date(instant.date(), "fr") == "3 février 2026"
    assert languages.instant(instant, "en") == "3 Feb 2026, 22:05 UTC"


def test_the_first_wish_that_is_a_language_of_ours_is_granted() -> None:
    assert languages.chosen(None, "de", "fr", "en") == "fr"
    assert languages.chosen("de") == "en"


def _in_templates() -> set[str]:
    found: set[str] = set()
    for package in CODE:
        for _, _, message, _, _ in extract_from_dir(
            ROOT / package,
            method_map=[("**.html", "jinja2"), ("**.txt", "jinja2")],
            options_map={"**.html": {"trimmed": "true"}},
        ):
            found.add(message[0] if isinstance(message, tuple) else message)  # its plural stands beside it
    return found


def _in_code() -> set[str]:
    found = {error.title for error in leaves()}
    for package in CODE:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in LOOKS_UP:
                    found |= {
                        each.value
                        for each in node.args
                        if isinstance(each, ast.Constant) and isinstance(each.value, str) and " " in each.value
                    }
    return found


def test_every_message_is_in_french() -> None:
    french = languages.catalog("fr")
    missing = sorted(text for text in _in_templates() | _in_code() if text and french.gettext(text) == text)
    missing = [text for text in missing if text not in SAME_IN_FRENCH]
    assert not missing, f"{len(missing)} without French:\n" + "\n".join(map(repr, missing))


def _translated() -> Iterator[tuple[str, Message]]:
    for path in sorted((languages.TRANSLATIONS / "fr").glob("*.po")):
        with path.open("rb") as file:
            yield from ((path.name, message) for message in read_po(file, locale="fr") if message.id)


def test_what_is_filled_in_is_the_same_in_both_languages() -> None:
    for name, message in _translated():
        for one, other in zip(_all(message.id), _all(message.string), strict=False):
            assert set(_PLACES.findall(one)) >= set(_PLACES.findall(other)), f"{name}: {one!r}"


def test_every_message_is_translated_once_and_is_said_somewhere() -> None:
    places = Counter(_all(message.id)[0] for _, message in _translated())
    assert [text for text, count in places.items() if count > 1] == []
    said = _in_templates() | {error.title for error in leaves()} | _strings() | PUT_TOGETHER
    assert sorted(places.keys() - said) == []


def _strings() -> set[str]:
    return {
        node.value
        for package in CODE
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


_PLACES = re.compile(r"%\(\w+\)s|\{\w+\}")
# By the code, from a number or from two halves; or by marshmallow.
PUT_TOGETHER = {
    "1 to 16 characters.",
    "1 to 70 characters.",
    "A merchant has at most 10 endpoints.",
    'A decimal string such as "0.07", at most six decimals, without sign or exponent.',
    'A decimal string such as "0.07", at most six decimals, without sign or exponent, above zero.',
    "The amount would go above the limit per day.",
    "The amount would go above the limit per day at this merchant.",
    "Missing data for required field.",
}
SAME_IN_FRENCH = {"PIN", "IBAN", "Notifications", "QR code", "Date", "Passkey", "CSV", "PDF"} | {
    "Commission",
    "Pages",
    "Webhooks",
    "page %(page)s",
}


def _all(text: object) -> list[str]:
    return [str(part) for part in text] if isinstance(text, tuple | list) else [str(text)]


def test_the_messages_of_templates_are_found() -> None:
    assert babel_extract is not None
    assert "Skip to the content" in _in_templates()
    assert "Activate your purse" in _in_code()

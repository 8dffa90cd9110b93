"""Letters about ways in: in the reader's language, without what strangers typed."""

from types import SimpleNamespace

import pytest

from wallet.people import letters
from wallet.people.ways_in import WayIn
from wallet.tables.people import LinkPurpose


@pytest.mark.parametrize(("locale", "word"), [("en", "Hello"), ("fr", "Bonjour")])
@pytest.mark.parametrize("purpose", list(LinkPurpose))
@pytest.mark.parametrize("kind", ["shopper", "operator"])
def test_a_link_comes_in_the_readers_language(locale: str, word: str, purpose: LinkPurpose, kind: str) -> None:
    who = SimpleNamespace(identifier="a@b.example", name="Ada", locale=locale, kind=kind)
    letter = letters.link(who, purpose, "token", origin="https://w.example", wallet_name="Obole")
    assert letter.recipient == "a@b.example"
    # Anybody signs anybody up, under any name: what a stranger typed is in no letter.
    is_asked_for = purpose is LinkPurpose.ACTIVATE and kind == "shopper"
    assert letter.body.startswith(f"{word}," if is_asked_for else f"{word} Ada")
    assert ("Ada" in letter.body) is not is_asked_for
    assert "https://w.example/link/token" in letter.body


def test_what_goes_on_without_the_secret_is_named_on_one_line_for_each_kind() -> None:
    who = SimpleNamespace(identifier="a@b.example", name="Ada", locale="en", kind="shopper")
    goes_on = {WayIn.DEVICE: ["a\nb", "http://c"], WayIn.KEY: list("123456")}
    letter = letters.link(who, LinkPurpose.RESET, "t", origin="o", wallet_name="w", goes_on=goes_on)
    assert letter.body.splitlines()[-2:] == [
        "* Devices, which pay without a PIN (2): a b, http c",
        "* Keys of programs, which pay without a PIN (6): 1, 2, 3, 4, 5, …",
    ]


def test_who_has_a_purse_already_is_led_to_it() -> None:
    who = SimpleNamespace(identifier="a@b.example", name="Ada", locale="en")
    assert "https://w.example/sign-in" in letters.already_known(who, origin="https://w.example", wallet_name="O").body

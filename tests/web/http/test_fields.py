"""The wire format, field by field: what passes, what does not, and that the document says the same."""

import re
from collections.abc import Iterator

import pytest
from marshmallow import ValidationError

from wallet.ground.money import MAX_MICROS, Money
from web import api
from web.api.purses import Shopper
from web.api.refunds import NewRefund
from web.http.fields import CLEAN_PATTERN, POSITIVE_PATTERN, Amount, Id, Strict, Text, Whole


@pytest.mark.parametrize(
    "text", ["0.000001", "0.07", "1", "1.5", "10.10", "999999999", "999999999.999999", "0.100000", "0.1"]
)
def test_amounts_that_pass_are_read_exactly(text: str):
    micros: object = Amount().deserialize(text)
    assert micros == Money.parse(text, "EUR").micros
    assert re.fullmatch(POSITIVE_PATTERN, text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "0.0",
        "0.000000",
        "00.1",
        "01",
        ".5",
        "5.",
        "+1",
        "-1",
        "1e3",
        "1,5",
        " 1",
        "1 ",
        "1\n",
        "٣",
        "0.0000001",
        "1000000000",
        "NaN",
        1,
        1.5,
        True,
        None,
        ["1"],
    ],
)
def test_amounts_that_do_not_pass(value: object):
    with pytest.raises(ValidationError):
        Amount(required=True).deserialize(value)


@pytest.mark.parametrize("text", ["0", "0.0", "0.000000"])
def test_nothing_is_an_amount_where_it_may_be(text: str):
    micros: object = Amount(positive=False).deserialize(text)
    assert micros == 0


def test_the_largest_amount_is_one_the_books_take():
    micros: object = Amount().deserialize("999999999.999999")
    assert micros == MAX_MICROS - 1


@pytest.mark.parametrize("text", ["a", "é", "a b", "\u00a0a", "x" * 100, "\U0001f950"])
def test_text_that_passes(text: str):
    assert Text(100).deserialize(text) == text
    assert re.fullmatch(CLEAN_PATTERN, text)


@pytest.mark.parametrize(
    "value",
    ["", " ", "\u00a0", "x" * 101, "a\n", "\x00", "a\x1fb", "a\x7f", "a\x9f", "\ud800", "a\udfff", 7, b"a", None],
)
def test_text_that_does_not_pass(value: object):
    with pytest.raises(ValidationError):
        Text(100, required=True).deserialize(value)


def test_a_long_text_made_to_waste_time_is_refused_in_one_look():
    # A pattern with two stretches of anything would look at this some thirty million times.
    with pytest.raises(ValidationError):
        Text(8192).deserialize(" " * 8190 + "a\n")


@pytest.mark.parametrize("value", [1, 10_000])
def test_whole_numbers_that_pass(value: int):
    assert Whole(1, 10_000).deserialize(value) == value


@pytest.mark.parametrize("value", [0, 10_001, "5", 5.0, 5.5, True, None, 10**400])
def test_whole_numbers_that_do_not_pass(value: object):
    with pytest.raises(ValidationError):
        Whole(1, 10_000, required=True).deserialize(value)


@pytest.mark.parametrize(
    "value",
    [
        "01a208d18cca769c9f001df2b8ac77be",
        "{01a208d1-8cca-769c-9f00-1df2b8ac77be}",
        "urn:uuid:01a208d1-8cca-769c-9f00-1df2b8ac77be",
        "01a208d1-8cca-769c-9f00-1df2b8ac77b",
        "",
        7,
    ],
)
def test_ids_have_one_form(value: object):
    with pytest.raises(ValidationError):
        Id().deserialize(value)


@pytest.mark.parametrize("email", ["a@b.example", "first.last+tag@sub.shop-1.example", "A_%-@x.fr"])
def test_addresses_that_pass(email: str):
    assert Shopper().load({"email": email, "name": "A", "locale": "fr"})["email"] == email


@pytest.mark.parametrize(
    "email",
    [
        "a",
        "a@",
        "@b.example",
        "a@b",
        "a@b..example",
        ".a@b.example",
        "a.@b.example",
        "a@-b.example",
        "a b@c.example",
        "a@b.example\n",
        "a@b.exämple",
        "<a@b.example>",
        "a@b.example,c@d.example",
        "a" * 250 + "@b.example",
    ],
)
def test_addresses_that_do_not_pass(email: str):
    with pytest.raises(ValidationError) as refusal:
        Shopper().load({"email": email, "name": "A", "locale": "fr"})
    assert list(refusal.value.normalized_messages()) == ["email"]


def _requests(base: type[Strict]) -> Iterator[type[Strict]]:
    for one in base.__subclasses__():
        yield one
        yield from _requests(one)


REQUESTS = sorted(
    {each for each in _requests(Strict) if each.__module__.removeprefix("web.api.") in dir(api)},
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("request_of", REQUESTS, ids=lambda each: each.__name__)
def test_every_request_refuses_what_it_does_not_know(request_of: type[Strict]):
    with pytest.raises(ValidationError) as refusal:
        request_of().load({"surprise": 1})
    assert "surprise" in refusal.value.normalized_messages()


def test_a_refund_names_both_or_neither():
    assert NewRefund().load({}) == {"money": None}
    assert NewRefund().load({"amount": "1", "currency": "EUR"}) == {"money": Money(1_000_000, "EUR")}
    for half in ({"amount": "1"}, {"currency": "EUR"}):
        with pytest.raises(ValidationError):
            NewRefund().load(half)

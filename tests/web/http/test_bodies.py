"""How long bodies may be."""

from tests.support import Shop
from web.api import redemptions
from web.http import bodies

MIB = 1024 * 1024


def test_no_call_that_declares_nothing_reads_more_than_kilobytes(shop: Shop):
    long = {
        rule.rule: bodies.most_bytes(shop.app, method, rule.rule)
        for rule in shop.app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
        if "<" not in rule.rule and bodies.most_bytes(shop.app, method, rule.rule) > bodies.SMALL
    }
    assert long == {
        "/v1/redemptions": redemptions.MOST_BODY_BYTES,
        "/v1/settlement/statements": 64 * MIB,
        "/v1/vouchers/batch": MIB,
    }


def test_what_is_not_there_reads_no_more_than_the_rest(shop: Shop):
    for method, path in (("POST", "/nothing"), ("GET", "/v1/redemptions"), ("BREW", "/"), ("POST", "*"), ("", "")):
        assert bodies.most_bytes(shop.app, method, path) == bodies.USUAL
    assert bodies.most_bytes(None, "POST", "/v1/redemptions") == bodies.USUAL


def test_a_form_is_held_to_it_as_a_call_is(shop: Shop):
    answer = shop.client.post("/sign-in", data={"identifier": "x" * (bodies.USUAL + 1)})
    assert answer.status_code == 413


def test_the_document_says_how_long_a_body_may_be(shop: Shop):
    document = shop.get("/openapi.json").get_json()["paths"]
    assert document["/v1/vouchers"]["post"]["x-most-body-bytes"] == bodies.USUAL
    assert document["/v1/redemptions"]["post"]["x-most-body-bytes"] == redemptions.MOST_BODY_BYTES
    assert "x-most-body-bytes" not in document["/healthz"]["get"]

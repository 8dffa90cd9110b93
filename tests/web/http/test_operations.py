"""What holds for the body and the answer of every call."""

import json

import pytest

from tests.support import Shop, bearer, refused
from web.api import redemptions
from web.http import bodies


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "malformed_body"),
        (b"{", "application/json", 400, "malformed_body"),
        (b"{} {}", "application/json", 400, "malformed_body"),
        (b"\xff", "application/json", 400, "malformed_body"),
        (b"\xef\xbb\xbf{}", "application/json", 400, "malformed_body"),
        ("{}".encode("utf-16"), "application/json", 400, "malformed_body"),
        (b'{"order": NaN}', "application/json", 400, "malformed_body"),
        (b'{"order": "a", "order": "b"}', "application/json", 400, "malformed_body"),
        (b'{"a":' * 3_000, "application/json", 400, "malformed_body"),
        (b'{"order": ' + b"9" * 5_000 + b"}", "application/json", 400, "malformed_body"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b'"text"', "application/json; charset=utf-8", 422, "validation_failed"),
        (b'{"\\ud800": 1}', "application/json", 422, "validation_failed"),
    ],
)
def test_a_body_that_cannot_be_read(shop: Shop, data: bytes, content_type: str, status: int, code: str):
    headers = bearer(shop.operator) | ({"Content-Type": content_type} if content_type else {})
    refused(shop.client.post("/v1/merchants", data=data, headers=headers), status, code)


def test_a_body_that_is_too_large(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    headers = bearer(shop.operator) | {"Content-Type": "application/json"}
    body = b" " * (bodies.USUAL + 1)
    refused(shop.client.post("/v1/merchants", data=body, headers=headers), 413, "payload_too_large")
    # Redemptions come by the thousand and may be larger.
    merchant = bearer(shop.merchant().token, key="k") | {"Content-Type": "application/json"}
    refused(shop.client.post("/v1/redemptions", data=body, headers=merchant), 400, "malformed_body")
    body = b" " * (redemptions.MOST_BODY_BYTES + 1)
    refused(shop.client.post("/v1/redemptions", data=body, headers=merchant), 413, "payload_too_large")


@pytest.mark.parametrize("accept", ["text/html", "application/problem+json", "application/json;q=0"])
def test_a_client_that_takes_no_json_gets_none(shop: Shop, accept: str):
    refused(shop.client.get("/healthz", headers={"Accept": accept}), 406, "not_acceptable")


@pytest.mark.parametrize("accept", ["*/*", "application/*", "text/html, application/json;q=0.1"])
def test_a_client_that_takes_json_among_others_gets_it(shop: Shop, accept: str):
    assert shop.client.get("/healthz", headers={"Accept": accept}).status_code == 200


def test_a_name_nobody_knows_is_told_in_moderation(shop: Shop):
    body = json.dumps({"\ud800": 1, "x" * 5000: 1})
    headers = bearer(shop.operator) | {"Content-Type": "application/json"}
    problem = refused(shop.client.post("/v1/merchants", data=body, headers=headers), 422, "validation_failed")
    assert {"?", f"{'x' * 59}…"} < set(problem["errors"])

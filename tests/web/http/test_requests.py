"""Around every call: headers, request ids, the log."""

import json
import logging
from pathlib import Path

import pytest

from tests.support import PROBLEM, Shop, make_settings


def test_every_answer_carries_its_headers(shop: Shop):
    for path in ("/healthz", "/nowhere", "/docs", "/docs/assets/start.js"):
        with shop.get(path) as answer:
            headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["X-Request-Id"]
    assert shop.get("/healthz").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("sent", "kept"), [("order-7_a.b", True), ("x" * 36, True), ("x" * 37, False), ("a b", False), ("é", False)]
)
def test_a_request_id_is_taken_over_when_it_is_one(shop: Shop, sent: str, kept: bool):
    answer = shop.client.get("/healthz", headers={"X-Request-Id": sent})
    assert (answer.headers["X-Request-Id"] == sent) is kept


def test_the_log_names_routes_and_nobody(
    shop: Shop, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.INFO)
    purse = shop.purse()
    capsys.readouterr()
    shop.get(f"/v1/purses/{purse.id}", token=purse.token)
    text = capsys.readouterr().err
    (line,) = [json.loads(line) for line in text.splitlines()]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/purses/<uuid:purse_id>", 200)
    assert line["request_id"]
    assert str(purse.id) not in text
    assert purse.token not in text


def test_options_and_head_are_answered(shop: Shop):
    assert shop.client.head("/healthz").status_code == 200
    assert set(shop.client.options("/v1/merchants").allow) == {"OPTIONS", "POST"}


def test_on_this_machine_there_is_no_tls_to_insist_on(tmp_path: Path, database_url: str):
    with Shop(make_settings(tmp_path, database_url, origin="http://localhost:8000")) as shop:
        assert "Strict-Transport-Security" not in shop.get("/healthz").headers
        assert shop.get("/nowhere").content_type == PROBLEM

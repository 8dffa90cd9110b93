"""Every no is a problem with a code, and says nothing of the inside."""

import json

import pytest
from flask import Flask

from app import create_app
from tests.support import Shop, bearer, refused
from wallet.ground import errors
from wallet.ground.errors import SettingsInvalid
from web.http import problems


def test_every_error_has_its_status():
    assert set(problems.STATUS) == {error.code for error in errors.leaves()}


def test_what_is_not_there_is_a_problem_too(shop: Shop):
    refused(shop.get("/nowhere"), 404, "not_found")
    refused(shop.get("/v1//purses"), 404, "not_found")
    refused(shop.get("/healthz/"), 404, "not_found")
    refused(shop.get("/v1/purses/not-an-id", token=shop.purse().token), 404, "not_found")


def test_a_method_that_is_not_taken_says_which_are(shop: Shop):
    answer = shop.client.put("/v1/merchants")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "OPTIONS, POST"


@pytest.fixture
def broken(shop: Shop) -> Flask:
    """The application with a call that crashes, answering as it does in production."""
    app = create_app(shop.settings)

    @app.get("/v1/crash")
    def crash() -> str:
        raise RuntimeError("the password is hunter2")

    @app.get("/v1/settings")
    def settings() -> str:
        raise SettingsInvalid("OBOLE_BANK_IBAN must be set.")

    return app


def test_a_crash_is_logged_and_says_nothing(broken: Flask, capsys: pytest.CaptureFixture[str]):
    answer = broken.test_client().get("/v1/crash")
    problem = refused(answer, 500, "internal_error")
    assert problem["retryable"] is False
    assert "hunter2" not in answer.get_data(as_text=True)
    logged = capsys.readouterr().err
    assert "RuntimeError" in logged
    assert "test_problems.py" in logged
    assert "hunter2" not in logged


def test_what_an_operator_must_mend_is_not_for_callers(broken: Flask, caplog: pytest.LogCaptureFixture):
    answer = broken.test_client().get("/v1/settings")
    refused(answer, 500, "internal_error")
    assert "OBOLE_BANK_IBAN" not in answer.get_data(as_text=True)
    assert "OBOLE_BANK_IBAN" in caplog.text


@pytest.mark.parametrize("names", [[f"n{number}" for number in range(1_200)], ["é" * 500 + str(n) for n in range(3)]])
def test_nonsense_is_answered_in_few_words(shop: Shop, names: list[str]):
    body = dict.fromkeys(names, 1)
    for path, token in (("/v1/vouchers", shop.purse().token), ("/v1/merchants", shop.operator)):
        problem = refused(shop.post(path, body, token=token, key="k"), 422, "validation_failed")
        assert len(problem["errors"]) <= problems.MOST_FIELDS
        assert all(len(name) <= 60 for name in problem["errors"])
        assert len(json.dumps(problem)) < len(json.dumps(body)) + 1_000
        assert ("the first 20 of 12" in problem["detail"]) == (len(names) > problems.MOST_FIELDS)


def test_a_query_of_nonsense_is_answered_in_few_words(shop: Shop):
    once = "&".join(f"n{number}=1" for number in range(3_000))
    for query in (once, f"{once}&{once}", f"cursor={'x' * 10_000}", f"limit={'1' * 10_000}"):
        answer = shop.client.get(f"/v1/payouts?{query}", headers=bearer(shop.merchant().token))
        problem = refused(answer, 422, "validation_failed")
        assert len(problem["errors"]) <= problems.MOST_FIELDS
        assert len(answer.data) < 3_000


@pytest.mark.parametrize("path", ["/v1/vouchers/batch", "/v1/redemptions"])
def test_a_list_of_nonsense_is_answered_in_few_words(shop: Shop, path: str):
    items: list[object] = ["a.b.c"] * 1_000
    body = {"orders": items} if "batch" in path else {"vouchers": [{"voucher": item} for item in items]}
    answer = shop.post(path, body, token=shop.merchant().token, key="k")
    problem = refused(answer, 422, "validation_failed")
    assert len(problem["errors"]) == problems.MOST_FIELDS
    assert len(answer.data) < len(json.dumps(body))


@pytest.mark.parametrize("path", ["/v1/" + "x" * 9_000, "/healthz/" + "%20" * 3_000, "/sign-in?next=/" + "x" * 9_000])
def test_an_address_of_nonsense_is_not_repeated(shop: Shop, path: str):
    for method in ("GET", "POST", "BREW"):
        assert len(shop.client.open(path, method=method, headers={"Accept": "text/html"}).data) < 9_000

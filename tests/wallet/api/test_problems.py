"""Every no is a problem with a code, and says nothing of the inside."""

import pytest
from flask import Flask

from app import create_app
from tests.support import Shop, refused
from wallet import errors
from wallet.api import problems
from wallet.errors import SettingsInvalid


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

"""Errors provoked everywhere, and everything written searched: no token, key, PIN or body is in it."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from tests.network import PATIENCE_SECONDS
from tests.support import PASSPHRASE, PROBLEM, SECRET_KEY, Shop
from wallet.ground.db import Database
from wallet.people import api_keys, sessions
from web.http import failures, problems, requests
from web.http.context import EXTENSION

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SECRETS = {
    "link": "kQ3vTzN8sWmY1xR5uJ7bL0cA2dE4fG6hI9jK-oPqLnk",
    "key": "obole_me_v8dTnG2QxUu4mZyXo1cK3lW5eR7sB9fH0jAiPwEqTyk",
    "cookie": "cR8wLq5ZtYb2NnUe6KhGx0VjAo3DsMf7PiTl1Ck9Ewo",
    "pin": "860417",
    "body": "Zwetschgendatschi",
    "query": "geheimnis-in-der-adresse",
    "header": "verraten-in-einem-kopf",
}
TEXT = " ".join(SECRETS.values())
_PLACE = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")


@pytest.fixture
def app(shop: Shop) -> Iterator[Flask]:
    """The application, answering as it does in production."""
    app = create_app(shop.settings)
    yield app
    app.extensions[EXTENSION].database.dispose()


def found_in(text: str) -> set[str]:
    return {name for name, secret in SECRETS.items() if secret in text}


def crash(*_args: object, **_kwargs: object) -> NoReturn:
    """As a driver and SQLAlchemy crash, with what they were given in the text of each, and once more by ourselves."""
    try:
        try:
            raise sqlite3.IntegrityError(f"DETAIL: Key (token)=({TEXT}) already exists.")
        except sqlite3.IntegrityError as error:
            raise sa.exc.IntegrityError(f"INSERT {TEXT}", {"token": TEXT}, error) from error
    except sa.exc.IntegrityError:
        raise RuntimeError(f"what happened to {TEXT}?")  # noqa: B904  (the context is what must be kept quiet, too)


@contextmanager
def crash_in_a_context(*_args: object, **_kwargs: object) -> Iterator[None]:
    crash()
    yield


def in_views(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in app.view_functions:
        monkeypatch.setitem(app.view_functions, endpoint, crash)


def in_the_database(_: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("read", "write", "settle", "write_alone"):
        monkeypatch.setattr(Database, way, crash_in_a_context)


def in_rooms(_: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "authenticate", crash)
    monkeypatch.setattr(sessions, "resume", crash)


def in_what_comes_before(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.before_request_funcs, None, [requests._begin, crash])


def in_what_comes_after(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.after_request_funcs, None, [crash])


def in_the_words_for_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    in_views(app, monkeypatch)
    monkeypatch.setattr(problems, "problem", crash)


def ask_everything(app: Flask) -> Iterator[TestResponse]:
    """Each call and page once for each of its methods, with secrets wherever a request has room for them."""
    client = app.test_client()
    client.set_cookie("visit", SECRETS["cookie"], domain="wallet.example")
    client.set_cookie("__Host-obole", SECRETS["cookie"], domain="wallet.example")
    headers = {
        "Authorization": f"Bearer {SECRETS['key']}",
        "X-Request-Id": SECRETS["link"],
        "Idempotency-Key": "k",
        "Referer": f"https://wallet.example/link/{SECRETS['link']}",
        "User-Agent": SECRETS["header"],
        "X-CSRFToken": SECRETS["header"],
        "X-Forwarded-For": SECRETS["header"],
    }
    fields = {"pin": SECRETS["pin"], "secret": SECRETS["pin"], "token": SECRETS["link"], "name": SECRETS["body"]}
    for rule in app.url_map.iter_rules():
        path = _PLACE.sub(lambda place: str(uuid4()) if place[1] == "uuid" else SECRETS["link"], rule.rule)
        for method in sorted(rule.methods or ()):
            for body in ({"json": fields}, {"data": fields}):
                yield client.open(
                    f"{path}?token={SECRETS['query']}",
                    method=method,
                    base_url="https://wallet.example",
                    headers=headers,
                    **(body if method not in ("GET", "HEAD", "OPTIONS") else {}),  # type: ignore[arg-type]
                )


WHERE: dict[str, Callable[[Flask, pytest.MonkeyPatch], None]] = {
    place.__name__.removeprefix("in_"): place
    for place in (
        in_views,
        in_the_database,
        in_rooms,
        in_what_comes_before,
        in_what_comes_after,
        in_the_words_for_it,
    )
}


@pytest.mark.parametrize("place", WHERE)
def test_whatever_crashes_nothing_of_the_request_is_written_down(
    place: str, app: Flask, shop: Shop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        WHERE[place](app, patched)
        capfd.readouterr()
        broken = 0
        for answer in ask_everything(app):
            if answer.status_code >= 500 or answer.content_type == PROBLEM:
                assert not found_in(answer.get_data(as_text=True)), answer.request.path
            broken += answer.status_code >= 500
            answer.close()
    written = "".join(capfd.readouterr())
    assert broken > 100
    assert found_in(written) == set()
    # It says where, all the same, and of what kind it was; and the server has nothing to say.
    assert "sqlite3.IntegrityError" in written
    assert "test_failures.py" in written
    answer = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {shop.operator}"})
    assert answer.status_code == 200
    assert found_in(answer.get_data(as_text=True)) == set()


def test_a_database_that_is_gone_is_no_reason_to_tell(
    app: Flask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    database = app.extensions[EXTENSION].database
    database.dispose()
    monkeypatch.setattr(database.engine.dialect, "connect", crash)
    capfd.readouterr()
    statuses = set()
    for answer in ask_everything(app):
        statuses.add(answer.status_code)
        assert not found_in(answer.get_data(as_text=True)) or answer.status_code < 500
        answer.close()
    assert statuses & {500, 503}
    assert found_in("".join(capfd.readouterr())) == set()


class Cut(BytesIO):
    """A body as a server's stream gives it up: half, and then an error of the server's own making."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b'{"amount": "0.07')
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or self._fail()

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(size) or self._fail()

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(buffer) or len(self._fail())

    def _fail(self) -> NoReturn:
        raise self._error


@pytest.mark.parametrize("error", [OSError("Invalid chunk size: 'zz'"), ValueError("x"), RuntimeError("x"), EOFError()])
@pytest.mark.parametrize("length", [None, "100"])
def test_a_body_that_the_server_cannot_read_is_the_clients_fault(
    app: Flask, shop: Shop, error: Exception, length: str | None
) -> None:
    merchant, purse = shop.merchant(), shop.purse()
    ids = {"merchant_id": merchant.id, "purse_id": purse.id}
    heard: dict[str, set[int]] = {}
    for rule in app.url_map.iter_rules():
        path = _PLACE.sub(lambda place: str(ids.get(place[2], uuid4()) if place[1] == "uuid" else "x"), rule.rule)
        for method in {"POST", "PUT", "PATCH"} & (rule.methods or set()):
            for token in (None, merchant.token, purse.token, shop.operator):
                answer = app.test_client().open(
                    path,
                    method=method,
                    headers={"Idempotency-Key": "k", **({"Authorization": f"Bearer {token}"} if token else {})},
                    content_type="application/json" if path.startswith("/v1/") else "application/x-www-form-urlencoded",
                    environ_overrides={
                        "wsgi.input": Cut(error),
                        "wsgi.input_terminated": length is None,
                        **({"CONTENT_LENGTH": length} if length else {}),
                    },
                )
                assert answer.status_code < 500, (path, answer.get_data(as_text=True))
                heard.setdefault(path, set()).add(answer.status_code)
    assert 400 in heard["/v1/vouchers"]
    assert sum(400 in statuses for statuses in heard.values()) > 20


def test_a_command_that_crashes_says_nothing_of_what_it_was_given(tmp_path: Path, shop: Shop) -> None:
    books = tmp_path / "books.db"
    books.write_bytes(b"no database " * 1000)
    books.chmod(0o600)
    settings = {
        "OBOLE_ORIGIN": "http://localhost:8000",
        "OBOLE_SECRET_KEY": SECRET_KEY,
        "OBOLE_DATABASE_URL": f"sqlite:///{books}",
        "OBOLE_KEY_FILE": str(shop.settings.key_file),
        "OBOLE_KEY_PASSPHRASE": PASSPHRASE,
        "OBOLE_SMTP_URL": f"smtp://user:{SECRETS['key']}@localhost",
        "OBOLE_MAIL_FROM": "purse@obole.example",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OBOLE_")} | settings
    for command in (["operator", "add", SECRETS["body"]], ["audit"], ["migrate"]):
        arguments = [sys.executable, "-m", "flask", "--app", "app", *command]
        done = subprocess.run(
            arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode != 0
        assert "sqlalchemy.exc.DatabaseError" in done.stderr
        written = done.stdout + done.stderr
        assert found_in(written) == set()
        assert SECRET_KEY not in written
        assert PASSPHRASE not in written


def test_what_an_operator_must_mend_is_said_without_a_stack(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OBOLE_")}
    books = tmp_path / "books.db"
    books.touch(0o644)
    settings = {
        "OBOLE_ORIGIN": "http://localhost:8000",
        "OBOLE_SECRET_KEY": SECRET_KEY,
        "OBOLE_DATABASE_URL": f"sqlite:///{books}",
        "OBOLE_KEY_FILE": str(tmp_path / "nothing"),
        "OBOLE_KEY_PASSPHRASE": PASSPHRASE,
    }
    arguments = [sys.executable, "-m", "flask", "--app", "app", "audit"]
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr == f"There is no key file at {tmp_path / 'nothing'}. [key_file_invalid]\n"


def test_a_thread_that_ends_badly_says_nothing_of_what_it_did(
    monkeypatch: pytest.MonkeyPatch, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    failures.catch_what_nobody_caught()
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    written = capsys.readouterr().err
    assert found_in(written) == set()
    assert json.loads(written.splitlines()[-1])["exception"].endswith("RuntimeError")


def test_codes_of_drivers_are_kept() -> None:
    class Violation(Exception):
        sqlstate = "23505"

    try:
        raise Violation("the row")
    except Violation:
        text = failures.described(sys.exc_info())
    assert text.endswith("Violation (sqlstate 23505)")
    assert "the row" not in text

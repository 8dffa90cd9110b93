"""The application on a fresh database, for each test of the HTTP interface, and a client that holds it to its word.

Whatever a test asks for, the answer must be one that the OpenAPI document describes: its status, its media type,
its body, down to the codes of its problems.
"""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from tests.support import Shop, make_settings


class Truthful(FlaskClient):
    """A client that fails the test whose answer is not in the document."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        response = super().open(*args, **options)
        check(self.application, response)
        return response


def check(app: Flask, response: TestResponse) -> None:
    """Compare an answer with the document. What is no call of the interface is none of its business."""
    request = response.request
    try:
        rule, _ = app.url_map.bind("").match(request.path, method=request.method, return_rule=True)
    except HTTPException:
        return
    document = parsed(app.extensions["obole_openapi"])
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    described = document["paths"].get(path, {}).get(request.method.lower())
    if described is None:
        return
    call = f"{request.method} {path} {response.status_code}"
    assert str(response.status_code) in described["responses"], f"{call} is not in the document"
    content = described["responses"][str(response.status_code)].get("content", {"": {}})
    assert (response.mimetype or "") in content, f"{call} answers {response.mimetype!r}"
    if response.is_json:
        schema = content[response.mimetype]["schema"]
        validator(json.dumps(schema), json.dumps(document["components"])).validate(response.get_json())


@functools.lru_cache(maxsize=4)
def parsed(data: bytes) -> dict[str, Any]:
    """The document, read once."""
    document: dict[str, Any] = json.loads(data)
    return document


@functools.lru_cache(maxsize=500)
def validator(schema: str, components: str) -> jsonschema_rs.Draft202012Validator:
    """What a body must look like, prepared once."""
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": json.loads(components)})


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url)) as shop:
        shop.client = Truthful(shop.app)
        yield shop

"""The interface, documented by itself: ``/openapi.json``, its pages at ``/docs``, and every error by name.

Invariant: the pages load nothing from anywhere but here, and run no inline script.
"""

import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, send_from_directory
from flask_smorest import Api
from marshmallow.fields import Field

from wallet.ground.errors import leaves
from web.http.fields import CURRENCY_SCHEMA, PUBLIC_KEY_SCHEMA, Currency, PublicKey
from web.http.operations import SECURITY_SCHEMES
from web.http.problems import STATUS

pages = Blueprint("documentation", __name__)

_SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
_OURS = Path(__file__).with_name("static")
_ASSETS = {
    "swagger-ui.css": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
    "favicon-32x32.png": _SWAGGER_UI,
    "start.js": _OURS,
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_EXTENSION = "obole_openapi"
_SHARED = {Currency: CURRENCY_SCHEMA, PublicKey: PUBLIC_KEY_SCHEMA}

_DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Obole: the HTTP interface</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""


def prepare(api: Api) -> None:
    """Let the document say once what many fields have in common; before any blueprint is registered."""
    for field, schema in _SHARED.items():
        api.spec.components.schema(field.__name__, schema)
    api.ma_plugin.converter.add_attribute_function(_shared)


def document(api: Api, *, origin: str) -> None:
    """Complete the OpenAPI document once every blueprint is registered."""
    for name, scheme in SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    api.spec.options["servers"] = [{"url": origin}]
    described = api.spec.to_dict()
    for operations in described["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                # flask-smorest adds a catch-all for its own errors, which would make any answer a documented one.
                operation.get("responses", {}).pop("default", None)
    described["components"].pop("responses", None)
    described["components"]["schemas"].pop("Error", None)
    current_app.extensions[_EXTENSION] = json.dumps(described, ensure_ascii=False, indent=1).encode()


@pages.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI 3.1 document."""
    return Response(current_app.extensions[_EXTENSION], content_type="application/json")


@pages.get("/docs")
def docs() -> Response:
    """The document, for people."""
    return _page(_DOCS_PAGE)


@pages.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """One of the few files the pages need."""
    response = send_from_directory(_ASSETS.get(name, _OURS), name, max_age=3600)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@pages.get("/docs/errors")
def errors() -> Response:
    """Every error, where the ``type`` of a problem leads (RFC 9457 section 3.1.1)."""
    rows = "".join(
        f'<tr id="{error.code}"><td><code>{error.code}</code></td><td>{STATUS[error.code]}</td>'
        f"<td>{html.escape(error.title)}</td><td>{'yes' if error.retryable else 'no'}</td></tr>\n"
        for error in sorted(leaves(), key=lambda error: error.code)
    )
    return _page(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Obole: errors</title>\n'
        "</head>\n<body>\n<h1>Errors</h1>\n<table>\n"
        "<tr><th>code</th><th>status</th><th>meaning</th><th>can a retry help?</th></tr>\n"
        f"{rows}</table>\n</body>\n</html>\n"
    )


def _shared(_: Any, field: Field[Any], **_ret: Any) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{type(field).__name__}"} if type(field) in _SHARED else {}


def _page(body: str) -> Response:
    response = Response(body, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = "public, max-age=300"
    return response

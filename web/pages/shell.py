"""The wallet as an app on a phone: its manifest, its service worker, and the page it shows without a network.

Invariant: without a network nothing is shown but the last balance that was seen, with when that was, from this
browser's own memory; the service worker keeps no page that was anybody's.
"""

import hashlib

from flask import Response, jsonify, render_template

from web.http.context import current
from web.pages.page import blueprint as page_blueprint
from web.pages.page import language, page, say, static

blueprint = page_blueprint("shell", __name__)

_OFFLINE_FILES = ("pico.classless.min.css", "obole.css", "icons/obole.svg", "js/last_balance.js")


@blueprint.get("/manifest.webmanifest")
def manifest() -> Response:
    """What a phone needs to keep the wallet among its apps (W3C, Web Application Manifest)."""
    response = jsonify(
        {
            "id": "/purse",
            "name": current().settings.operator_name,
            "short_name": "Obole",
            "description": say("A purse for small purchases"),
            "lang": language(),
            "start_url": "/purse",
            "scope": "/",
            "display": "standalone",
            "background_color": "#f7f5f0",
            "theme_color": "#0b6b5d",
            "icons": [
                {"src": static("icons/obole.svg"), "sizes": "any", "type": "image/svg+xml"},
                {"src": static("icons/obole-192.png"), "sizes": "192x192", "type": "image/png"},
                {"src": static("icons/obole-512.png"), "sizes": "512x512", "type": "image/png"},
                {
                    "src": static("icons/obole-maskable-512.png"),
                    "sizes": "512x512",
                    "type": "image/png",
                    "purpose": "maskable",
                },
            ],
        }
    )
    response.content_type = "application/manifest+json"
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The service worker; another one as soon as a file it keeps has changed."""
    kept = [static(name) for name in _OFFLINE_FILES]
    version = hashlib.sha256(" ".join([*kept, language()]).encode()).hexdigest()[:12]
    body = render_template("service-worker.js", kept=kept, version=version)
    response = Response(body, content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/offline")
def offline() -> Response:
    """The page without a network; the browser fills in what it remembers."""
    return page("offline.html")

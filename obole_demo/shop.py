"""What both demo shops share: how a merchant's site talks to the wallet. This is all the code that it takes.

A shop knows the wallet's public interface, its own key and its webhook secret, and nothing else of the wallet.

Invariant: goods are given for a voucher that the wallet signed for this shop, this order and this price, or for a
webhook that the wallet signed; never for what a browser says.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt
from flask import Flask, Response, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from obole_demo.client import Client, Http, Refused

LANGUAGES = ("fr", "en")
CURRENCY = "EUR"
# A signature older than this may be a recording (standardwebhooks.com, "Timestamp").
_TOLERANCE_SECONDS = 300


class Replayed(Exception):
    """The voucher is good, and was redeemed before: something was delivered for it already."""


class Untrusted(Exception):
    """What came does not come from the wallet, or is not about this shop and order."""


@dataclass(slots=True, kw_only=True)
class Wallet:
    """The wallet as this shop sees it. ``origin`` is the wallet's, ``shop`` our own.

    A shop that hears no webhooks has no secret for them, and believes none.
    """

    origin: str
    shop: str
    key: str = field(repr=False)
    webhook_secret: str = field(default="", repr=False)
    signing_keys: jwt.PyJWKSet | None = None

    def checkout(self, order_id: str, amount: str, description: str, **more: str) -> str:
        """Ask for an amount; answers the address of the page on which the shopper pays."""
        body = {"amount": amount, "currency": CURRENCY, "order_id": order_id, "description": description, **more}
        url: str = self._client().post("/v1/checkouts", body, key=order_id)["url"]
        return url

    def verified(self, voucher: str, *, order_id: str, amount: str) -> dict[str, Any]:
        """The claims of a voucher for this order at this price, checked without asking the wallet.

        Raises `Untrusted`.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                voucher, self._signing_key(voucher), algorithms=["EdDSA"], audience=self.shop, issuer=self.origin
            )
        except jwt.PyJWTError as error:
            raise Untrusted(str(error)) from error
        if (claims["amount"], claims["asset"]) != (amount, CURRENCY):
            raise Untrusted("another amount")
        # The wallet writes the order's number behind its description.
        if not str(claims.get("resource")).endswith(f"({order_id})"):
            raise Untrusted("another order")
        return claims

    def redeem(self, voucher: str) -> None:
        """Turn the voucher in: from now on the wallet owes us.

        Raises `Replayed` for one that was turned in before, or `Refused` with the wallet's reason.
        """
        body = {"vouchers": [{"voucher": voucher}]}
        # A key for this showing. One made of the voucher would have the wallet repeat its first yes, whoever shows it.
        (result,) = self._client().post("/v1/redemptions", body, key=str(uuid.uuid4()))["results"]
        if "code" in result:
            raise Refused(result)
        if result["outcome"] != "redeemed":
            raise Replayed

    def event(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """What the wallet tells by a webhook, its signature checked (standardwebhooks.com). Raises `Untrusted`."""
        headers = {name.lower(): value for name, value in headers.items()}
        event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not self.webhook_secret or not timestamp.isdigit() or abs(time.time() - int(timestamp)) > _TOLERANCE_SECONDS:
            raise Untrusted("old or without a time")
        secret = base64.b64decode(self.webhook_secret.removeprefix("whsec_"))
        said = f"{event_id}.{timestamp}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(secret, said, "sha256")).decode()
        signatures = headers.get("webhook-signature", "").split(" ")
        if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures):
            raise Untrusted("another signature")
        event: dict[str, Any] = json.loads(body)
        return event

    def _client(self) -> Client:
        parts = urlsplit(self.origin)
        return Client(Http(parts.hostname or "", parts.port or 80), self.key)

    def _signing_key(self, voucher: str) -> jwt.PyJWK:
        """The wallet's public key that signed this; its keys are fetched again when one is not known yet."""
        header = jwt.get_unverified_header(voucher)
        kid = header.get("kid")
        if header.get("typ") != "voucher+jwt":
            raise jwt.InvalidTokenError("not a voucher")
        for _ in range(2):
            for key in self.signing_keys.keys if self.signing_keys is not None else ():
                if key.key_id == kid:
                    return key
            self.signing_keys = jwt.PyJWKSet.from_dict(self._client().get("/.well-known/jwks.json"))
        raise jwt.InvalidKeyError("unknown kid")


def create_site(name: str, wallet: Wallet, texts: Mapping[str, Mapping[str, str]]) -> Flask:
    """A site in two languages under ``/fr/`` and ``/en/``, with a session cookie of its own name."""
    site = Flask(__name__)
    site.config.update(
        # Ports of one host share their cookies: the name keeps the shops, and the wallet, apart.
        SESSION_COOKIE_NAME=f"{name}_session",
        SESSION_COOKIE_SAMESITE="Lax",
        SECRET_KEY=hashlib.sha256(f"session {wallet.key}".encode()).digest(),
    )

    @site.url_value_preprocessor
    def read_language(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.language = (values or {}).pop("language", None) or request.accept_languages.best_match(LANGUAGES) or "en"
        if g.language not in LANGUAGES:
            abort(404)

    @site.url_defaults
    def keep_language(endpoint: str, values: dict[str, Any]) -> None:
        if site.url_map.is_endpoint_expecting(endpoint, "language"):
            values.setdefault("language", g.language)

    @site.context_processor
    def words() -> dict[str, Any]:
        other = "en" if g.language == "fr" else "fr"
        return {"_": texts[g.language], "language": g.language, "other": other, "money": money, "in_other": in_other}

    @site.get("/")
    def begin() -> ResponseReturnValue:
        return redirect(url_for("front"), 303)

    @site.after_request
    def protect(response: Response) -> Response:
        # The form that begins a checkout ends on the wallet's page, and browsers hold redirects to form-action too.
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
            f"connect-src 'self'; form-action 'self' {wallet.origin}; base-uri 'none'; frame-ancestors 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        # A voucher in an address is nobody else's business.
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @site.errorhandler(Untrusted)
    def not_ours(_error: Untrusted) -> ResponseReturnValue:
        return render_template("sorry.html", said=texts[g.language]["untrusted"]), 400

    @site.errorhandler(Replayed)
    def shown_before(_error: Replayed) -> ResponseReturnValue:
        return render_template("sorry.html", said=texts[g.language]["replayed"]), 409

    @site.errorhandler(Refused)
    def refused(error: Refused) -> ResponseReturnValue:
        return render_template("sorry.html", said=texts[g.language]["refused"], code=error.problem.get("code")), 409

    @site.errorhandler(OSError)
    def unreachable(_error: OSError) -> ResponseReturnValue:
        return render_template("sorry.html", said=texts[g.language]["unreachable"]), 503

    return site


def money(amount: str) -> str:
    """``0,20 €`` or ``€0.20``."""
    return amount.replace(".", ",") + "\u00a0€" if g.language == "fr" else f"€{amount}"


def in_other(language: str) -> str:
    """This page in the other language, without what was only said once."""
    if request.endpoint is None or request.view_args is None or request.method != "GET":
        return f"/{language}/"
    return url_for(request.endpoint, **{**request.view_args, "language": language})


COMMON = {
    "fr": {
        "by": "par",
        "price_note": "payé avec Obole",
        "untrusted": "Ce bon ne vient pas d’Obole, ou n’est pas pour cette commande. Rien n’a été livré.",
        "replayed": "Ce bon a déjà servi, et ce qu’il paie a été livré. Rien n’est livré deux fois.",
        "refused": "Obole a refusé.",
        "unreachable": "Obole ne répond pas. Rien n’a été débité ; réessayez dans un instant.",
        "back": "Retour à l’accueil",
        "sorry": "Cela n’a pas marché",
        "switch": "English",
        "cancelled": "Achat annulé. Rien n’a été débité.",
    },
    "en": {
        "by": "by",
        "price_note": "paid with Obole",
        "untrusted": "This voucher is not the wallet’s, or not for this order. Nothing was delivered.",
        "replayed": "This voucher was used before, and what it pays for was delivered. Nothing is delivered twice.",
        "refused": "The wallet refused.",
        "unreachable": "The wallet does not answer. Nothing was debited; try again in a moment.",
        "back": "Back to the front page",
        "sorry": "That did not work",
        "switch": "Français",
        "cancelled": "Purchase cancelled. Nothing was debited.",
    },
}

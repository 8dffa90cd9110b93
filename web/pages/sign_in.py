"""Signing up, in and out: by passkey, or identifier and PIN or passphrase, with a one-time code for operators.

Invariant: no answer tells whether an address has a purse here; nobody is activated but by the link in their mail.
"""

from typing import Any
from urllib.parse import urlencode

import segno
from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from marshmallow import fields

from wallet.ground import clock
from wallet.ground.errors import LinkInvalid, OboleError, SignInRefused, ValidationFailed
from wallet.ground.smtp import is_address
from wallet.people import identities, letter_requests, passkeys, pins, sessions, totp, tries, ways_in
from wallet.people.letter_requests import Asked
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.people import IdentityKind, LinkPurpose
from web.http.context import current
from web.http.fields import EMAIL_PATTERN, Strict, Text
from web.http.operations import json_body
from web.pages import forms
from web.pages.page import (
    AREAS,
    asker,
    browser_token,
    farewell,
    go,
    language,
    next_path,
    page,
    remember_browser,
    require_proof,
    signed_in,
    tell,
    visitor,
    welcome,
    who,
)
from web.pages.page import blueprint as page_blueprint
from web.pages.rates import limiter

blueprint = page_blueprint("sign_in", __name__)

_EVERYBODY = tuple(IdentityKind)
# Which kinds sign in where; the first names the area.
_KINDS = {
    "shopper": (IdentityKind.SHOPPER, IdentityKind.MEMBER),
    "merchant": (IdentityKind.MERCHANT,),
    "operator": (IdentityKind.OPERATOR,),
}
# A festival or a campus is one address; what guards a PIN is counted by identifier, browser and session.
SIGN_INS = "300 per minute"
_PROOFS = "60 per minute"
_LETTERS = "30 per hour"


class SignUp(Strict):
    """Who wants a purse."""

    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    name = Text(140, required=True)


class SignIn(Strict):
    """Who says they are who."""

    identifier = Text(254, required=True)
    pin = Text(200, required=True)
    code = Text(10, load_default="")


class Secret(Strict):
    """A new PIN or passphrase, typed twice."""

    pin = Text(200, required=True)
    again = Text(200, required=True)
    # Which ways in to end with the old one.
    passkeys = fields.Boolean(load_default=False)
    devices = fields.Boolean(load_default=False)
    keys = fields.Boolean(load_default=False)


class Whom(Strict):
    """Whose secret is forgotten."""

    identifier = Text(254, required=True)


class Code(Strict):
    """A one-time code."""

    code = Text(10, required=True)


class Proving(Strict):
    """PIN or passphrase once more."""

    pin = Text(200, required=True)


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """What this is, and where to go; whoever is signed in is led to their own first page."""
    found = visitor()
    if found is not None and "lang" not in request.args:
        return go(AREAS[found.kind][1])
    return page("home.html", settings=current().settings)


@blueprint.route("/sign-up", methods=["GET", "POST"])
@limiter.limit(_LETTERS, methods=["POST"])
def sign_up() -> ResponseReturnValue:
    """Ask for a purse. It is opened by the link in the mail, and only then."""
    refusal = None
    if not current().settings.sign_up:
        return page("sign_up_closed.html", status=403)
    if request.method == "POST":
        try:
            wanted = forms.read(SignUp)
            email, wish = wanted["email"], next_path("")
            if not is_address(email):
                raise ValidationFailed(errors={"email": ["An e-mail address."]})
            purpose, locale = LinkPurpose.ACTIVATE, language()
            _ask(Asked(purpose=purpose, identifier=email, name=wanted["name"], locale=locale, next_path=wish))
            return page("sign_up_sent.html", email=wanted["email"])
        except OboleError as error:
            refusal = error
    return page("sign_up.html", refusal=refusal, next=next_path(""))


@blueprint.route("/link/<token>", methods=["GET", "POST"])
@limiter.limit(SIGN_INS)
def link(token: str) -> ResponseReturnValue:
    """The page behind a link in a mail: choose a PIN or passphrase, and be signed in."""
    at = clock.now()
    with current().database.read() as conn:
        found = identities.look_at_link(conn, token, at=at)
        identity = identities.find(conn, found.identity_id)
        is_reset = found.purpose == LinkPurpose.RESET.value
        goes_on = ways_in.find(conn, identity) if is_reset else {}
    refusal = None
    if request.method == "POST":
        try:
            secret = forms.read(Secret)
            if secret["pin"] != secret["again"]:
                raise ValidationFailed(errors={"again": ["This is not the same."]})
            kind = IdentityKind(identity.kind)
            chosen = pins.store(current().keyring, kind, secret["pin"], identifier=identity.identifier, by=identity.id)
            with current().database.write() as conn:
                if identities.use_link(conn, token, at=at) != identity.id:
                    raise LinkInvalid
                identities.set_secret(conn, identity.id, chosen, at=at)
                _open_first_purse(conn, identity)
                sessions.end_all(conn, identity.id, at=at)
                if is_reset:
                    ways_in.end(conn, identity, [kind for kind in ways_in.WayIn if secret[kind]], at=at)
                    # Whoever keeps guessing elsewhere does not stand in their way here.
                    remember_browser(conn, identity.id)
            if is_reset:
                # The mailbox alone lets nobody in: codes and passkeys are asked for where there are any.
                tell("Your new PIN or passphrase is set. Sign in with it.")
                return go(AREAS[IdentityKind(identity.kind)][0])
            welcome(identity)
            tell("Welcome, %(name)s.", name=identity.name)
            return go(next_path(AREAS[IdentityKind(identity.kind)][1]))
        except OboleError as error:
            refusal = error
    is_pin = pins.has_pin(IdentityKind(identity.kind))
    return page("link.html", refusal=refusal, identity=identity, is_pin=is_pin, goes_on=goes_on, next=next_path(""))


@blueprint.route("/sign-in", methods=["GET", "POST"], defaults={"area": "shopper"})
@blueprint.route("/merchant/sign-in", methods=["GET", "POST"], defaults={"area": "merchant"})
@blueprint.route("/console/sign-in", methods=["GET", "POST"], defaults={"area": "operator"})
@limiter.limit(SIGN_INS, methods=["POST"])
def sign_in(area: str) -> ResponseReturnValue:
    """By passkey, or by identifier and PIN or passphrase."""
    refusal = None
    default = AREAS[_KINDS[area][0]][1]
    if request.method == "POST":
        try:
            welcome(check_typed(_KINDS[area]))
            return go(next_path(default))
        except OboleError as error:
            refusal = error
    return page("sign_in.html", refusal=refusal, area=area, next=next_path(""), default=default)


def check_typed(kinds: tuple[IdentityKind, ...]) -> Any:
    """The identity whose identifier and secret were typed, and code where they have one; or `SignInRefused`."""
    obole, at, typed = current(), clock.now(), forms.read(SignIn)

    def second(identity: Any) -> None:
        if totp.is_enrolled(identity):
            with obole.database.write() as conn:
                totp.check(conn, obole.keyring, identity, typed["code"], at=at)
        elif identity.kind == IdentityKind.OPERATOR.value:
            with obole.database.read() as conn:
                if passkeys.listing(conn, identity.id):
                    raise SignInRefused  # whoever has a passkey shows it

    return identities.sign_in(
        obole.database,
        obole.keyring,
        kinds,
        typed["identifier"],
        typed["pin"],
        browser=browser_token(),
        at=at,
        second=second,
    )


@blueprint.post("/sign-in/passkey/options")
@limiter.limit(SIGN_INS)
def passkey_options() -> Response:
    """What the browser asks a passkey for, to sign in."""
    with current().database.write() as conn:
        options = passkeys.authentication_options(
            conn, "sign-in", b"", identity_id=None, origin=current().settings.origin, at=clock.now()
        )
    return jsonify(options)


@blueprint.post("/sign-in/passkey")
@limiter.limit(SIGN_INS)
def sign_in_by_passkey() -> Response:
    """Sign in with what a passkey answered; says where to go."""
    obole, answer = current(), json_body()
    with obole.database.write() as conn:
        proof = passkeys.authenticate(conn, answer, "sign-in", b"", origin=obole.settings.origin, at=clock.now())
        identity = identities.find(conn, proof.identity_id)
    if identity.activated_at is None or identity.ended_at is not None:
        raise SignInRefused
    welcome(identity)
    return jsonify({"next": next_path(AREAS[IdentityKind(identity.kind)][1])})


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this session, and go on where the form says, as with a purchase that somebody else is to pay."""
    found = visitor()
    farewell()
    return go(next_path("/" if found is None else AREAS[found.kind][0]))


@blueprint.route("/forgot", methods=["GET", "POST"])
@limiter.limit(_LETTERS, methods=["POST"])
def forgot() -> ResponseReturnValue:
    """Ask for a link to choose a new PIN or passphrase; the answer is the same whether there is anybody."""
    refusal = None
    if request.method == "POST":
        try:
            _ask(Asked(purpose=LinkPurpose.RESET, identifier=forms.read(Whom)["identifier"]))
            return page("forgot_sent.html")
        except OboleError as error:
            refusal = error
    return page("forgot.html", refusal=refusal)


@blueprint.route("/prove", methods=["GET", "POST"])
@signed_in(*_EVERYBODY)
@limiter.limit(_PROOFS, key_func=asker, methods=["POST"])
def prove() -> ResponseReturnValue:
    """Show who you are once more, before something dangerous."""
    refusal, found, at = None, who(), clock.now()
    if request.method == "POST":
        try:
            obole, pin, here = current(), forms.read(Proving)["pin"], tries.of_session(found.session_id)
            identities.check_secret(obole.database, obole.keyring, found.identity_id, pin, place=here, at=at)
            with obole.database.write() as conn:
                sessions.prove(conn, found.session_id, at=at)
            return go(next_path(AREAS[found.kind][1]))
        except OboleError as error:
            refusal = error
    return page("prove.html", refusal=refusal, next=next_path(AREAS[found.kind][1]), is_pin=pins.has_pin(found.kind))


@blueprint.post("/prove/passkey/options")
@signed_in(*_EVERYBODY)
def prove_options() -> Response:
    """What the browser asks a passkey of this person for, to prove it is them."""
    with current().database.write() as conn:
        options = passkeys.authentication_options(
            conn, "prove", b"", identity_id=who().identity_id, origin=current().settings.origin, at=clock.now()
        )
    return jsonify(options)


@blueprint.post("/prove/passkey")
@signed_in(*_EVERYBODY)
def prove_by_passkey() -> Response:
    """Proved by passkey; says where to go."""
    found, answer, at = who(), json_body(), clock.now()
    with current().database.write() as conn:
        passkeys.authenticate(
            conn, answer, "prove", b"", origin=current().settings.origin, at=at, identity_id=found.identity_id
        )
        sessions.prove(conn, found.session_id, at=at)
    return jsonify({"next": next_path(AREAS[found.kind][1])})


@blueprint.post("/passkeys/options")
@signed_in(*_EVERYBODY)
def new_passkey_options() -> Response:
    """What the browser needs to make a passkey."""
    require_proof()
    obole, at = current(), clock.now()
    with obole.database.write() as conn:
        identity = identities.find(conn, who().identity_id)
        options = passkeys.registration_options(
            conn, identity, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=at
        )
    return jsonify(options)


@blueprint.post("/passkeys")
@signed_in(*_EVERYBODY)
def new_passkey() -> Response:
    """Keep a passkey that the browser made."""
    require_proof()
    found, at = who(), clock.now()
    answer = json_body()
    label = "".join(char for char in request.args.get("label", "") if char.isprintable()).strip()[:100]
    with current().database.write() as conn:
        passkeys.register(
            conn, found.identity_id, answer, origin=current().settings.origin, label=label or "Passkey", at=at
        )
    tell("The passkey was added.")
    return jsonify({"next": next_path(AREAS[found.kind][1])})


@blueprint.route("/second-factor", methods=["GET", "POST"])
@limiter.limit(_PROOFS, key_func=asker, methods=["POST"])
def second_factor() -> ResponseReturnValue:
    """Set up one-time codes, or a passkey: operators must, before they see anything."""
    found = visitor()
    if found is None:
        return go("/console/sign-in")
    obole, at, refusal = current(), clock.now(), None
    with obole.database.read() as conn:
        identity = identities.find(conn, found.identity_id)
    if totp.is_enrolled(identity):
        return go(AREAS[found.kind][1])
    if not found.proved_lately(at):
        # The page shows the secret: whoever finds a browser open must not take it along.
        return go(f"/prove?{urlencode({'next': '/second-factor'})}")
    if request.method == "POST":
        try:
            with obole.database.write() as conn:
                totp.enrol(conn, obole.keyring, identity, forms.read(Code)["code"], at=at)
            tell("From now on you are asked for a code when you sign in.")
            return go(AREAS[found.kind][1])
        except OboleError as error:
            refusal = error
    uri = totp.uri(obole.keyring, identity, wallet_name=obole.settings.operator_name)
    return page(
        "second_factor.html",
        refusal=refusal,
        qr=Markup(segno.make(uri, error="m").svg_inline(omitsize=True)),  # noqa: S704  (segno's own SVG of our text)
        secret=totp.secret(obole.keyring, identity),
        next=AREAS[found.kind][1],
    )


def _ask(asked: Asked) -> None:
    """The same for whomever it is about: what is known of them is not looked at here."""
    with current().database.write() as conn:
        letter_requests.ask(conn, asked, at=clock.now())


def _open_first_purse(conn: Any, identity: Any) -> None:
    """A shopper who has none gets a purse; one whom an operator entered has theirs already."""
    if identity.shopper_id is None or purses.of_shopper(conn, identity.shopper_id):
        return
    purses.open_purse(
        conn,
        currency=current().settings.currency,
        email=identity.identifier,
        name=identity.name,
        locale=identity.locale,
        limits=NO_CAPS,
        at=clock.now(),
    )

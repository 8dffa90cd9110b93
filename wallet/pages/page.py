"""What every page has in common: its language, who is looking, its headers, and how a refusal looks.

Invariant: nothing is loaded from elsewhere, no script or style stands in the page (Content-Security-Policy without
``unsafe-inline``), and whoever is not signed in, or is somebody else, sees no page that is not theirs.
"""

import functools
import gzip
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import markupsafe
from flask import Blueprint, Flask, Response, abort, g, redirect, render_template, request, send_from_directory, session
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from wallet import clock, languages, sessions
from wallet.api import problems
from wallet.api.context import EXTENSION, current
from wallet.db import machine_failed
from wallet.errors import (
    FormOutdated,
    InternalError,
    NotFound,
    OboleError,
    OutcomeUnknown,
    ProofNeeded,
    TooManyRequests,
)
from wallet.money import Money
from wallet.page_models import IdentityKind
from wallet.sessions import Visitor
from wallet.settings import Settings

STATIC = Path(__file__).resolve().parent.parent / "static"
TEMPLATES = STATIC.parent / "templates"
# Where people of each kind sign in, and what they see first.
AREAS = {
    IdentityKind.SHOPPER: ("/sign-in", "/purse"),
    IdentityKind.MEMBER: ("/sign-in", "/purse"),
    IdentityKind.MERCHANT: ("/merchant/sign-in", "/merchant"),
    IdentityKind.OPERATOR: ("/console/sign-in", "/console"),
}
# Names the form in a form: what makes a second sending the same as the first.
FORM_ID = "once"
_TOKEN = "visit"
_LANGUAGE = "language"
_SHRINKS = frozenset({"text/css", "text/javascript", "image/svg+xml", "application/json"})
_A_YEAR = 365 * 24 * 60 * 60

# Counts by address and process; what guards money and PINs is counted in the database (`wallet.identities`).
limiter = Limiter(get_remote_address, storage_uri="memory://", headers_enabled=False)
_csrf = CSRFProtect()
_files = Blueprint("files", __name__)

View = Callable[..., ResponseReturnValue]


def register(app: Flask, *blueprints: Blueprint) -> None:
    """Give the application these pages, with their files, language, sessions and refusals."""
    settings: Settings = app.extensions[EXTENSION].settings
    app.config.update(
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        SESSION_COOKIE_NAME="obole" if settings.is_local else "__Host-obole",
        PERMANENT_SESSION_LIFETIME=90 * 24 * 60 * 60,
    )
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies, x_host=0, x_prefix=0
        )
    _csrf.init_app(app)
    limiter.init_app(app)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        lambda message: languages.catalog(language()).gettext(message),
        lambda one, many, n: languages.catalog(language()).ngettext(one, many, n),
        newstyle=True,
    )
    app.jinja_env.globals.update(
        csrf_field=_csrf_field,
        csrf_token=generate_csrf,
        static=static,
        language=language,
        visitor=visitor,
        other=_other,
    )
    app.jinja_env.filters.update(money=_money, date=_date, instant=_instant, refusal=refusal_text)
    for each in blueprints:
        app.register_blueprint(each)
    app.register_blueprint(_files)
    app.register_error_handler(404, _nothing_here)


def blueprint(name: str, module: str, *, templates: Path = TEMPLATES) -> Blueprint:
    """A blueprint whose views are pages: with language, session, CSRF, headers, and refusals that people can read."""
    made = Blueprint(name, module, template_folder=str(templates))
    made.before_request(_begin)
    made.after_request(_finish)
    made.register_error_handler(OboleError, _refused)
    made.register_error_handler(CSRFError, _outdated)
    made.register_error_handler(RateLimitExceeded, _too_many)
    made.register_error_handler(OSError, _machine_failed)
    made.register_error_handler(HTTPException, _http)
    return made


# --- rendering ---------------------------------------------------------------------------------------------


def page(template: str, *, refusal: OboleError | None = None, status: int = 200, **values: Any) -> Response:
    """A page in the reader's language. With a ``refusal``, the status is its own and the template shows it."""
    if refusal is not None:
        status = problems.STATUS[refusal.code]
    body = render_template(template, refusal=refusal, errors=_field_errors(refusal), **values)
    answer = Response(body, status=status, content_type="text/html; charset=utf-8")
    if status == 503:
        answer.headers["Retry-After"] = problems.RETRY_AFTER
    return answer


def go(path: str) -> ResponseReturnValue:
    """After a POST: see ``path`` (RFC 9110 section 15.4.4), so that reloading repeats nothing."""
    return redirect(path, code=303)


def tell(message: str, **values: object) -> None:
    """Say ``message`` (English, looked up) once, at the top of the next page."""
    session["said"] = languages.translate(language(), message, **values)


def say(message: str, **values: object) -> str:
    """``message`` in the reader's language. Written where it is used, and found there by the translators' test."""
    return languages.translate(language(), message, **values)


def static(name: str) -> str:
    """The address of a file of ours, which changes with its bytes and so may be kept for ever."""
    return f"/static/{_version(name)}/{name}"


def form_id() -> str:
    """What every form carries, so that one sent twice is known: the same again until what it asked for is done."""
    if "form_id" not in g:
        try:
            g.form_id = str(UUID(request.form.get(FORM_ID, "")))
        except (ValueError, HTTPException):
            g.form_id = str(uuid4())
    found: str = g.form_id
    return found


def refusal_text(error: OboleError) -> str:
    """What to tell people about a refusal: its detail where that has been put into their language, else its title."""
    if isinstance(error, OutcomeUnknown):
        return say("It is not known whether that was done. Send the same again: it is done once.")
    chosen = languages.catalog(language())
    detail = chosen.gettext(error.detail)
    return detail if detail != error.detail or language() == "en" else chosen.gettext(error.title)


# --- who is looking ----------------------------------------------------------------------------------------


def visitor() -> Visitor | None:
    """Who is signed in here, or None."""
    if "visitor" not in g:
        token, g.visitor = session.get(_TOKEN), None
        if isinstance(token, str):
            with current().database.read() as conn:
                g.visitor = sessions.resume(conn, token, at=clock.now())
    found: Visitor | None = g.visitor
    return found


def who() -> Visitor:
    """Who is signed in, on a page that only `signed_in` people see."""
    found = visitor()
    if found is None:
        abort(404)
    return found


def signed_in(*kinds: IdentityKind, proved: bool = False) -> Callable[[View], View]:
    """Show the page to these kinds of people; others are sent to sign in, and back.

    ``proved``: they must have shown who they are within the last ten minutes; otherwise they are asked first.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **values: Any) -> ResponseReturnValue:
            found = visitor()
            if found is None or found.kind not in kinds:
                return go(f"{AREAS[kinds[0]][0]}?{urlencode({'next': _here()})}")
            # What sets a second factor up is there without one.
            lacks_one = found.kind is IdentityKind.OPERATOR and not found.has_second_factor
            if lacks_one and request.blueprint != "sign_in":
                return go("/second-factor")
            if proved and not found.proved_lately(clock.now()):
                return go(f"/prove?{urlencode({'next': _here()})}")
            return view(*args, **values)

        return guarded

    return decorate


def require_proof() -> None:
    """Raise `ProofNeeded` unless whoever is signed in proved it within the last ten minutes."""
    if not who().proved_lately(clock.now()):
        raise ProofNeeded


def welcome(identity: Any) -> None:
    """Begin a session for an identity that just proved who they are; whatever this browser had before is gone."""
    _forget()
    session.permanent = True
    with current().database.write() as conn:
        session[_TOKEN] = sessions.begin(
            conn, identity.id, IdentityKind(identity.kind), label=browser(), at=clock.now()
        )


def farewell() -> None:
    """End the session of this browser."""
    found = visitor()
    if found is not None:
        with current().database.write() as conn:
            sessions.end(conn, found.session_id, identity_id=found.identity_id, at=clock.now())
    _forget()


def next_path(default: str) -> str:
    """Where to go after signing in: ``next``, if it is a path of ours."""
    wanted = request.values.get("next", "")
    return wanted if _OUR_PATH.fullmatch(wanted) else default


def language() -> str:
    """The reader's language: what they chose here, what the page is asked in, their own, their browser's."""
    if "language" not in g:
        found = visitor()
        g.language = languages.chosen(
            session.get(_LANGUAGE),
            g.get("asked_language"),
            found.locale if found else None,
            # Of "fr-CH, en;q=0.5" the first is French; Werkzeug's own match would look for exact tags first.
            *(tag.partition("-")[0].lower() for tag in request.accept_languages.values()),
        )
    spoken: str = g.language
    return spoken


# --- around every page -------------------------------------------------------------------------------------

# One slash, then no other and no backslash, which browsers take for one: never another host.
_OUR_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}", re.ASCII)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self'; base-uri 'none'; "
    "form-action 'self'{also}; frame-ancestors 'none'"
)


def _begin() -> None:
    wish = request.args.get("lang")
    if wish in languages.LOCALES:
        session[_LANGUAGE] = wish
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        _csrf.protect()


def _finish(response: Response) -> Response:
    also = f" {g.may_submit_to}" if "may_submit_to" in g else ""
    response.headers["Content-Security-Policy"] = _POLICY.format(also=also)
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=(), payment=()"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Vary"] = "Cookie, Accept-Language"
    return response


@_files.get("/static/<version>/<path:name>")
def _file(version: str, name: str) -> Response:
    response = send_from_directory(STATIC, name, max_age=_A_YEAR)
    forever = f"public, max-age={_A_YEAR}, immutable" if version == _version(name) else "no-cache"
    response.headers["Cache-Control"] = forever
    if response.status_code == 200 and response.mimetype in _SHRINKS:
        # Files only, never pages: what is secret in a page could be guessed from how well it shrinks (BREACH).
        response.headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings.quality("gzip") > 0:
            response.close()  # the file that would have been sent as it is
            response.direct_passthrough = False
            response.set_data(_shrunk(name, _version(name)))
            response.headers["Content-Encoding"] = "gzip"
    return response


def _refused(error: OboleError) -> Response:
    status = problems.STATUS[error.code]
    if status >= 500 and not error.retryable:
        error = InternalError()
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return problems.response(error)
    return page("refusal.html", refusal=error)


def _machine_failed(error: OSError) -> Response:
    problems.log_machine(error)
    return _refused(machine_failed(error))


def _outdated(_: CSRFError) -> Response:
    return _refused(FormOutdated())


def _too_many(_: RateLimitExceeded) -> Response:
    return _refused(TooManyRequests())


def _http(error: HTTPException) -> ResponseReturnValue:
    if error.code is not None and error.code < 400:
        return error.get_response()
    return _refused(NotFound()) if error.code == 404 else problems.http(error)


def _nothing_here(error: HTTPException) -> Response:
    """An address that is none of ours: a page for people, a problem for programs."""
    for_people = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    if request.path.startswith("/v1/") or not for_people:
        return problems.http(error)
    return _finish(page("refusal.html", refusal=NotFound()))


def _field_errors(refusal: OboleError | None) -> dict[str, str]:
    if refusal is None or refusal.errors is None:
        return {}
    return {field: " ".join(say(line) for line in lines) for field, lines in refusal.errors.items()}


def _csrf_field() -> markupsafe.Markup:
    hidden = {"csrf_token": generate_csrf(), FORM_ID: form_id()}
    field = markupsafe.Markup('<input type="hidden" name="{}" value="{}">')
    return markupsafe.Markup().join(field.format(name, value) for name, value in hidden.items())


@functools.lru_cache(maxsize=100)
def _shrunk(name: str, _: str) -> bytes:
    return gzip.compress((STATIC / name).read_bytes(), mtime=0)


@functools.lru_cache(maxsize=200)  # one file has many addresses ("js/./till.js"), as many as somebody likes
def _version(name: str) -> str:
    path = STATIC / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "none"


def _forget() -> None:
    """Take everything out of this browser's cookie but the language chosen in it."""
    said = session.get(_LANGUAGE)
    session.clear()
    if said:
        session[_LANGUAGE] = said
    g.pop("visitor", None)


def _here() -> str:
    if request.method == "GET":
        return request.full_path.rstrip("?")
    # After a POST that must be confirmed first, back to the page with the form.
    return request.headers.get("Referer", "").removeprefix(current().settings.origin) or request.path


def _other() -> str:
    """This page in the other language."""
    wanted = "en" if language() == "fr" else "fr"
    query = {name: value for name, value in request.args.items() if name != "lang"} | {"lang": wanted}
    return f"?{urlencode(query)}"


def browser() -> str:
    """What the visitor looks through, for lists of sessions and devices: ``Firefox, Linux``."""
    agent = request.user_agent.string
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser}, {system}" if system else browser


_BROWSERS = (
    ("Edg/", "Edge"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def _money(amount: Money, *, sign: bool = False) -> str:
    return languages.money(amount, language(), sign=sign)


def _date(value: Any) -> str:
    return languages.date(value, language())


def _instant(value: Any) -> str:
    return languages.instant(value, language())

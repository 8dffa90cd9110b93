"""What every page has in common: its language, who is looking, its headers, and how a refusal looks.

Invariant: nothing is loaded from elsewhere, no script or style stands in the page (Content-Security-Policy without
``unsafe-inline``), and whoever is not signed in, or is somebody else, sees no page that is not theirs.
"""

import datetime as dt
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
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    redirect,
    render_template,
    request,
    send_from_directory,
    session,
)
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect, generate_csrf
from sqlalchemy.engine import Connection
from werkzeug.exceptions import HTTPException

from wallet.ground import clock, languages
from wallet.ground.errors import OboleError, OutcomeUnknown, ProofNeeded, SignInLocked, TooManyRequests
from wallet.ground.money import Money
from wallet.people import browsers, sessions
from wallet.people.sessions import Visitor
from wallet.settings import Settings
from wallet.tables.people import IdentityKind
from web.http import problems, proxies
from web.http.context import EXTENSION, current
from web.http.proxies import visitor_network
from web.pages.rates import limiter

STATIC = Path(__file__).with_name("static")
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
_PURCHASE = "purchase"
_SHRINKS = frozenset({"text/css", "text/javascript", "image/svg+xml", "application/json"})
_A_YEAR = 365 * 24 * 60 * 60

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
    # Before the limiter, which counts by where visitors come from.
    proxies.register(app, settings, people=frozenset(each.name for each in blueprints))
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
        gives_money_away=lambda: current().settings.gives_money_away,
    )
    app.jinja_env.filters.update(money=_money, date=_date, instant=_instant, refusal=refusal_text)
    for each in blueprints:
        app.register_blueprint(each)
    app.register_blueprint(_files)


def blueprint(name: str, module: str) -> Blueprint:
    """A blueprint whose views are pages: with language, session, CSRF and headers."""
    made = Blueprint(name, module, template_folder=str(STATIC.with_name("templates")))
    made.before_request(_begin)
    made.after_request(finish)
    return made


# --- rendering ---------------------------------------------------------------------------------------------


def page(template: str, *, refusal: OboleError | None = None, status: int = 200, **values: Any) -> Response:
    """A page in the reader's language. With a ``refusal``, the status is its own and the template shows it."""
    if refusal is not None:
        status = problems.STATUS[refusal.code]
    body = render_template(template, refusal=refusal, errors=_field_errors(refusal), **values)
    response = Response(body, status=status, content_type="text/html; charset=utf-8")
    if refusal is not None:
        response.headers.update(problems.when_again(refusal))
    return response


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
        except (ValueError, HTTPException, OboleError):
            g.form_id = str(uuid4())
    found: str = g.form_id
    return found


def refusal_text(error: OboleError) -> str:
    """What to tell people about a refusal: its detail where that has been put into their language, else its title."""
    after = None if error.wait is None else _after(error, error.wait)
    if after is not None:
        return after
    if isinstance(error, OutcomeUnknown):
        return say("It is not known whether that was done. Send the same again: it is done once.")
    chosen = languages.catalog(language())
    detail = chosen.gettext(error.detail)
    return detail if detail != error.detail or language() == "en" else chosen.gettext(error.title)


def _after(error: OboleError, wait: dt.timedelta) -> str | None:
    """What to tell people who are to come again later: when, and what else they can do."""
    when = languages.later(wait, language())
    if isinstance(error, SignInLocked) and error.detail != error.title:
        return f"{say(error.detail)} {say('Or try again %(when)s.', when=when)}"
    if isinstance(error, SignInLocked):
        return say(
            "Too many wrong tries. Try again %(when)s. Meanwhile a passkey lets you in, and so does your PIN or "
            "passphrase in a browser where you signed in before. Or have a letter sent to choose a new one; a member "
            "of a family purse gets a new PIN from whoever keeps the purse.",
            when=when,
        )
    return say("Too many requests; try again %(when)s.", when=when) if isinstance(error, TooManyRequests) else None


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


def forget_visitor() -> None:
    """Show this one page as to a stranger, because nobody can say who is looking."""
    g.visitor = None


def keep_purchase(checkout_id: UUID, *, is_open: bool) -> None:
    """Offer the way back to this purchase on every page of this browser; once it is over, no more."""
    if is_open:
        session[_PURCHASE] = str(checkout_id)
    elif session.get(_PURCHASE) == str(checkout_id):
        session.pop(_PURCHASE)


def asker() -> str:
    """Who asks, to count how often: whoever is signed in, wherever they are; else somebody of a network."""
    found = visitor()
    return f"{visitor_network()} {request.path}" if found is None else str(found.identity_id)


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
    """Begin a session for an identity that just proved who they are; whatever this browser had before is gone.

    All but the cookie that says it is known to them, so that no stranger's wrong tries lock them out here from now on,
    and the purchase they came for.
    """
    _forget(_LANGUAGE, _PURCHASE)
    session.permanent = True
    with current().database.write() as conn:
        session[_TOKEN] = sessions.begin(
            conn, identity.id, IdentityKind(identity.kind), label=browser(), at=clock.now()
        )
        remember_browser(conn, identity.id)


def remember_browser(conn: Connection, identity_id: UUID) -> None:
    """Know this browser to be that of an identity who just proved who they are."""
    g.known_browser = browsers.remember(conn, browser_token(), identity_id, at=clock.now())


def browser_token() -> str | None:
    """By which this browser is known to those who signed in here, if it is."""
    return request.cookies.get(_browser_cookie())


def _browser_cookie() -> str:
    return f"{current_app.config['SESSION_COOKIE_NAME']}-browser"


def farewell() -> None:
    """End the session of this browser."""
    found = visitor()
    if found is not None:
        with current().database.write() as conn:
            sessions.end(conn, found.session_id, identity_id=found.identity_id, at=clock.now())
    _forget(_LANGUAGE)


def next_path(default: str) -> str:
    """Where to go after signing in: ``next``, if it is a path of ours."""
    try:
        wanted = request.values.get("next", "")
    except (HTTPException, OboleError):  # the form cannot be read
        wanted = request.args.get("next", "")
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
_LONGEST_PATH = 1_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self'; base-uri 'none'; "
    "form-action 'self'{also}; frame-ancestors 'none'"
)


def choose_language() -> None:
    """Speak from now on as the reader asks with ``?lang=``."""
    wish = request.args.get("lang")
    if wish in languages.LOCALES:
        session[_LANGUAGE] = wish


def _begin() -> None:
    choose_language()
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        _csrf.protect()


def finish(response: Response) -> Response:
    """Put the headers of a page on its answer."""
    also = f" {g.may_submit_to}" if "may_submit_to" in g else ""
    response.headers["Content-Security-Policy"] = _POLICY.format(also=also)
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=(), payment=()"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Vary"] = "Cookie, Accept-Language"
    if "known_browser" in g:
        response.set_cookie(
            _browser_cookie(),
            g.known_browser,
            max_age=browsers.LASTS,
            secure=current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
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


def _forget(*kept: str) -> None:
    """Take everything out of this browser's cookie but what is ``kept``."""
    values = {name: session[name] for name in kept if name in session}
    session.clear()
    session.update(values)
    g.pop("visitor", None)


def _here() -> str:
    if request.method == "GET":
        here = request.full_path.rstrip("?")
    else:
        # After a POST that must be confirmed first, back to the page with the form.
        here = request.headers.get("Referer", "").removeprefix(current().settings.origin)
    return here if 0 < len(here) <= _LONGEST_PATH else request.path


def _other() -> str:
    """This page in the other language, and after it what was to come."""
    # A page's own query is short; what somebody made up is not said again.
    is_short = len(request.query_string) <= _LONGEST_PATH
    asked = request.args if is_short and g.get("keeps_query", True) else {}
    query = {**asked, "lang": "en" if language() == "fr" else "fr"}
    if wanted := next_path(""):
        query["next"] = wanted
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

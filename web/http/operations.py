"""Operations: one declaration for each call, from which both its checks and its documentation follow.

Invariant: the OpenAPI document cannot disagree with the code about who may call, what a body may hold, or
which refusals exist, because `operation` reads the same declaration for all of it. Checks go in this order:
what the client accepts (406), its key (401, 403, 404), its idempotency key (400, 422), its body (400, 415,
413, 422).
"""

import functools
import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from sqlalchemy.engine import Connection

from wallet.books.idempotency import once
from wallet.ground import clock, errors
from wallet.ground.errors import MalformedBody, NotAcceptable, OboleError, UnsupportedMediaType, ValidationFailed
from wallet.people.api_keys import Caller
from wallet.tables.people import KeyKind
from web.http import auth, bodies, problems
from web.http.context import current
from web.http.fields import TOKEN_PATTERN, Empty, Problem

JSON = "application/json"
# What takes no more memory than the largest honest body does: ten thousand redemptions, of two members each.
_MOST_PARTS = 100_000
# A header, claims with two ids and a signature are longer, and a problem is hardly longer than that.
_SHORTEST_TOKEN = 200
_TOKEN = re.compile(TOKEN_PATTERN)
# marshmallow takes a time that grows with the square of the names that nobody knows.
_MOST_NAMES = 3_000

# A view takes what it names of what its operation declares: caller, key, body, query, the path's variables.
View = Callable[..., Any]

ALWAYS: tuple[type[OboleError], ...] = (
    errors.NotAcceptable,
    errors.InternalError,
    errors.Unavailable,
    errors.OutcomeUnknown,
)
WITH_KEY: tuple[type[OboleError], ...] = (errors.Unauthorized, errors.KeyScope)
WITH_BODY: tuple[type[OboleError], ...] = (
    errors.MalformedBody,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.ValidationFailed,
)
IDEMPOTENT: tuple[type[OboleError], ...] = (
    errors.IdempotencyKeyRequired,
    errors.IdempotencyConflict,
    errors.ValidationFailed,
)
_IN_PATH: Mapping[str, type[OboleError]] = {
    "purse_id": errors.PurseNotFound,
    "merchant_id": errors.MerchantNotFound,
}
REPLAYED_HEADER = {
    "Idempotent-Replayed": {
        "description": "Present and true when this answer was given before.",
        "schema": {"const": "true"},
    }
}
IDEMPOTENCY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": True,
    "description": "The same key with the same request is answered the same and done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}


def operation(
    blueprint: Blueprint,
    method: str,
    rule: str,
    *,
    callers: Sequence[KeyKind] = (),
    body: type[Schema] | None = None,
    body_required: bool = True,
    most_body_bytes: int = bodies.USUAL,
    query: type[Schema] | None = None,
    idempotent: bool = False,
    replayable: bool = False,
    status: int = 200,
    answer: type[Schema] | dict[str, Any] | None = None,
    refuses: Iterable[type[OboleError]] = (),
    **document: Any,
) -> Callable[[View], View]:
    """Declare the call ``method rule`` on a blueprint.

    ``callers`` are the kinds of key that may call, none for anyone. ``answer`` is the schema of the JSON
    answer, a dict of content by media type, or None for no content. A body of more than ``most_body_bytes`` is
    refused unread, and one of more than `bodies.SMALL` is read only once the key was found good. ``refuses`` names
    what the rooms raise; what every such call refuses is added. ``replayable`` only documents the header of a replay,
    for a view that keeps its own idempotency; ``document`` adds to or replaces parts of the OpenAPI operation.
    """
    produces = tuple(answer) if isinstance(answer, dict) else (JSON,)

    def declare(view: View) -> View:
        wanted = frozenset(inspect.signature(view).parameters)

        @functools.wraps(view)
        def call(**path: Any) -> Response:
            check_acceptable(produces)
            if callers:
                path["caller"] = who = auth.caller(*callers)
                auth.check_owner(who, path)
            if idempotent:
                path["key"] = auth.idempotency_key()
            if query is not None:
                path["query"] = load(query, _query())
            if bodies.BEFORE_BODY in request.environ:
                return Response(status=100)
            if body is not None:
                path["body"] = load(body, json_body(required=body_required))
            answered = view(**{name: value for name, value in path.items() if name in wanted})
            return answered if isinstance(answered, Response) else respond(answered, status=status)

        declared = _refusals(rule, callers=callers, body=body, query=query, idempotent=idempotent)
        call._apidoc = {  # type: ignore[attr-defined]
            "manual_doc": _described(
                callers=callers,
                body=body,
                body_required=body_required,
                query=query,
                idempotent=idempotent,
                responses={
                    **_answered(status, answer, replayable=idempotent or replayable),
                    **problem_responses([*ALWAYS, *declared, *refuses]),
                },
            )
            | document
            | ({} if method == "GET" else {"x-most-body-bytes": most_body_bytes})
        }
        blueprint.add_url_rule(rule, view.__name__, bodies.up_to(most_body_bytes)(call), methods=[method])
        return view

    return declare


_HEADER: Mapping[int, tuple[str, dict[str, str]]] = {
    401: ("WWW-Authenticate", {"const": "Bearer"}),
    503: ("Retry-After", {"type": "string"}),
}


# --- reading -----------------------------------------------------------------------------------------------


def json_body(*, required: bool = True) -> Any:
    """What the JSON body says; ``{}`` for none where none is required.

    Raises `UnsupportedMediaType`, `PayloadTooLarge`, or `MalformedBody`.
    """
    data = request.get_data(cache=False)
    if not data:
        if required:
            raise MalformedBody("A JSON body is needed.")
        return {}
    if request.mimetype != JSON:
        raise UnsupportedMediaType(f"The body must be {JSON}.")
    return read_json(data)


def read_json(data: bytes) -> Any:
    """JSON as RFC 8259 has it, in UTF-8, without repeated names. Raises `MalformedBody`."""
    if sum(data.count(mark) for mark in (b"{", b"[", b",")) > _MOST_PARTS:
        raise MalformedBody(f"The body has more than {_MOST_PARTS} parts.")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError | MalformedName) else "unreadable"
        raise MalformedBody(f"The body is not JSON in UTF-8: {reason}.") from None


def load(schema: type[Schema], data: Any) -> Any:
    """``data`` as the schema reads it. Raises `ValidationFailed` with every field that is wrong."""
    try:
        return _instance(schema).load(data)
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ValidationFailed(errors=flat(messages)) from None


def flat(messages: Mapping[Any, Any], prefix: str = "") -> dict[str, list[str]]:
    """Nested messages by dotted path: ``{"terms.commission_bp": […], "vouchers.7.amount": […]}``."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, below in messages.items():
        # How much of it is told, `problems` decides; half a character no reader of JSON takes.
        shown = str(name).encode("utf-8", "replace").decode("utf-8")
        path = prefix.rstrip(".") if name == "_schema" else f"{prefix}{shown}"
        if isinstance(below, Mapping):
            for deeper, lines in flat(below, f"{path}." if path else "").items():
                found[deeper] += lines
        else:
            found[path or "body"] += [str(line) for line in below]
    return dict(found)


def few_strangers(field: str, tokens: Sequence[str]) -> None:
    """Each item of a list is answered for itself, with a problem if need be; but not thousands of which none is one.

    ``field`` names the token of an item, with ``{}`` for its number. Raises `ValidationFailed`.
    """
    strange = [
        field.format(number)
        for number, token in enumerate(tokens)
        if len(token) < _SHORTEST_TOKEN or not _TOKEN.fullmatch(token)
    ]
    if len(strange) == len(tokens) > problems.MOST_FIELDS:
        raise ValidationFailed(errors={each: ["A compact JWS."] for each in strange})


class MalformedName(ValueError):
    """A name that an object has twice."""


@functools.cache
def _instance(schema: type[Schema]) -> Schema:
    # A schema is not changed by loading, and costs much more to make than to use.
    return schema()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_NAMES:
        raise MalformedName(f"an object has more than {_MOST_NAMES} names")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedName("a name occurs twice in an object")
    return members


def _no_constant(name: str) -> Any:
    raise MalformedName(f"{name} is not JSON")


def _query() -> dict[str, Any]:
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise ValidationFailed(errors={name: ["Given more than once."] for name in repeated})
    return request.args.to_dict()


def check_acceptable(produces: Sequence[str]) -> None:
    """Raise `NotAcceptable` unless the client takes one of these media types (RFC 9110 section 12.5.1)."""
    if "Accept" in request.headers and not any(request.accept_mimetypes.quality(kind) > 0 for kind in produces):
        raise NotAcceptable(f"This call answers {' or '.join(produces)}.")


# --- answering ---------------------------------------------------------------------------------------------


def dump(answered: Any) -> bytes:
    """An answer's bytes: JSON in UTF-8 without spaces."""
    return json.dumps(answered, ensure_ascii=False, separators=(",", ":")).encode()


def respond(answered: Any, *, status: int = 200, replayed: bool = False) -> Response:
    """An answer: JSON of ``answered``, its bytes as they are, or no content for None."""
    body = answered if isinstance(answered, bytes) else b"" if answered is None else dump(answered)
    response = Response(body, status=status, content_type=JSON)
    if status == 204:
        del response.headers["Content-Type"]
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def respond_once(
    caller: Caller,
    key: str,
    facts: Any,
    work: Callable[[Connection], Any],
    *,
    status: int,
    media_type: str = JSON,
    settles: bool = False,
) -> Response:
    """Do ``work`` once under the caller's idempotency key, and answer what it answers, now and every time
    after.

    ``work`` runs in the write transaction (``settles``: that of a settlement step), and answers bytes or something
    to `dump`. Whatever may refuse by what is set or stored now belongs in it, or a replay is refused by what changed
    since. Raises `IdempotencyConflict`.
    """

    def answered(conn: Connection) -> tuple[int, bytes]:
        result = work(conn)
        return status, result if isinstance(result, bytes) else dump(result)

    answer = once(
        current().database,
        owner_id=caller.owner_id,
        key=key,
        facts={"call": f"{request.method} {request.path}", "facts": facts},
        at=clock.now(),
        work=answered,
        settles=settles,
    )
    response = respond(answer.body, status=answer.status, replayed=answer.replayed)
    response.content_type = media_type
    return response


# --- describing --------------------------------------------------------------------------------------------


def problem_responses(refusals: Iterable[type[OboleError]]) -> dict[str, Any]:
    """OpenAPI responses for these errors, one for each status, naming the codes it can carry."""
    by_status: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for refusal in refusals:
        by_status[problems.STATUS[refusal.code]][refusal.code] = refusal.title
    return {str(status): _problem_response(status, codes) for status, codes in sorted(by_status.items())}


def _problem_response(status: int, codes: Mapping[str, str]) -> dict[str, Any]:
    named = {"properties": {"code": {"enum": sorted(codes)}, "status": {"const": status}}}
    described = {
        "description": " ".join(f"`{code}`: {title}" for code, title in sorted(codes.items())),
        "content": {problems.MEDIA_TYPE: {"schema": {"allOf": [Problem, named]}}},
    }
    if status in _HEADER:
        name, schema = _HEADER[status]
        described["headers"] = {name: {"required": True, "schema": schema}}
    return described


def _refusals(
    rule: str, *, callers: Sequence[KeyKind], body: object, query: object, idempotent: bool
) -> list[type[OboleError]]:
    found: list[type[OboleError]] = []
    found += WITH_KEY if callers else ()
    found += WITH_BODY if body is not None else ()
    found += IDEMPOTENT if idempotent else ()
    found += (errors.ValidationFailed,) if query is not None else ()
    if "<" in rule:
        found += [errors.NotFound, *(error for name, error in _IN_PATH.items() if f":{name}>" in rule)]
    return found


def _described(
    *,
    callers: Sequence[KeyKind],
    body: type[Schema] | None,
    body_required: bool,
    query: type[Schema] | None,
    idempotent: bool,
    responses: dict[str, Any],
) -> dict[str, Any]:
    described: dict[str, Any] = {"responses": responses}
    if callers:
        described["security"] = [{scheme: []} for scheme in dict.fromkeys(_SCHEME[kind] for kind in callers)]
    # A call without a body refuses one that says something; there is nothing to describe.
    if body is not None and body is not Empty:
        described["requestBody"] = {"required": body_required, "content": {JSON: {"schema": body}}}
    parameters = [IDEMPOTENCY_PARAMETER] if idempotent else []
    parameters += [{"in": "query", "schema": query}] if query is not None else []
    if parameters:
        described["parameters"] = parameters
    return described


def _answered(
    status: int, answer: type[Schema] | dict[str, Any] | None, *, replayable: bool
) -> dict[str, dict[str, Any]]:
    described: dict[str, Any] = {"description": "Done."}
    if isinstance(answer, dict):
        described["content"] = {kind: {"schema": schema} for kind, schema in answer.items()}
    elif answer is not None:
        described["content"] = {JSON: {"schema": answer}}
    if replayable:
        described["headers"] = REPLAYED_HEADER
    return {str(status): described}


_SCHEME = {
    KeyKind.OPERATOR: "operator",
    KeyKind.MERCHANT: "merchant",
    KeyKind.PURSE: "purse",
    KeyKind.PURSE_PAY: "paying",
}
SECURITY_SCHEMES = {
    name: {"type": "http", "scheme": "bearer", "description": description}
    for name, description in {
        "operator": "An operator's key.",
        "merchant": "A merchant's key.",
        "purse": "The key of a purse.",
        "paying": "A key that only pays from one purse, within its caps.",
    }.items()
}

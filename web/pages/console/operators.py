"""Operators: who they are, inviting another by mail, and ending one at once."""

import datetime as dt
from uuid import UUID

from flask import Response
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate
from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground import clock
from wallet.ground.errors import IdentityNotFound, OboleError, ValidationFailed
from wallet.ground.languages import LOCALES
from wallet.people import identities, invitations
from wallet.tables.people import IdentityKind
from wallet.tables.people import identities as identities_table
from web.http.context import current
from web.http.fields import EMAIL_PATTERN, Strict, Text
from web.pages import forms
from web.pages.console.desk import blueprint, decided, note, seen, show
from web.pages.page import go, tell, who


class Invitation(Strict):
    """Whom to invite."""

    email = Text(254, required=True, pattern=EMAIL_PATTERN, wanted="An e-mail address.")
    name = Text(140, required=True)
    locale = fields.String(load_default="en", validate=validate.OneOf(LOCALES))


@blueprint.get("/operators")
@seen
def operators() -> ResponseReturnValue:
    """Everybody who is or was one."""
    return _operators()


@blueprint.post("/operators")
@decided
def invite() -> ResponseReturnValue:
    """Invite somebody by mail; they choose their passphrase and second factor by the link in it."""
    at = clock.now()
    try:
        wanted = forms.read(Invitation)
        with current().database.write() as conn:
            _enter(conn, wanted["email"], wanted["name"], wanted["locale"], at)
    except OboleError as refusal:
        return _operators(refusal=refusal)
    tell("The invitation is on its way to %(email)s.", email=wanted["email"])
    return go("/console/operators")


@blueprint.post("/operators/<uuid:identity_id>/invite")
@decided
def invite_again(identity_id: UUID) -> ResponseReturnValue:
    """Send another link to somebody who has not come yet, or was ended; the one before works no more."""
    at = clock.now()
    with current().database.write() as conn:
        row = identities.find(conn, identity_id)
        if row.ended_at is not None and row.kind == IdentityKind.OPERATOR.value:
            _enter(conn, row.identifier, row.name, row.locale, at)
        elif _operator(conn, identity_id).activated_at is None:
            _send(conn, identity_id, at)
            note(conn, "operator_invited", identity_id, row.identifier, at=at)
        else:
            raise IdentityNotFound
    tell("The invitation is on its way to %(email)s.", email=row.identifier)
    return go("/console/operators")


@blueprint.post("/operators/<uuid:identity_id>/end")
@decided
def end(identity_id: UUID) -> ResponseReturnValue:
    """Let an operator in no more, from this moment; never oneself, so that there is always one left."""
    at = clock.now()
    try:
        if identity_id == who().identity_id:
            raise ValidationFailed("Nobody ends themselves: ask another operator.")
        with current().database.write() as conn:
            row = _operator(conn, identity_id)
            identities.end(conn, identity_id, at=at)
            note(conn, "operator_ended", identity_id, row.identifier, at=at)
    except OboleError as refusal:
        return _operators(refusal=refusal)
    tell("%(name)s is no longer an operator.", name=row.name)
    return go("/console/operators")


def _enter(conn: Connection, email: str, name: str, locale: str, at: dt.datetime) -> None:
    kind = IdentityKind.OPERATOR
    whom = identities.as_invited(conn, kind, email)
    identity_id = identities.add(conn, kind, identifier=email, name=name, locale=locale, at=at)
    _send(conn, identity_id, at)
    note(conn, "operator_invited", identity_id, whom, at=at)


def _send(conn: Connection, identity_id: UUID, at: dt.datetime) -> None:
    settings = current().settings
    invitations.send(conn, identity_id, origin=settings.origin, wallet_name=settings.operator_name, at=at)


def _operator(conn: Connection, identity_id: UUID) -> Row[tuple[object, ...]]:
    row = identities.find(conn, identity_id)
    if row.kind != IdentityKind.OPERATOR.value or row.ended_at is not None:
        raise IdentityNotFound
    return row


def _operators(*, refusal: OboleError | None = None) -> Response:
    mine = identities_table.c.kind == IdentityKind.OPERATOR.value
    with current().database.read() as conn:
        rows = conn.execute(select(identities_table).where(mine).order_by(identities_table.c.id)).all()
    return show("operators.html", refusal=refusal, operators=rows)

"""Operators and their keys."""

from uuid import UUID

import click
from flask.cli import AppGroup

from cli.words import JSON, note_action, say, says_no
from wallet.ground import clock
from wallet.ground.errors import IdentityNotFound
from wallet.ground.languages import LOCALES
from wallet.people import api_keys, identities, invitations
from wallet.tables.people import IdentityKind, KeyKind
from web.http.context import current

operator = AppGroup("operator", help="Keys for operators.")


@operator.command("add")
@click.argument("label")
@says_no
def _operator_add(label: str) -> None:
    """Make an operator's key and print it: it is shown once."""
    at = clock.now()
    with current().database.write() as conn:
        key_id, token = api_keys.issue(conn, KeyKind.OPERATOR, owner_id=None, label=label, at=at)
        note_action(conn, "operator_key_made", key_id, label, at)
    click.echo(token)


@operator.command("invite")
@click.argument("email")
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@says_no
def _operator_invite(email: str, name: str, locale: str) -> None:
    """Let somebody into the console: writes to EMAIL, and prints the link, which works once within two days."""
    at, obole = clock.now(), current()
    with obole.database.write() as conn:
        kind = IdentityKind.OPERATOR
        known, whom = identities.find_by_identifier(conn, kind, email), identities.as_invited(conn, kind, email)
        is_waiting = known is not None and known.activated_at is None and known.ended_at is None
        operator_id = (
            known.id
            if known is not None and is_waiting
            else identities.add(conn, kind, identifier=email, name=name, locale=locale, at=at)
        )
        token = invitations.send(
            conn, operator_id, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=at
        )
        note_action(conn, "operator_invited", operator_id, whom, at)
    click.echo(f"{obole.settings.origin}/link/{token}")


@operator.command("reset")
@click.argument("email")
@says_no
def _operator_reset(email: str) -> None:
    """Let an operator who lost passphrase or second factor begin anew: writes to EMAIL, and prints the link."""
    at, obole = clock.now(), current()
    with obole.database.write() as conn:
        known = identities.find_by_identifier(conn, IdentityKind.OPERATOR, email)
        if known is None or known.ended_at is not None:
            raise IdentityNotFound
        identities.start_over(conn, known.id, at=at)
        token = invitations.send(
            conn, known.id, origin=obole.settings.origin, wallet_name=obole.settings.operator_name, at=at
        )
        note_action(conn, "operator_reset", known.id, email, at)
    click.echo(f"{obole.settings.origin}/link/{token}")


@operator.command("list")
@JSON
@says_no
def _operator_list(as_json: bool) -> None:
    """Operators' keys, never the keys themselves."""
    with current().database.read() as conn:
        for row in api_keys.operators(conn):
            revoked = None if row.revoked_at is None else clock.rfc3339(row.revoked_at)
            say(as_json, id=str(row.id), label=row.label, revoked_at=revoked)


@operator.command("revoke")
@click.argument("key_id", type=click.UUID)
@says_no
def _operator_revoke(key_id: UUID) -> None:
    """End an operator's key at once."""
    at = clock.now()
    with current().database.write() as conn:
        api_keys.revoke(conn, key_id, owner_id=key_id, at=at)
        note_action(conn, "operator_key_revoked", key_id, "", at)

"""Purses: open, look at, freeze."""

from uuid import UUID

import click
from flask.cli import AppGroup

from cli.words import JSON, note_action, say, says_no
from wallet.ground import clock
from wallet.ground.languages import LOCALES
from wallet.people import api_keys
from wallet.purses import purses
from wallet.purses.limits import NO_CAPS
from wallet.tables.people import KeyKind
from web.api.purses import NewPurse
from web.http.context import current
from web.http.operations import load

purse = AppGroup("purse", help="Purses: open, look at, freeze.")


@purse.command("open")
@click.option("--currency", required=True)
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--locale", type=click.Choice(LOCALES), default="en", show_default=True)
@says_no
def _purse_open(currency: str, email: str, name: str, locale: str) -> None:
    """Open a purse; prints its id and its key, which is shown once."""
    body = load(NewPurse, {"currency": currency, "shopper": {"email": email, "name": name, "locale": locale}})
    at = clock.now()
    with current().database.write() as conn:
        purse_id = purses.open_purse(conn, currency=body["currency"], **body["shopper"], limits=NO_CAPS, at=at)
        _, token = api_keys.issue(conn, KeyKind.PURSE, owner_id=purse_id, label="first", at=at)
    say(False, id=str(purse_id), key=token)


@purse.command("show")
@click.argument("purse_id", type=click.UUID)
@JSON
@says_no
def _purse_show(purse_id: UUID, as_json: bool) -> None:
    """A purse's balance, what is held, and what can be spent."""
    with current().database.read() as conn:
        seen = purses.view(conn, purse_id)
    say(
        as_json,
        id=str(seen.id),
        currency=seen.currency,
        balance=str(seen.balance),
        held=str(seen.held),
        available=str(seen.available),
        frozen=seen.frozen,
    )


@purse.command("freeze")
@click.argument("purse_id", type=click.UUID)
@says_no
def _purse_freeze(purse_id: UUID) -> None:
    """Stop paying from a purse, at once."""
    with current().database.write() as conn:
        purses.freeze(conn, purse_id, by_operator=True)
        note_action(conn, "purse_frozen", purse_id, "", clock.now())


@purse.command("unfreeze")
@click.argument("purse_id", type=click.UUID)
@says_no
def _purse_unfreeze(purse_id: UUID) -> None:
    """Let a purse pay again."""
    with current().database.write() as conn:
        purses.unfreeze(conn, purse_id, by_operator=True)
        note_action(conn, "purse_unfrozen", purse_id, "", clock.now())

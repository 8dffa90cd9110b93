"""The wallet's signing keys."""

from pathlib import Path

import click
from flask.cli import AppGroup

from cli.words import JSON, note_action, say, says_no
from wallet.ground import clock
from web.http.context import current

keys = AppGroup("keys", help="The wallet's signing keys.")


@keys.command("list")
@JSON
@says_no
def _keys_list(as_json: bool) -> None:
    """The signing keys, oldest first; the last one signs."""
    for kid, created_at, retired_at in current().keyring.listing():
        retired = None if retired_at is None else clock.rfc3339(retired_at)
        say(as_json, kid=kid, created_at=clock.rfc3339(created_at), retired_at=retired)


@keys.command("change-passphrase")
@click.option(
    "--new-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file whose first line is the new passphrase; otherwise it is asked for, twice.",
)
@says_no
def _keys_change_passphrase(new_file: Path | None) -> None:
    """Encrypt the key file under another passphrase; its keys stay. The settings must name the new one from now on."""
    if new_file is None:
        new = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
    else:
        new = next(iter(new_file.read_text(encoding="utf-8").splitlines()), "")
    at = clock.now()
    current().keyring.change_passphrase(new)
    with current().database.write() as conn:
        note_action(conn, "key_passphrase_changed", "", "", at)
    click.echo("Changed. Put it into OBOLE_KEY_PASSPHRASE or its file, and start every process again.")


@keys.command("rotate")
@says_no
def _keys_rotate() -> None:
    """Make a new signing key; vouchers of the old ones stay good for as long as they live."""
    at = clock.now()
    kid = current().keyring.rotate(now=at)
    with current().database.write() as conn:
        note_action(conn, "key_rotated", kid, "", at)
    click.echo(kid)

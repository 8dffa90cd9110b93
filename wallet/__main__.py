"""``python -m wallet create-keys``: make the key file, before there is anything that could start without it."""

import os
from pathlib import Path

import click

from wallet import settings
from wallet.ground import clock
from wallet.ground.errors import OboleError
from wallet.keys.ring import Keyring


@click.group()
def main() -> None:
    """What comes before the first start."""


@main.command("create-keys")
@click.option("--file", "path", type=click.Path(path_type=Path), envvar="OBOLE_KEY_FILE", required=True)
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True), envvar="OBOLE_KEY_PASSPHRASE_FILE")
def create_keys(path: Path, passphrase_file: Path | None) -> None:
    """Make the wallet's first signing key. The passphrase is OBOLE_KEY_PASSPHRASE, or the one line of a file."""
    # A file that is named here is meant, whatever else the environment says.
    given = os.environ if passphrase_file is None else {"OBOLE_KEY_PASSPHRASE_FILE": str(passphrase_file)}
    try:
        passphrase = settings.said(given, "key_passphrase").get("key_passphrase", "")
        click.echo(Keyring.create(path, passphrase, now=clock.now()).active_kid)
    except OboleError as refusal:
        raise click.ClickException(f"{refusal.detail} [{refusal.code}]") from None


if __name__ == "__main__":
    main(prog_name="python -m wallet")

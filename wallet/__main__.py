"""``python -m wallet create-keys``: make the key file, before there is anything that could start without it."""

import os
from pathlib import Path

import click

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
    """Make the wallet's first signing key. The passphrase is OBOLE_KEY_PASSPHRASE, or the file's first line."""
    passphrase = os.environ.get("OBOLE_KEY_PASSPHRASE", "")
    if passphrase_file is not None:
        passphrase = passphrase_file.read_text().splitlines()[0]
    try:
        click.echo(Keyring.create(path, passphrase, now=clock.now()).active_kid)
    except OboleError as refusal:
        raise click.ClickException(f"{refusal.detail} [{refusal.code}]") from None


if __name__ == "__main__":
    main(prog_name="python -m wallet")

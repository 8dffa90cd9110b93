"""``python -m obole_demo``: start the demo town, or play one day of it."""

from pathlib import Path

import click

from obole_demo import batch as batch_day
from obole_demo import run as running


@click.group()
def main() -> None:
    """Obole with a demo town."""


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("var"), show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The wallet's; the next three are the shops' and mail's.")
def run(folder: Path, host: str, port: int) -> None:
    """Start wallet, scheduler, sandbox bank, two shops and a mailbox, and keep them running."""
    running.serve(folder.resolve(), host=host, port=port)


@main.command()
@click.option("--purchases", default=10_000, show_default=True)
@click.option("--shoppers", default=200, show_default=True)
@click.option("--merchants", default=20, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the books here; otherwise they are thrown away.")
def batch(purchases: int, shoppers: int, merchants: int, folder: Path | None) -> None:
    """Play one business day, from top-ups to the audit, and print what it cost."""
    batch_day.play(purchases=purchases, shoppers=shoppers, merchants=merchants, folder=folder)


if __name__ == "__main__":
    main(prog_name="python -m obole_demo")

"""The town's open shops: which site each has, and how it is started."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from flask import Flask

from obole_demo.jukebox import create_jukebox
from obole_demo.newspaper import create_newspaper
from obole_demo.quiet import server
from obole_demo.shop import Wallet

SITES: Mapping[str, Callable[[Wallet], Flask]] = {"newspaper": create_newspaper, "jukebox": create_jukebox}


@click.command()
@click.argument("kind", type=click.Choice(sorted(SITES)))
@click.option("--keys", type=click.Path(path_type=Path, exists=True), required=True, help="The town's keys.")
@click.option("--wallet", required=True, help="The wallet's origin.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, required=True)
def main(kind: str, keys: Path, wallet: str, host: str, port: int) -> None:
    """Open one shop until stopped; its key and webhook secret are those of the merchant at this port of localhost."""
    server(host, port, SITES[kind](_wallet(keys, wallet, f"http://localhost:{port}"))).serve_forever()


def _wallet(keys: Path, origin: str, shop: str) -> Wallet:
    for merchant in json.loads(keys.read_text(encoding="utf-8"))["merchants"]:
        if merchant["origin"] == shop:
            return Wallet(
                origin=origin, shop=shop, key=merchant["key"], webhook_secret=merchant["webhook_secret"] or ""
            )
    raise SystemExit(f"{keys} knows no merchant at {shop}.")


if __name__ == "__main__":
    main(prog_name="python -m obole_demo.shops")

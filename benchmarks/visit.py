"""``python -m benchmarks.visit``: the first visit to a checkout, in Chromium, beside an empty page.

The browser has nothing in its cache; every visit is a new one. What a visit costs on a telephone is imitated by
Chromium itself (its "slow 4G": 1.6 Mbit/s, 150 ms to and fro). *Interactive* is when the form can be filled in: the
document is parsed and its modules have run (``domContentLoadedEventEnd``).
"""

import datetime as dt
import json
import shutil
import statistics
import uuid
from collections.abc import Iterator
from typing import Any

import click
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks import databases, scenes, servers
from obole_demo.client import Client, Http

_SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
_LIMIT_BYTES, _LIMIT_MS = 150_000, 1_000


@click.command()
@click.option("--visits", type=click.IntRange(1, 100), default=9, show_default=True, help="The median is shown.")
@click.option("--browser", default="chromium", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(visits: int, browser: str, as_json: bool) -> None:
    """Measure the first visit. Status 1 if it is heavier than 150 kB, or slower than a second on a slow 4G."""
    with databases.opened("sqlite") as place:
        scene = scenes.furnish(place, purse_count=1)
        with (
            servers.served(servers.WALLET, scene.settings, ready="/readyz", log=place.folder / "wallet.log") as wallet,
            servers.served(servers.BARE, scene.settings, ready="/", log=place.folder / "bare.log") as bare,
            sync_playwright() as playwright,
        ):
            chrome = playwright.chromium.launch(executable_path=shutil.which(browser), args=["--no-sandbox"])
            shop = Client(Http(servers.HOST, wallet), scene.sellers[0].token)
            checkout = shop.post("/v1/checkouts", _ORDER, key=str(uuid.uuid4()))
            pages = {
                "checkout": f"http://{servers.HOST}:{wallet}/checkout/{checkout['id']}",
                "empty page": f"http://{servers.HOST}:{bare}/",
            }
            found = list(_measure(chrome, pages, visits))
            chrome.close()
        scene.database.dispose()
    _show(found, as_json)
    slow = next(row for row in found if row["page"] == "checkout" and row["network"] == "slow 4G")
    if slow["bytes"] > _LIMIT_BYTES or slow["interactive_ms"] > _LIMIT_MS:
        raise SystemExit(1)


_ORDER = {"amount": "0.20", "currency": "EUR", "order_id": "1", "description": "An article"}


def _measure(chrome: Browser, pages: dict[str, str], visits: int) -> Iterator[dict[str, Any]]:
    for network, conditions in (("loopback", None), ("slow 4G", _SLOW_4G)):
        for page, url in pages.items():
            seen = [_visit(chrome, url, conditions) for _ in range(visits + 1)][1:]
            yield {"page": page, "network": network} | {
                name: round(statistics.median(each[name] for each in seen)) for name in seen[0]
            }


def _visit(chrome: Browser, url: str, conditions: dict[str, Any] | None) -> dict[str, float]:
    context = chrome.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    if conditions is not None:
        devtools.send("Network.emulateNetworkConditions", conditions)
    received: list[float] = []
    devtools.on("Network.loadingFinished", lambda done: received.append(done["encodedDataLength"]))
    page.goto(url, wait_until="networkidle")
    timing = page.evaluate("() => performance.getEntriesByType('navigation')[0].toJSON()")
    context.close()
    return {
        "requests": len(received),
        "bytes": sum(received),
        "interactive_ms": timing["domContentLoadedEventEnd"],
        "loaded_ms": timing["loadEventEnd"],
    }


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"date": dt.datetime.now(dt.UTC).date().isoformat(), "visits": found}))
        return
    table = Table(title="First visit, nothing cached (median)")
    for name in found[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in ("page", "network") else "right")
    for row in found:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else value for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.visit")

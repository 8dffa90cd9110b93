"""How often somebody may ask: counted for all processes, by who they are where it is about paying."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support import ORIGIN, Shop, make_app, make_settings
from tests.web.pages.reader import Reader, shopper_of
from wallet.ground import clock
from wallet.ground.ids import new_id
from wallet.tables.people import rate_counts

LETTERS = 30
PRESSES = 60


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(make_settings(tmp_path, database_url, proxies=1)) as made:
        yield made


def forget(app: Flask, address: str = "192.0.2.1") -> int:
    """Ask for a letter, as somebody with this address; answers the status."""
    client = app.test_client()
    headers = {"X-Forwarded-For": address, "Referer": f"{ORIGIN}/"}
    token = re.search('name="csrf-token" content="([^"]+)"', client.get("/forgot", base_url=ORIGIN).text)
    assert token
    form = {"identifier": "nobody@o.example", "csrf_token": token.group(1)}
    return client.post("/forgot", data=form, base_url=ORIGIN, headers=headers).status_code


def test_a_limit_holds_over_all_processes_and_after_a_restart(shop: Shop) -> None:
    other = make_app(shop.settings)
    answers = [forget(app) for _ in range(LETTERS // 2) for app in (shop.app, other)]
    assert set(answers) == {200}
    assert [forget(app) for app in (shop.app, other, make_app(shop.settings))] == [429] * 3
    other.extensions["obole"].database.dispose()
    with shop.database.write() as conn:
        over = clock.now() - dt.timedelta(seconds=1)
        conn.execute(rate_counts.update().values(ends_at=over))
    assert forget(shop.app) == 200
    # A clock that was ahead once locks nobody out for longer than a window.
    with shop.database.write() as conn:
        conn.execute(rate_counts.update().values(hits=99, ends_at=clock.now() + dt.timedelta(days=9)))
    assert forget(shop.app) == 200


def test_addresses_count_by_the_network_that_somebody_has_whole(shop: Shop) -> None:
    assert {forget(shop.app, f"2001:db8:1:2::{number:x}") for number in range(LETTERS)} == {200}
    assert forget(shop.app, "2001:db8:1:2:ffff::1") == 429
    assert [forget(shop.app, address) for address in ("2001:db8:1:3::1", "192.0.2.1")] == [200, 200]


def test_paying_is_counted_by_who_pays_not_by_where_they_are(shop: Shop) -> None:
    anna, bela = (shopper_of(shop, shop.purse()) for _ in range(2))
    for reader in (anna, bela):
        reader.get("/purse?lang=en")

    def press(reader: Reader) -> int:
        return reader.send(f"/checkout/{new_id()}/pay").status_code

    page = anna.last
    assert {press(anna) for _ in range(PRESSES)} == {404}
    anna.last = page
    answer = anna.send(f"/checkout/{new_id()}/pay")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 61
    assert "Too many requests; try again in" in answer.text
    assert "<h1>" in answer.text
    assert press(bela) == 404


def test_counts_that_cannot_be_written_refuse_nobody_and_are_kept_by_the_process(shop: Shop) -> None:
    with shop.database.write() as conn:
        conn.execute(sa.text("ALTER TABLE rate_counts RENAME TO gone"))
    answers = [forget(shop.app, "198.51.100.200") for _ in range(LETTERS + 1)]
    with shop.database.write() as conn:
        conn.execute(sa.text("ALTER TABLE gone RENAME TO rate_counts"))
    assert answers == [200] * LETTERS + [429]

"""The demo's shops on a wallet that is reached over real HTTP: what is paid is delivered, and nothing else is."""

import io
import re
import socket
import threading
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from obole_demo.articles import ARTICLES
from obole_demo.jukebox import create_jukebox
from obole_demo.newspaper import create_newspaper
from obole_demo.shop import Wallet
from tests.network import HOST, listening, nobody_there, port_of
from tests.paying import pay
from tests.support import MERCHANT_IBAN, Shop, make_settings
from wallet.ground import clock
from wallet.merchants import merchants
from wallet.merchants.merchants import Terms
from wallet.people import api_keys
from wallet.purchases import checkouts
from wallet.tables.people import KeyKind
from wallet.tables.purchases import vouchers
from wallet.tables.telling import webhook_endpoints
from wallet.telling.webhooks import deliver, endpoints, events

BODY = {slug: article.body["fr"][-1] for slug, article in ARTICLES.items()}


@dataclass
class Street:
    """A wallet, a newspaper and a jukebox, each at its own origin, and a reader's browser in the newspaper."""

    shop: Shop
    newspaper: Flask
    reader: FlaskClient
    jukebox: Flask
    passer_by: FlaskClient
    jukebox_wallet: Wallet

    @property
    def back_to_jukebox(self) -> dict[str, str]:
        """What a checkout of the jukebox says besides."""
        url = f"{self.jukebox_wallet.shop}/fr/"
        return {"mode": "on_delivery", "success_url": url, "cancel_url": url, "locale": "fr"}

    def pay(self, page: str) -> str:
        """Pay on the wallet's page; answers path and query of where the shopper comes back to."""
        checkout_id = UUID(page.rpartition("/")[2])
        back = urlsplit(pay(self.shop.database, self.shop.obole.issuer, checkout_id))
        return f"{back.path}?{back.query}"

    def states(self) -> list[str]:
        """Of every voucher there is, oldest first."""
        with self.shop.database.read() as conn:
            return [row.state for row in conn.execute(vouchers.select().order_by(vouchers.c.issued_at))]

    def deliver_webhooks(self) -> int:
        """As the scheduler does."""
        return deliver.deliver(self.shop.database, self.shop.obole.keyring, now=clock.now, allow_loopback=True)


@contextmanager
def serving(app: Flask, listener: socket.socket) -> Iterator[None]:
    server = make_server(HOST, 0, app, threaded=True, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def merchant(shop: Shop, port: int, *, hears: bool) -> Wallet:
    """A merchant whose shop is at this port, as it knows the wallet."""
    origin = f"http://localhost:{port}"
    with shop.database.write() as conn:
        merchant_id = merchants.register(
            conn,
            legal_name="Shop",
            iban=MERCHANT_IBAN,
            origin=origin,
            currency="EUR",
            email="till@shop.example",
            terms=Terms(),
            at=clock.now(),
        )
        _, key = api_keys.issue(conn, KeyKind.MERCHANT, owner_id=merchant_id, label="first", at=clock.now())
        secret = ""
        if hears:
            url = f"{origin}/webhook"
            row = endpoints.register(conn, merchant_id, url, clock.now(), allow_loopback=True)
            secret = endpoints.secret(shop.obole.keyring, row)
    return Wallet(origin=shop.settings.origin, shop=origin, key=key, webhook_secret=secret)


@pytest.fixture
def street(tmp_path: Path, sqlite_database: str) -> Iterator[Street]:
    with ExitStack() as servers:
        ours, papers, jukeboxes = (servers.enter_context(listening()) for _ in range(3))
        settings = make_settings(tmp_path, sqlite_database, origin=f"http://localhost:{port_of(ours)}")
        shop = servers.enter_context(Shop(settings))
        newspaper = create_newspaper(merchant(shop, port_of(papers), hears=False))
        jukebox_wallet = merchant(shop, port_of(jukeboxes), hears=True)
        jukebox = create_jukebox(jukebox_wallet)
        servers.enter_context(serving(shop.app, ours))
        servers.enter_context(serving(jukebox, jukeboxes))
        yield Street(shop, newspaper, newspaper.test_client(), jukebox, jukebox.test_client(), jukebox_wallet)


def test_an_article_is_paid_delivered_and_stays_the_readers(street: Street) -> None:
    reader = street.reader
    assert BODY["fontaine"] not in reader.get("/fr/articles/fontaine").text
    page = reader.post("/fr/articles/fontaine").location
    assert page.startswith(f"{street.shop.settings.origin}/checkout/")
    back = street.pay(page)
    assert street.states() == ["held"], "the newspaper redeems as it delivers"
    article = reader.get(back, follow_redirects=True)
    assert BODY["fontaine"] in article.text
    assert "voucher" not in article.request.full_path, "a voucher stays in no address that is shared"
    assert street.states() == ["redeemed"]
    assert BODY["fontaine"] in reader.get(back, follow_redirects=True).text, "reloading is harmless"
    assert BODY["fontaine"] in reader.get("/fr/articles/fontaine").text
    assert ARTICLES["fontaine"].body["en"][-1] in reader.get("/en/articles/fontaine").text
    assert BODY["meteo"] not in reader.get("/fr/articles/meteo").text


def test_the_newspaper_believes_no_voucher_but_its_own_for_this_order(street: Street) -> None:
    reader, somebody = street.reader, street.newspaper.test_client()
    back = street.pay(reader.post("/fr/articles/fontaine").location)
    song = street.pay(street.passer_by.post("/fr/songs/ode").location)
    voucher, of_the_jukebox = (each.rpartition("voucher=")[2] for each in (back, song))
    with reader.session_transaction() as session:
        order_id = session["orders"][-1]
    elsewhere = street.jukebox_wallet.checkout(order_id, "0.20", "Same order, other shop", **street.back_to_jukebox)
    of_another_shop = street.pay(elsewhere).rpartition("voucher=")[2]
    reader.post("/fr/articles/meteo")
    header, payload, signature = voucher.split(".")
    for path in (
        f"/fr/articles/meteo/paid?voucher={voucher}",
        f"/fr/articles/fontaine/paid?voucher={of_the_jukebox}",
        f"/fr/articles/fontaine/paid?voucher={of_another_shop}",
        f"/fr/articles/fontaine/paid?voucher={header}.{payload}.{signature[::-1]}",
        "/fr/articles/fontaine/paid?voucher=nonsense",
        "/fr/articles/fontaine/paid",
    ):
        assert reader.get(path).status_code == 400, path
    assert somebody.get(back).status_code == 400, "a link is no subscription"
    assert street.states()[0] == "held"
    assert BODY["fontaine"] in reader.get(back, follow_redirects=True).text


def test_a_voucher_that_is_shown_twice_delivers_once(street: Street) -> None:
    reader, copy = street.reader, street.newspaper.test_client()
    back = street.pay(reader.post("/fr/articles/fontaine").location)
    # Somebody with the reader's cookie of then: a shop that keeps no list of its own knows it by the wallet alone.
    cookie = reader.get_cookie("courrier_session")
    assert cookie is not None
    copy.set_cookie("courrier_session", cookie.value)
    assert BODY["fontaine"] in reader.get(back, follow_redirects=True).text
    for _ in range(2):
        again = copy.get(back, follow_redirects=True)
        assert (again.status_code, "Ce bon a déjà servi" in again.text) == (409, True)
        assert BODY["fontaine"] not in copy.get("/fr/articles/fontaine").text
    assert street.states() == ["redeemed"]


def test_a_voucher_that_was_undone_buys_nothing(street: Street) -> None:
    back = street.pay(street.reader.post("/fr/articles/fontaine").location)
    with street.shop.database.write() as conn:
        conn.execute(vouchers.update().values(state="released", ended_at=clock.now()))
    answer = street.reader.get(back)
    assert answer.status_code == 409
    assert "voucher_released" in answer.text
    assert BODY["fontaine"] not in street.reader.get("/fr/articles/fontaine").text


def test_a_reader_who_cancels_is_told_that_nothing_was_debited(street: Street) -> None:
    page = street.reader.post("/en/articles/fontaine").location
    with street.shop.database.write() as conn:
        row = checkouts.cancel(conn, UUID(page.rpartition("/")[2]), at=clock.now())
    back = checkouts.return_url(row, token=None)
    assert back is not None
    assert "Nothing was debited" in street.reader.get(urlsplit(back).path + "?" + urlsplit(back).query).text


def test_while_the_wallet_is_away_nothing_is_sold(street: Street) -> None:
    with nobody_there() as port:
        nowhere = Wallet(origin=f"http://localhost:{port}", shop="http://localhost:1", key="k")
        answer = create_newspaper(nowhere).test_client().post("/fr/articles/fontaine")
    assert answer.status_code == 503
    assert "Rien n’a été débité" in answer.text


def test_a_song_plays_when_the_wallet_says_so_and_once(street: Street) -> None:
    visitor = street.passer_by
    back = street.pay(visitor.post("/fr/songs/ode").location)
    assert visitor.get(back, follow_redirects=True).status_code == 200
    assert visitor.get("/now.json").json == {"playing": None, "following": []}, "the browser's word is nobody's"
    assert street.deliver_webhooks() == 1
    playing = {"playing": {"song": "ode", "title": "An die Freude"}, "following": []}
    assert visitor.get("/now.json").json == playing
    with street.shop.database.write() as conn:
        (endpoint,) = conn.execute(webhook_endpoints.select()).all()
        (event, *_) = events.history(conn, endpoint.merchant_id, None, 1)
        events.replay(conn, endpoint.merchant_id, event.id, clock.now())
    assert street.deliver_webhooks() == 1
    assert visitor.get("/now.json").json == playing
    street.pay(visitor.post("/fr/songs/greensleeves").location)
    street.deliver_webhooks()
    assert visitor.get("/now.json").json == {**playing, "following": ["Greensleeves"]}
    now = str(int(clock.now().timestamp()))
    forged = {"webhook-id": str(event.id), "webhook-timestamp": now, "webhook-signature": "v1,AAAA"}
    assert visitor.post("/webhook", data=event.payload, headers=forged).status_code == 401
    assert visitor.post("/webhook", data=event.payload).status_code == 401


def test_every_song_is_a_sound(street: Street) -> None:
    songs = re.findall(r'action="/fr/songs/([a-z-]+)"', street.passer_by.get("/fr/").text)
    assert len(songs) == 6
    for song in songs:
        with wave.open(io.BytesIO(street.passer_by.get(f"/songs/{song}.wav").data)) as sound:
            assert 5 < sound.getnframes() / sound.getframerate() < 30


@pytest.mark.parametrize("path", ["/fr/", "/en/", "/en/articles/centimes"])
def test_pages_run_nothing_inline_and_say_their_language(street: Street, path: str) -> None:
    for client in (street.reader, street.passer_by):
        answer = client.get(path)
        if answer.status_code == 404:
            continue  # the jukebox has no articles
        assert f'lang="{path[1:3]}"' in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert street.shop.settings.origin in policy, "the form that begins a checkout ends there"
        assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)", answer.text)

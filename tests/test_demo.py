"""The demo: one business day through the public interface, in little, ends with every cent where it belongs."""

import asyncio
import os
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from flask import Flask

from obole_demo import setup
from obole_demo.__main__ import main
from obole_demo.mailbox import Box, create_mailbox
from obole_demo.quiet import server
from tests.network import HOST, MailServer
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.smtp import smtp_account
from wallet.telling import mail


@pytest.mark.slow
def test_a_small_day_reconciles_and_says_what_it_saved(tmp_path: Path) -> None:
    small = ["batch", "--purchases", "60", "--shoppers", "5", "--merchants", "3", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, small)
    assert done.exit_code == 0, (done.output, done.exception)
    for said in ("60", "3 (booked: 3)", "22.80 EUR", "1.14 EUR", "0.01900 EUR", "(missing: 0.00)", "every check holds"):
        assert said in done.output


@pytest.mark.slow
def test_whatever_the_umask_nobody_else_may_open_what_a_day_leaves(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "var"
        small = ["batch", "--purchases", "5", "--shoppers", "2", "--merchants", "2", "--folder", str(folder)]
        done = CliRunner().invoke(main, small)
        assert done.exit_code == 0, (done.output, done.exception)
    finally:
        os.umask(before)
    everything = [folder, *folder.rglob("*")]
    assert {"obole.sqlite3", "wallet.keys", "bank.sqlite3", "settings.env"} <= {path.name for path in everything}
    assert any(path.parent.name == "imported" for path in everything)
    open_to_others = [str(path) for path in everything if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_what_an_older_demo_left_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    setup.prepare(folder, origin="http://localhost:8000")
    (folder / "logs").mkdir()
    (folder / "logs" / "server.log").touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    setup.prepare(folder, origin="http://localhost:8000")
    assert [str(path) for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077] == []


def test_a_letter_in_the_mailbox_is_the_accounts_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        box = Box(tmp_path / "mail")
        asyncio.run(box.handle_DATA(None, None, SimpleNamespace(content=b"Subject: a link\n\nhttp://localhost/link/x")))
    finally:
        os.umask(before)
    assert [letter.subject for letter in box.letters()] == ["a link"]
    assert [path.stat().st_mode & 0o077 for path in (box.folder, *box.folder.iterdir())] == [0, 0]


def test_a_shop_writes_down_no_address_with_its_voucher(capfd: pytest.CaptureFixture[str]) -> None:
    shop = Flask("shop")
    shop.add_url_rule("/", view_func=lambda: "thanks")
    running = server(HOST, 0, shop)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://{HOST}:{running.port}/?voucher=eyJhbGciOi") as answer:
            assert answer.read() == b"thanks"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()
    assert "voucher" not in "".join(capfd.readouterr())


def test_secrets_are_generated_once_and_are_the_owners_alone(tmp_path: Path) -> None:
    first = setup.prepare(tmp_path / "var", origin="http://localhost:8000")
    assert setup.prepare(tmp_path / "var", origin="http://localhost:8000") == first
    for name in (setup.SETTINGS_FILE, "wallet.keys"):
        assert (tmp_path / "var" / name).stat().st_mode & 0o077 == 0
    other = setup.prepare(tmp_path / "other", origin="http://localhost:8000")
    for secret in ("OBOLE_SECRET_KEY", "OBOLE_KEY_PASSPHRASE"):
        assert other[secret] != first[secret]


def test_the_mailbox_takes_what_the_wallet_sends_and_its_links_can_be_clicked(
    tmp_path: Path, sqlite_database: str
) -> None:
    box = Box(tmp_path / "mail")
    office = MailServer(box)
    office.start()
    database = Database(sqlite_database)
    try:
        with database.write() as conn:
            for subject in ("Votre porte-monnaie est prêt", "<b>Hello</b>"):
                text = "Bonjour Zoé :\n\nhttp://localhost:8000/link/abc\n"
                mail.put(conn, recipient="zoe@shoppers.example", subject=subject, body=text, at=clock.now())
        post = smtp_account(f"smtp://{HOST}:{office.port}", "purse@obole.example")
        assert mail.deliver(database, post, now=clock.now) == 2
    finally:
        office.stop()
        database.dispose()
    pages = create_mailbox(box).test_client()
    listed = pages.get("/").text
    assert "Votre porte-monnaie est prêt" in listed
    assert "&lt;b&gt;Hello&lt;/b&gt;" in listed
    letter = pages.get(f"/letters/{box.letters()[0].name}").text
    assert "Bonjour Zoé" in letter
    assert '<a href="http://localhost:8000/link/abc">' in letter
    assert pages.get("/letters/..%2Fsettings").status_code == 404

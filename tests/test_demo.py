"""The demo: one business day through the public interface, in little, ends with every cent where it belongs."""

from pathlib import Path

from click.testing import CliRunner

from obole_demo import setup
from obole_demo.__main__ import main
from obole_demo.mailbox import Box, create_mailbox
from tests.network import HOST, MailServer
from wallet import clock, mail
from wallet.db import Database
from wallet.mail import smtp_account


def test_a_small_day_reconciles_and_says_what_it_saved(tmp_path: Path) -> None:
    small = ["batch", "--purchases", "60", "--shoppers", "5", "--merchants", "3", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, small)
    assert done.exit_code == 0, (done.output, done.exception)
    for said in ("60", "3 (booked: 3)", "22.80 EUR", "1.14 EUR", "0.01900 EUR", "(missing: 0.00)", "every check holds"):
        assert said in done.output


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
        assert mail.deliver(database, post, at=clock.now()) == 2
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

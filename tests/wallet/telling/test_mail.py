"""Mail, handed to a real SMTP server: what arrives, what is tried again, and what is never sent twice."""

import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from tests.network import HOST, MailServer, nobody_there
from tests.wallet.scene import HOUR, NOON
from wallet.ground.clock import Clock
from wallet.ground.db import Database
from wallet.ground.smtp import Security, SmtpAccount, smtp_account
from wallet.tables.telling import mails
from wallet.telling import mail
from wallet.telling.outbox import Outbox

MINUTE = dt.timedelta(minutes=1)


class Office:
    """An SMTP server that keeps what it takes; ``answers`` is what it says to a recipient other than 250."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: dict[str, str] = {}
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        letter = message_from_bytes(envelope.content, policy=default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.recipients += envelope.rcpt_tos
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=True)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def post(office: Office) -> Iterator[SmtpAccount]:
    controller = MailServer(office, authenticator=office.authenticate, auth_require_tls=False, auth_required=False)
    controller.start()
    yield smtp_account(f"smtp://obole:p%3A%40ss@{HOST}:{controller.port}", "purse@wallet.example")
    controller.stop()


def put(db: Database, recipient: str = "ada@shoppers.example", subject: str = "Bonjour", body: str = "Hello\n") -> None:
    with db.write() as conn:
        mail.put(conn, recipient=recipient, subject=subject, body=body, at=NOON)


def always(at: dt.datetime) -> Clock:
    return lambda: at


def rows(db: Database) -> list[Any]:
    with db.read() as conn:
        return list(conn.execute(mails.select().order_by(mails.c.id)))


def test_a_letter_arrives_as_it_was_written_and_its_text_is_then_forgotten(
    db: Database, office: Office, post: SmtpAccount
) -> None:
    put(db, subject="Votre porte-monnaie est prêt", body="Bonjour Zoé,\n\nhttps://wallet.example/activate/abc\n")
    assert mail.deliver(db, post, now=always(NOON)) == 1
    (letter,), (row,) = office.letters, rows(db)
    assert letter["To"] == "ada@shoppers.example"
    assert office.recipients == ["ada@shoppers.example"]
    assert letter["From"] == "purse@wallet.example"
    assert letter["Subject"] == "Votre porte-monnaie est prêt"
    assert letter["Message-ID"] == f"<{row.id}@wallet.example>"
    assert letter["Date"].datetime == NOON.replace(microsecond=0)
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content_type() == "text/plain"
    assert letter.get_content().replace("\r\n", "\n") == "Bonjour Zoé,\n\nhttps://wallet.example/activate/abc\n"
    assert office.logins == [(b"obole", b"p:@ss")]
    assert (row.state, row.body, row.failure) == ("delivered", "", None)
    assert mail.deliver(db, post, now=always(NOON + HOUR)) == 0


def test_nothing_is_sent_for_what_was_rolled_back(db: Database, office: Office, post: SmtpAccount) -> None:
    with db.write() as conn:
        mail.put(conn, recipient="ada@shoppers.example", subject="Bonjour", body="", at=NOON)
        conn.rollback()
    assert mail.deliver(db, post, now=always(NOON)) == 0


def test_while_no_server_answers_a_letter_is_tried_eight_times_ever_less_often(db: Database) -> None:
    put(db)
    at, waits = NOON, []
    with nobody_there() as port:
        nowhere = smtp_account(f"smtp://{HOST}:{port}", "purse@wallet.example")
        while (row := rows(db)[0]).state == "pending":
            assert mail.deliver(db, nowhere, now=always(row.next_at - dt.timedelta(seconds=1))) == 0
            waits.append((row.next_at - at) // MINUTE)
            at = row.next_at
            assert rows(db)[0].attempts == row.attempts, "it was tried before it was due"
            assert mail.deliver(db, nowhere, now=always(at)) == 0
    assert waits == [0, 1, 5, 15, 60, 180, 360, 720]
    assert (row.state, row.attempts, row.body) == ("failed", 8, "")
    assert "ConnectionRefused" in row.failure


def test_a_letter_nobody_takes_does_not_keep_back_the_others(db: Database, office: Office, post: SmtpAccount) -> None:
    office.answers = {"gone@shoppers.example": "550 5.1.1 No such box", "full@shoppers.example": "452 4.2.2 Full"}
    for name in ("gone", "full", "ada"):
        put(db, f"{name}@shoppers.example")
    assert mail.deliver(db, post, now=always(NOON)) == 1
    gone, full, ada = rows(db)
    assert (gone.state, gone.failure) == ("failed", "550 5.1.1 No such box")
    assert (full.state, full.failure, full.next_at) == ("pending", "452 4.2.2 Full", NOON + MINUTE)
    assert ada.state == "delivered"
    office.answers = {}
    assert mail.deliver(db, post, now=always(NOON + MINUTE)) == 1
    assert office.recipients == ["ada@shoppers.example", "full@shoppers.example"]
    assert rows(db)[1].failure is None


def test_a_slow_server_makes_no_letter_older_than_it_is(db: Database, office: Office, post: SmtpAccount) -> None:
    for number in range(3):
        put(db, f"shopper{number}@shoppers.example")
    # The clock strikes whenever somebody looks at it: each letter takes that long to hand in.
    instants = (NOON + number * MINUTE for number in range(99))
    assert mail.deliver(db, post, now=lambda: next(instants)) == 3
    dates = [letter["Date"].datetime for letter in office.letters]
    assert len(set(dates)) == 3
    assert dates == sorted(dates)


def test_two_schedulers_send_each_letter_once(
    db: Database, database_url: str, office: Office, post: SmtpAccount
) -> None:
    for number in range(6):
        put(db, f"shopper{number}@shoppers.example")
    other, both = Database(database_url), threading.Barrier(2)

    def deliver(database: Database) -> int:
        both.wait(30)
        return mail.deliver(database, post, now=always(NOON))

    with ThreadPoolExecutor(2) as schedulers:
        assert sum(schedulers.map(deliver, [db, other])) == 6
    other.dispose()
    assert sorted(office.recipients) == [f"shopper{number}@shoppers.example" for number in range(6)]


def test_a_scheduler_killed_while_sending_leaves_the_letter_to_the_next(
    db: Database, office: Office, post: SmtpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(db)
    with monkeypatch.context() as killed:
        killed.setattr(Outbox, "_note", _die)
        with pytest.raises(KeyboardInterrupt):
            mail.deliver(db, post, now=always(NOON))
    assert mail.deliver(db, post, now=always(NOON + MINUTE)) == 0, "its claim still holds"
    assert mail.deliver(db, post, now=always(NOON + HOUR)) == 1
    first, second = office.letters
    assert first["Message-ID"] == second["Message-ID"]


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_where_encryption_is_wanted_nothing_goes_out_without_it(
    db: Database, office: Office, post: SmtpAccount
) -> None:
    assert smtp_account("smtp://mail.example", "a@b.example").security is Security.STARTTLS
    put(db)
    wanted = SmtpAccount(host=post.host, port=post.port, security=Security.STARTTLS, sender=post.sender)
    assert mail.deliver(db, wanted, now=always(NOON)) == 0
    assert not office.letters
    assert not office.logins
    assert "STARTTLS" in rows(db)[0].failure


@pytest.mark.parametrize(
    "recipient",
    ["ada", "a@b@c.example", "a@b.example\nBcc: x@y.example", "Ada <a@b.example>", "a@b.example,c@d.example"],
)
def test_a_recipient_is_one_address(db: Database, recipient: str) -> None:
    with pytest.raises(ValueError, match="one mail address"):
        put(db, recipient)


def test_a_subject_begins_no_other_header(db: Database, office: Office, post: SmtpAccount) -> None:
    put(db, subject="Hello\r\nBcc: x@y.example\u2028\x85\x00" + "é" * 300)
    assert mail.deliver(db, post, now=always(NOON)) == 1
    (letter,) = office.letters
    assert letter["Subject"].startswith("Hello  Bcc: x@y.example   é")
    assert letter["Bcc"] is None
    assert office.recipients == ["ada@shoppers.example"]

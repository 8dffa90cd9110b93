"""Mail: letters written in the transaction that did the deed, sent by the scheduler afterwards, by way of the outbox.

Invariant: a letter that is repeated has the same Message-ID, by which mail programs tell that they have it. Once it is
done with, its text is forgotten: it may hold a link that signs somebody in.
"""

import datetime as dt
import re
import smtplib
import ssl
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from wallet.ground.clock import Clock
from wallet.ground.db import Database
from wallet.ground.ids import new_id
from wallet.ground.smtp import Security, SmtpAccount, is_address
from wallet.tables.telling import DeliveryState, mails
from wallet.telling import outbox
from wallet.telling.outbox import Outbox, Tried

_OUTBOX = Outbox(
    table=mails,
    waits=tuple(dt.timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720)),
    claim=dt.timedelta(minutes=15),
    forgotten={"body": ""},
)
_BATCH = 20
_SECONDS = 20
_LONGEST_SUBJECT = 200
_LONGEST_FAILURE = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A link, or what may be a token of one.
_QUOTED = re.compile(r"\S*/\S*|[A-Za-z0-9_=-]{25,}", re.ASCII)


def put(conn: Connection, *, recipient: str, subject: str, body: str, at: dt.datetime) -> None:
    """Queue a plain-text letter in this transaction.

    The subject becomes one line (nothing in it begins another header) that fits its column. Raises ValueError for
    a recipient that is not one address.
    """
    if not is_address(recipient):
        raise ValueError("a recipient is one mail address")
    conn.execute(
        mails.insert().values(
            id=new_id(),
            recipient=recipient,
            subject=_CONTROL.sub(" ", subject)[:_LONGEST_SUBJECT],
            body=body,
            created_at=at,
            **outbox.waiting(at),
        )
    )


def deliver(database: Database, post: SmtpAccount, *, now: Clock) -> int:
    """Send what is due, one batch over one connection; answers how many letters were sent.

    A server that cannot be reached counts as a try of one letter; the others wait for the next call.
    """
    due = select(mails.c.id, mails.c.attempts).where(_OUTBOX.due(now())).order_by(mails.c.next_at).limit(_BATCH)
    with database.read() as conn:
        line = [(row.id, row.attempts) for row in conn.execute(due)]
    server: smtplib.SMTP | None = None

    def attempt(letter: Row[tuple[object, ...]], at: dt.datetime) -> Tried:
        nonlocal server
        try:
            server = server or _connect(post)
            server.send_message(_message(letter, post.sender, at))
        except (OSError, ValueError) as error:
            return Tried(
                state=DeliveryState.FAILED if _is_final(error) else DeliveryState.PENDING,
                goes_on=server is not None and not _is_disconnected(error),
                values={"failure": _reason(error)},
            )
        return Tried(state=DeliveryState.DELIVERED, goes_on=True, values={"failure": None})

    try:
        return _OUTBOX.send(database, line, attempt, now=now)
    finally:
        if server is not None:
            server.close()


# --- private -----------------------------------------------------------------------------------------------


def _connect(post: SmtpAccount) -> smtplib.SMTP:
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if post.security is Security.TLS:
        server = smtplib.SMTP_SSL(post.host, post.port, timeout=_SECONDS, context=context)
    else:
        server = smtplib.SMTP(post.host, post.port, timeout=_SECONDS)
    try:
        if post.security is Security.STARTTLS:
            server.starttls(context=context)  # raises where the server does not offer it
        if post.user is not None:
            server.login(post.user, post.password or "")
    except BaseException:
        server.close()
        raise
    return server


def _message(letter: Row[tuple[object, ...]], sender: str, at: dt.datetime) -> EmailMessage:
    message = EmailMessage(policy.SMTP)
    message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>"
    message["Date"] = format_datetime(at)
    message["From"] = sender
    message["To"] = letter.recipient
    message["Subject"] = letter.subject
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday greeting comes back
    message.set_content(letter.body)
    return message


def _is_disconnected(error: Exception) -> bool:
    lost = isinstance(error, smtplib.SMTPServerDisconnected)
    return lost or not isinstance(error, smtplib.SMTPException | ValueError)


def _is_final(error: Exception) -> bool:
    """Whether no try can help: a letter that cannot be written as mail, or a 5xx (RFC 5321 section 4.2.1)."""
    if isinstance(error, ValueError):
        return True
    if not isinstance(error, smtplib.SMTPRecipientsRefused):
        return False
    return all(500 <= code < 600 for code, _ in error.recipients.values())


def _reason(error: Exception) -> str:
    """One line for the operator. What servers answer may quote the recipient, never our password or a letter's link."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        text = "; ".join(f"{code} {_text(said)}" for code, said in error.recipients.values())
    elif isinstance(error, smtplib.SMTPResponseException):
        text = f"{error.smtp_code} {_text(error.smtp_error)}"
    else:
        text = f"{type(error).__name__}: {error}"
    return _QUOTED.sub("…", _CONTROL.sub(" ", text))[:_LONGEST_FAILURE]


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said

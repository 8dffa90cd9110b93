"""Letters: what mail says, in the reader's language. Each is written beside the room that sends it.

Invariant: a letter never holds a voucher, a key or bank data; the only secret in one is the link it is about.
"""

import datetime as dt
import functools
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from wallet.ground import languages
from wallet.telling import mail

# How many things of one kind (rows of a failed check, keys that still pay) a letter names.
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter, ready to be put in the mail."""

    recipient: str
    subject: str
    body: str

    def put(self, conn: Connection, *, at: dt.datetime) -> None:
        """Queue it in this transaction."""
        mail.put(conn, recipient=self.recipient, subject=self.subject, body=self.body, at=at)


def speaker(locale: str) -> "functools.partial[str]":
    """Says a message, its ``%(name)s`` filled in, in this language."""
    return functools.partial(languages.translate, locale)

"""Letters: what all of them share."""

import pytest

from tests.wallet.scene import NOON
from wallet.ground.db import Database
from wallet.tables.telling import mails
from wallet.telling.letters import Letter, speaker


@pytest.mark.parametrize(("locale", "said"), [("en", "Not paid: 1, order 2"), ("fr", "Non payé\u00a0: 1, commande 2")])
def test_a_speaker_says_everything_in_one_language(locale: str, said: str) -> None:
    assert speaker(locale)("Not paid: %(amount)s, order %(order)s", amount=1, order=2) == said


def test_a_letter_is_in_the_mail_once_its_transaction_is_committed(db: Database) -> None:
    letter = Letter(recipient="ada@shoppers.example", subject="Bonjour", body="Hello")
    for ends in ("rollback", "commit"):
        with db.write() as conn:
            letter.put(conn, at=NOON)
            getattr(conn, ends)()
    with db.read() as conn:
        (row,) = conn.execute(mails.select()).all()
    assert (row.recipient, row.subject, row.body, row.next_at) == ("ada@shoppers.example", "Bonjour", "Hello", NOON)

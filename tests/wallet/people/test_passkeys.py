"""Passkeys: an answer holds once, for what it was asked for, by whom it was asked."""

import base64
import datetime as dt
import hashlib
from typing import Any
from uuid import UUID

import pytest

from tests.wallet.authenticator import Authenticator
from tests.wallet.people.test_identities import NOON, add
from wallet.ground.db import Database
from wallet.ground.errors import PasskeyNotFound, PasskeyRefused
from wallet.ground.ids import new_id
from wallet.people import identities, passkeys

ORIGIN = "https://wallet.example"
FACTS = b'{"amount":"0.20"}'


@pytest.fixture
def ada(db: Database) -> UUID:
    return add(db)


@pytest.fixture
def key(db: Database, ada: UUID) -> Authenticator:
    """A passkey of Ada's that the wallet knows."""
    made = Authenticator(ORIGIN)
    with db.write() as conn:
        identity = identities.find(conn, ada)
        options = passkeys.registration_options(conn, identity, origin=ORIGIN, wallet_name="Obole", at=NOON)
        passkeys.register(conn, ada, made.register(options), origin=ORIGIN, label="phone", at=NOON)
    return made


def ask(db: Database, purpose: str, facts: bytes, **who: Any) -> dict[str, Any]:
    with db.write() as conn:
        return passkeys.authentication_options(
            conn, purpose, facts, identity_id=who.get("identity_id"), origin=ORIGIN, at=NOON
        )


def answer(
    db: Database, said: object, purpose: str, facts: bytes, at: dt.datetime = NOON, **who: Any
) -> passkeys.Proof:
    with db.write() as conn:
        return passkeys.authenticate(conn, said, purpose, facts, origin=ORIGIN, at=at, **who)


def test_a_passkey_says_whose_it_is_once(db: Database, ada: UUID, key: Authenticator) -> None:
    said = key.sign(ask(db, "sign-in", b""))
    assert answer(db, said, "sign-in", b"").identity_id == ada
    with pytest.raises(PasskeyRefused):
        answer(db, said, "sign-in", b"")


def test_what_it_signs_is_kept_as_evidence_over_the_facts(db: Database, ada: UUID, key: Authenticator) -> None:
    options = ask(db, "checkout:1", FACTS, identity_id=ada)
    proof = answer(db, key.sign(options), "checkout:1", FACTS, identity_id=ada)
    assert options["challenge"].encode() in proof.client_data
    assert len(proof.signature) > 60
    assert proof.challenge[16:] == hashlib.sha256(proof.challenge[:16] + FACTS).digest()


@pytest.mark.parametrize("purpose", ["checkout:1", "checkout:2", "prove"])
def test_an_answer_to_one_question_answers_no_other(db: Database, ada: UUID, key: Authenticator, purpose: str) -> None:
    said = key.sign(ask(db, "sign-in", b"", identity_id=ada))
    with pytest.raises(PasskeyRefused):
        answer(db, said, purpose, b"", identity_id=ada)


def test_other_facts_another_person_a_late_answer_and_another_origin_are_refused(
    db: Database, ada: UUID, key: Authenticator
) -> None:
    def asked() -> dict[str, Any]:
        return ask(db, "checkout:1", FACTS, identity_id=ada)

    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(asked()), "checkout:1", FACTS + b" ", identity_id=ada)
    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(asked()), "checkout:1", FACTS, identity_id=new_id())
    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(asked()), "checkout:1", FACTS, NOON + dt.timedelta(minutes=5), identity_id=ada)
    key.origin = "https://wallet.evil"
    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(asked()), "checkout:1", FACTS, identity_id=ada)


def test_a_key_that_did_not_verify_its_user_and_one_that_nobody_knows_are_refused(
    db: Database, ada: UUID, key: Authenticator
) -> None:
    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(ask(db, "sign-in", b""), flags=0x01), "sign-in", b"")
    with pytest.raises(PasskeyRefused):
        answer(db, Authenticator(ORIGIN).sign(ask(db, "sign-in", b"")), "sign-in", b"")


DEEP = base64.urlsafe_b64encode(b"[" * 99_999).decode()


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"response": {}},
        {"response": {"clientDataJSON": "!"}},
        {"response": {"clientDataJSON": DEEP}},
        "x",
    ],
)
def test_what_is_no_answer_at_all_is_refused(db: Database, ada: UUID, said: object) -> None:
    with pytest.raises(PasskeyRefused):
        answer(db, said, "sign-in", b"")
    with pytest.raises(PasskeyRefused), db.write() as conn:
        passkeys.register(conn, ada, said, origin=ORIGIN, label="x", at=NOON)


def test_a_passkey_that_is_kept_already_is_not_kept_again(db: Database, ada: UUID, key: Authenticator) -> None:
    with db.write() as conn:
        identity = identities.find(conn, ada)
        options = passkeys.registration_options(conn, identity, origin=ORIGIN, wallet_name="Obole", at=NOON)
        with pytest.raises(PasskeyRefused):
            passkeys.register(conn, ada, key.register(options), origin=ORIGIN, label="again", at=NOON)


def test_a_revoked_passkey_opens_nothing_and_only_its_owner_revokes_it(
    db: Database, ada: UUID, key: Authenticator
) -> None:
    with db.write() as conn:
        (row,) = passkeys.listing(conn, ada)
        with pytest.raises(PasskeyNotFound):
            passkeys.revoke(conn, row.id, identity_id=new_id(), at=NOON)
        passkeys.revoke(conn, row.id, identity_id=ada, at=NOON)
        assert passkeys.listing(conn, ada) == []
    with pytest.raises(PasskeyRefused):
        answer(db, key.sign(ask(db, "sign-in", b"")), "sign-in", b"")

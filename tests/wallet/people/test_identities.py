"""Who signs in: activated by their own mail only, and guessed at a few times only."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import nacl.pwhash
import pytest
from sqlalchemy.engine import Connection

from tests.support import cheap_keyring, hashed
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.errors import (
    AlreadyExists,
    IdentityNotFound,
    LinkInvalid,
    OboleError,
    SignInLocked,
    SignInRefused,
    Unavailable,
)
from wallet.ground.ids import new_id
from wallet.people import browsers, identities, pins, sessions, tries
from wallet.tables.people import IdentityKind, LinkPurpose
from wallet.tables.people import identities as identity_rows

SHOPPERS = (IdentityKind.SHOPPER, IdentityKind.MEMBER)
PIN, ADDRESS = "274951", "ada@shoppers.example"
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
HERE = tries.of_session(new_id())


def add(db: Database, *, active: bool = True, kind: IdentityKind = IdentityKind.SHOPPER):
    with db.write() as conn:
        identity = identities.add(conn, kind, identifier=ADDRESS, name="Ada", locale="fr", at=NOON)
        if active:
            secret = PIN if kind is IdentityKind.SHOPPER else "a passphrase of many letters"
            identities.set_secret(conn, identity, hashed(secret), at=NOON)
    return identity


def add_other(conn: Connection) -> UUID:
    return identities.add(conn, IdentityKind.SHOPPER, identifier="b@o.example", name="B", locale="fr", at=NOON)


def try_pin(
    db: Database, secret: str, at: dt.datetime = NOON, *, browser: str | None = None
) -> type[OboleError] | None:
    try:
        identities.sign_in(db, cheap_keyring(), SHOPPERS, ADDRESS, secret, browser=browser, at=at)
    except OboleError as refusal:
        return type(refusal)
    return None


def test_the_right_pin_signs_in_whatever_the_case_of_the_address(db: Database) -> None:
    identity = add(db)
    assert identities.sign_in(db, cheap_keyring(), SHOPPERS, " ADA@Shoppers.example ", PIN, at=NOON).id == identity


def test_nobody_signs_in_before_they_are_activated_after_they_ended_or_elsewhere(db: Database) -> None:
    assert try_pin(db, PIN) is SignInRefused  # nobody there
    identity = add(db, active=False)
    assert try_pin(db, PIN) is SignInRefused
    with db.write() as conn:
        identities.set_secret(conn, identity, hashed(PIN), at=NOON)
    with pytest.raises(SignInRefused):
        identities.sign_in(db, cheap_keyring(), (IdentityKind.OPERATOR,), ADDRESS, PIN, at=NOON)
    assert try_pin(db, PIN) is None
    with db.write() as conn:
        identities.end(conn, identity, at=NOON)
    assert try_pin(db, PIN) is SignInRefused


def confirm(db: Database, identity: UUID, secret: str, at: dt.datetime = NOON) -> type[OboleError] | None:
    """Type the PIN again, as somebody who is signed in."""
    try:
        identities.check_secret(db, cheap_keyring(), identity, secret, place=HERE, at=at)
    except OboleError as refusal:
        return type(refusal)
    return None


def test_five_wrong_pins_lock_longer_each_time_and_the_right_one_clears_the_count_of_a_session(db: Database) -> None:
    identity = add(db)
    assert [confirm(db, identity, "000111") for _ in range(5)] == [SignInRefused] * 5
    assert confirm(db, identity, PIN) is SignInLocked
    later = NOON + dt.timedelta(minutes=15)
    assert confirm(db, identity, "000111", later) is SignInRefused
    assert confirm(db, identity, PIN, later + dt.timedelta(minutes=29)) is SignInLocked
    assert confirm(db, identity, PIN, later + dt.timedelta(minutes=30)) is None
    assert [confirm(db, identity, "000111", later + dt.timedelta(hours=1)) for _ in range(4)] == [SignInRefused] * 4
    assert confirm(db, identity, PIN, later + dt.timedelta(hours=1)) is None


def test_strangers_lock_out_strangers_and_nobody_learns_by_it_who_there_is(db: Database) -> None:
    add(db)
    for _ in range(2):
        answers = [try_pin(db, "000111") for _ in range(7)]
        assert answers == [SignInRefused] * 5 + [SignInLocked] * 2
        with db.write() as conn:
            conn.execute(identity_rows.update().values(identifier="somebody.else@shoppers.example"))
            tries.clear(conn, tries.of_strangers("purse", ADDRESS))


def test_a_known_browser_signs_in_while_strangers_guess_and_has_a_count_of_its_own(db: Database) -> None:
    identity = add(db)
    with db.write() as conn:
        token = browsers.remember(conn, None, identity, at=NOON)
        other = browsers.remember(conn, None, add_other(conn), at=NOON)
    for _ in range(5):
        try_pin(db, "000111")
    assert try_pin(db, PIN) is SignInLocked
    assert try_pin(db, PIN, browser=other) is SignInLocked  # known, but not to her
    assert try_pin(db, PIN, browser="made up") is SignInLocked
    assert try_pin(db, PIN, browser=token) is None
    assert try_pin(db, PIN) is SignInLocked  # strangers gain nothing by it
    assert [try_pin(db, "000111", browser=token) for _ in range(5)] == [SignInRefused] * 5
    assert try_pin(db, PIN, browser=token) is SignInLocked
    with db.write() as conn:
        identities.set_secret(conn, identity, hashed("385062"), at=NOON)
    # Whoever had the old secret may have had a browser known, too; and the lock is gone with it.
    assert try_pin(db, "000111", browser=token) is SignInRefused
    assert try_pin(db, "385062") is None


def test_strangers_get_one_guess_a_day_in_the_long_run_whatever_the_owner_does(db: Database) -> None:
    add(db)
    guesses, at = 0, NOON
    for step in range(40 * 24 * 4):
        at = NOON + step * dt.timedelta(minutes=15)
        if try_pin(db, "000111", at) is SignInRefused:
            guesses += 1
        if step % (24 * 4) == 50:
            try_pin(db, PIN, at)  # from a browser that nobody knows, once a day, where no lock stands
    assert guesses <= 40 + 12


def test_after_the_lock_the_owner_gets_in_and_the_guesses_of_others_still_count(db: Database) -> None:
    add(db)
    for _ in range(5):
        try_pin(db, "000111")
    later = NOON + dt.timedelta(minutes=15)
    assert [try_pin(db, secret, later) for secret in (PIN, PIN, "000111")] == [None, None, SignInRefused]
    assert try_pin(db, PIN, later) is SignInLocked
    # One guess is forgotten each day.
    assert [try_pin(db, "000111", later + dt.timedelta(days=days)) for days in (30, 30)] == [SignInRefused] * 2
    assert try_pin(db, PIN, later + dt.timedelta(days=30)) is None


def test_guessing_at_the_same_time_gets_no_more_guesses(db: Database) -> None:
    many = tries.FREE_TRIES + 3
    identity, together = add(db), Barrier(many)

    def guess(number: int) -> type[OboleError] | None:
        together.wait()
        # Who finds the line long is told to come again, and that counts for nothing.
        while (answer := confirm(db, identity, f"9{number:05d}")) is Unavailable:
            pass
        return answer

    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(guess, range(many)))
    assert answers.count(SignInRefused) == tries.FREE_TRIES
    assert answers.count(SignInLocked) == many - tries.FREE_TRIES > 0


def test_who_moves_other_peoples_money_signs_in_by_passphrase(db: Database) -> None:
    add(db, kind=IdentityKind.OPERATOR)
    secret = "a passphrase of many letters"
    found = identities.sign_in(db, cheap_keyring(), (IdentityKind.OPERATOR,), ADDRESS, secret, at=NOON)
    assert found.kind == "operator"


def test_a_hash_from_before_the_key_ring_had_a_part_in_it_goes_on_and_is_renewed(db: Database) -> None:
    identity = add(db)
    before = nacl.pwhash.argon2id.str(PIN.encode(), 1, 8192).decode()

    def stored(change: str | None = None) -> str:
        with db.write() as conn:
            if change is not None:
                conn.execute(identity_rows.update().values(pin_hash=change))
            return str(identities.find(conn, identity).pin_hash)

    for enter in (lambda: try_pin(db, PIN), lambda: confirm(db, identity, PIN)):
        stored(before)
        assert try_pin(db, "000111") is SignInRefused
        assert stored() == before
        assert enter() is None
        assert stored() != before
        assert not pins.is_old(stored())
        assert enter() is None


def test_a_link_works_once_until_its_time_and_only_the_newest(db: Database) -> None:
    identity = add(db, active=False)
    with db.write() as conn:
        older = identities.new_link(conn, identity, LinkPurpose.ACTIVATE, at=NOON)
        newer = identities.new_link(conn, identity, LinkPurpose.ACTIVATE, at=NOON)
    with db.write() as conn:
        with pytest.raises(LinkInvalid):
            identities.use_link(conn, older, at=NOON)
        with pytest.raises(LinkInvalid):
            identities.look_at_link(conn, newer, at=NOON + dt.timedelta(days=2))
        assert identities.look_at_link(conn, newer, at=NOON).identity_id == identity
        assert identities.use_link(conn, newer, at=NOON) == identity
        with pytest.raises(LinkInvalid):
            identities.use_link(conn, newer, at=NOON)


def test_one_address_is_one_shopper_and_may_also_be_a_merchant(db: Database) -> None:
    add(db)
    with pytest.raises(AlreadyExists):
        add(db)
    with db.write() as conn:
        assert identities.find_by_identifier(conn, IdentityKind.OPERATOR, ADDRESS) is None
        identities.add(conn, IdentityKind.OPERATOR, identifier=ADDRESS, name="Ada", locale="en", at=NOON)
        found = identities.find_by_identifier(conn, IdentityKind.OPERATOR, ADDRESS)
        assert found is not None
        assert found.shopper_id is None
        identities.rename(conn, found.id, name="A. L.", locale="fr")
        assert identities.find(conn, found.id).name == "A. L."
        with pytest.raises(IdentityNotFound):
            identities.find(conn, new_id())


def test_ending_somebody_ends_their_sessions(db: Database) -> None:
    identity, now = add(db), clock.now()
    with db.write() as conn:
        token = sessions.begin(conn, identity, IdentityKind.SHOPPER, label="Firefox", at=now)
        assert sessions.resume(conn, token, at=now) is not None
        identities.end(conn, identity, at=now)
        assert sessions.resume(conn, token, at=now) is None

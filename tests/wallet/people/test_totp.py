"""One-time codes: those of any app, each good once."""

import datetime as dt
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tests.support import PASSPHRASE, cheap_key_file
from tests.wallet.people.test_identities import NOON, add
from wallet.ground.db import Database
from wallet.ground.errors import SignInRefused
from wallet.keys.ring import Keyring
from wallet.people import identities, sessions, totp
from wallet.tables.people import IdentityKind

HALF_A_MINUTE = dt.timedelta(seconds=30)


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.open(cheap_key_file(), PASSPHRASE)


def test_a_code_of_the_app_that_read_the_qr_code_opens_once(db: Database, keyring: Keyring) -> None:
    identity = add(db, kind=IdentityKind.OPERATOR)
    with db.write() as conn:
        row = identities.find(conn, identity)
        uri = totp.uri(keyring, row, wallet_name="Obole Test")
        app = pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0])
        assert app.secret == totp.secret(keyring, row)
        totp.enrol(conn, keyring, row, app.at(NOON), at=NOON)
        row = identities.find(conn, identity)
        assert row.totp_number == 1
        with pytest.raises(SignInRefused):
            totp.check(conn, keyring, row, app.at(NOON), at=NOON)
        totp.check(conn, keyring, row, app.at(NOON + HALF_A_MINUTE), at=NOON)  # the app's clock is a little ahead
        with pytest.raises(SignInRefused):
            totp.check(conn, keyring, row, app.at(NOON - HALF_A_MINUTE), at=NOON)  # older than one that was used


def test_a_wrong_an_old_and_somebody_elses_code_open_nothing(db: Database, keyring: Keyring) -> None:
    identity = add(db, kind=IdentityKind.OPERATOR)
    with db.write() as conn:
        row = identities.find(conn, identity)
        other = identities.find(
            conn, identities.add(conn, IdentityKind.OPERATOR, identifier="b@o.example", name="B", locale="en", at=NOON)
        )
        right = pyotp.TOTP(totp.secret(keyring, row))
        wrong = ["", "000000x", right.at(NOON - 4 * HALF_A_MINUTE), pyotp.TOTP(totp.secret(keyring, other)).at(NOON)]
        for code in wrong:
            with pytest.raises(SignInRefused):
                totp.enrol(conn, keyring, row, code, at=NOON)
        assert identities.find(conn, identity).totp_number is None


def test_who_begins_anew_gets_other_codes_and_nothing_from_before_opens(db: Database, keyring: Keyring) -> None:
    identity = add(db, kind=IdentityKind.OPERATOR)
    with db.write() as conn:
        old = pyotp.TOTP(totp.secret(keyring, identities.find(conn, identity)))
        totp.enrol(conn, keyring, identities.find(conn, identity), old.at(NOON), at=NOON)
        session = sessions.begin(conn, identity, IdentityKind.OPERATOR, label="Firefox", at=NOON)
        identities.start_over(conn, identity, at=NOON)
        row, later = identities.find(conn, identity), NOON + dt.timedelta(hours=1)
        assert (row.pin_hash, row.activated_at, row.ended_at) == (None, None, None)
        assert not totp.is_enrolled(row)
        assert sessions.resume(conn, session, at=NOON) is None
        with pytest.raises(SignInRefused):
            totp.enrol(conn, keyring, row, old.at(later), at=later)
        new = pyotp.TOTP(totp.secret(keyring, row))
        totp.enrol(conn, keyring, row, new.at(later), at=later)
        assert totp.is_enrolled(identities.find(conn, identity))

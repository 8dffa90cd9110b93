"""PINs and passphrases: which are good enough, how they are kept, and how many are looked at at once.

Invariant: stored is argon2id (RFC 9106) over an HMAC of the secret under the key ring, so that whoever has the database
alone cannot even begin to guess; and however many sign in at once, looking at secrets takes two places of a process and
few of its threads, so that purchases go on.
"""

import calendar
import hmac
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NewType
from uuid import UUID

import nacl.exceptions
import nacl.pwhash

from wallet.ground.errors import Unavailable, ValidationFailed
from wallet.keys.ring import Keyring
from wallet.tables.people import IdentityKind

Stored = NewType("Stored", str)

_PIN = re.compile(r"[0-9]{6,12}", re.ASCII)
_SHORTEST_PASSPHRASE, _LONGEST_PASSPHRASE = 12, 200


def store(keyring: Keyring, kind: IdentityKind, secret: str, *, identifier: str, by: UUID | None = None) -> Stored:
    """What to store of a new secret, if it is good enough; else `ValidationFailed` about ``pin``.

    Shoppers and members have PINs of 6 to 12 digits, merchants and operators passphrases of 12 to 200 characters. It
    takes a while, so never inside a transaction. ``by`` is the identity that chooses it (`Line.wait`).
    """
    if has_pin(kind):
        if not _PIN.fullmatch(secret):
            raise ValidationFailed(errors={"pin": ["A PIN has 6 to 12 digits."]})
        if _is_common_pin(secret) or secret in re.sub(r"[^0-9]", "", identifier):
            raise ValidationFailed(errors={"pin": [_COMMON_PIN]})
    elif not _SHORTEST_PASSPHRASE <= len(secret) <= _LONGEST_PASSPHRASE:
        raise ValidationFailed(errors={"pin": ["A passphrase has 12 to 200 characters."]})
    elif _is_common_passphrase(secret, identifier):
        raise ValidationFailed(errors={"pin": [_COMMON_PASSPHRASE]})
    with KNOWN.wait(by):
        return KNOWN.renewed(keyring, secret)


def has_pin(kind: IdentityKind) -> bool:
    """Whether people of this kind have a PIN; the others have a passphrase."""
    return kind in (IdentityKind.SHOPPER, IdentityKind.MEMBER)


class Line:
    """One place of a process where secrets are looked at, one after the other, and the few who wait for it."""

    def __init__(self, waiting: int) -> None:
        self.places = 1 + waiting
        self._inside: list[UUID | None] = []
        self._door, self._at_work = threading.Lock(), threading.Lock()

    @contextmanager
    def wait(self, by: UUID | None = None) -> Iterator[None]:
        """Be in line, or raise `Unavailable` where it is long.

        Whoever looks at a secret does so inside, and enters before counting a guess: one that nobody looks at is none.
        ``by`` is the identity that asks, where it is known: one who sends much at once stands in nobody's way.
        """
        with self._door:
            free = self.places - len(self._inside)
            if not free or (free <= KEPT and by is not None and self._inside.count(by) >= KEPT):
                raise Unavailable("Many people are signing in at this moment; try again in a few seconds.")
            self._inside.append(by)
        try:
            yield
        finally:
            with self._door:
                self._inside.remove(by)

    def matches(self, keyring: Keyring, stored: str | None, secret: str) -> bool:
        """Whether this is the secret; with nothing stored it takes as long to say no."""
        kept = stored or NOBODYS
        peppered = kept.removeprefix(_PEPPERED)
        typed = _bytes(secret) if peppered == kept else _pepper(keyring, secret)
        try:
            with self._at_work:
                return nacl.pwhash.verify(peppered.encode("ascii"), typed) and stored is not None
        except nacl.exceptions.InvalidkeyError:
            return False

    def renewed(self, keyring: Keyring, secret: str) -> Stored:
        """What to store of a secret that was good enough before."""
        with self._at_work:
            hashed = nacl.pwhash.argon2id.str(_pepper(keyring, secret), *_COST)
        return Stored(_PEPPERED + hashed.decode("ascii"))


# Those who are signed in, hold a link or sit at a known browser do not wait behind strangers, however many those are.
# All of them are few beside a process's threads, which are for purchases.
STRANGERS, KNOWN = Line(3), Line(6)
# Places of a line for whoever has not as many already: five clicks of one person fit beside them.
KEPT = 2


def is_old(stored: str) -> bool:
    """Whether it was stored before the key ring had a part in it."""
    return not stored.startswith(_PEPPERED)


# --- which are easy to guess -------------------------------------------------------------------------------


def _is_common_pin(pin: str) -> bool:
    digits = [int(digit) for digit in pin]
    triples = [pin[place : place + 3] for place in range(0, len(pin), 3)]
    return (
        len(set(pin)) <= 2
        or pin == pin[::-1]
        or _repeats(pin)
        # 135791, 112233, 102030, 101112, 142536: every other digit goes on in equal steps.
        or (_steps_evenly(digits[::2]) and _steps_evenly(digits[1::2]))
        or _runs(digits) <= 2
        # 147258, 159753: lines of the keypad, up, down or across.
        or all(triple in _LINES or triple[::-1] in _LINES for triple in triples)
        or _is_date(pin)
        or pin in _COMMON_PINS
    )


def _is_common_passphrase(passphrase: str, identifier: str) -> bool:
    plain = "".join(char for char in passphrase.lower() if char.isalnum())
    word = plain.strip("0123456789")
    is_pattern = len(set(plain)) < 5 or _repeats(plain) or _steps_evenly([ord(char) for char in plain])
    of_a_row = any(plain in row * 2 or plain in row[::-1] * 2 for row in _ROWS)
    own = {identifier.lower(), "".join(char for char in identifier.lower() if char.isalnum())}
    return is_pattern or of_a_row or word in _WORDS or passphrase.lower() in own or plain in own


def _repeats(text: str) -> bool:
    return text in (text + text)[1:-1]


def _steps_evenly(numbers: Sequence[int]) -> bool:
    return len({(after - before) % 10 for before, after in pairwise(numbers)}) <= 1 and len(numbers) > 1


def _runs(digits: Sequence[int]) -> int:
    """Into how many pieces that go on by one, up or down, or stay, a PIN falls: 123789 into two."""
    pieces, step = 1, None
    for before, after in pairwise(digits):
        here = after - before
        if step is None and abs(here) <= 1:
            step = here
        elif here != step:
            pieces, step = pieces + 1, None
    return pieces


def _is_date(pin: str) -> bool:
    """Whether it is a day, or a month of a year, in any order that people write them in."""
    for shape in _DATES.get(len(pin), ()):
        found = {
            part: int("".join(digit for digit, said in zip(pin, shape, strict=True) if said == part))
            for part in set(shape)
        }
        year = found["Y"] if shape.count("Y") == 4 else 2000
        if not 1900 <= year < 2100 or not 1 <= found["M"] <= 12:
            continue
        # Without a century any 29 February may be one.
        leap = 2000 if shape.count("Y") == 2 else year
        if 1 <= found.get("D", 1) <= calendar.monthrange(leap, found["M"])[1]:
            return True
    return False


_DATES = {
    6: ("DDMMYY", "MMDDYY", "YYMMDD", "YYDDMM", "MMYYYY", "YYYYMM"),
    8: ("DDMMYYYY", "MMDDYYYY", "YYYYMMDD", "YYYYDDMM"),
}
_LINES = frozenset({"123", "456", "789", "147", "258", "369", "159", "357", "580"})
# Known from lists of what people choose, and no pattern of the above.
_COMMON_PINS = frozenset({"112358", "258012", "147896", "123698", "5201314", "1314520", "100200", "246810", "147369"})
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "azertyuiopqsdfghjklmwxcvbn", "1234567890")
_WORDS = frozenset(
    {
        *("password", "passwort", "passphrase", "motdepasse", "secret", "changeme", "letmein", "welcome", "bienvenue"),
        *("qwerty", "qwertyuiop", "azerty", "azertyuiop", "iloveyou", "jetaime", "admin", "administrator"),
        *("administrateur", "operator", "merchant", "obole", "correcthorsebatterystaple"),
    }
)
_COMMON_PIN = (
    "That PIN is too easy to guess. Take no date, no run such as 123456, nothing repeated, no lines of the keypad and "
    "no digits of your address; digits by chance are fine, as when you throw dice."
)
_COMMON_PASSPHRASE = "That passphrase is too easy to guess. Take four words or more that do not belong together."


# --- private -----------------------------------------------------------------------------------------------


def _pepper(keyring: Keyring, secret: str) -> bytes:
    return hmac.digest(keyring.derive("pin", UUID(int=0), 0), _bytes(secret), "sha256").hex().encode("ascii")


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogatepass")


# Before a hash over an HMAC; those from before have none.
_PEPPERED = "hmac:"
# OWASP's first choice for argon2id, in whole passes and bytes: 2 passes over 19 MiB.
_COST = (2, 19 * 1024 * 1024)
NOBODYS = _PEPPERED + nacl.pwhash.argon2id.str(secrets.token_bytes(16), *_COST).decode("ascii")

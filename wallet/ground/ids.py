"""Identifiers: UUIDv7 for our own things, ISO 11649 references for what people and banks type.

Invariant: an id is never reused; a reference carries its own check digits.
"""

import hashlib
import secrets
from uuid import UUID

from stdnum import iso11649
from stdnum.iso7064 import mod_97_10
from uuid_utils.compat import uuid7

# Crockford's base 32: no I, L, O or U, so that a reference read aloud or typed by hand survives.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_LENGTH = 16
# ``RF``, two check digits, and the random part: every reference of this wallet.
REFERENCE_LENGTH = 4 + _RANDOM_LENGTH


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562 section 5.7): ids grow with time, which keeps indexes compact."""
    return uuid7()


def token_sha256(token: str) -> bytes:
    """What is stored of a token that only its holder knows: 256 random bits need nothing slower."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def new_reference() -> str:
    """A new RF creditor reference (ISO 11649): ``RF``, two check digits, 16 random characters (80 bits)."""
    random = secrets.randbits(5 * _RANDOM_LENGTH)
    body = "".join(_ALPHABET[random >> 5 * place & 31] for place in range(_RANDOM_LENGTH))
    return f"RF{mod_97_10.calc_check_digits(body + 'RF')}{body}"


def is_reference(text: str) -> bool:
    """Whether ``text`` is an RF creditor reference with the right check digits."""
    return bool(iso11649.is_valid(text))

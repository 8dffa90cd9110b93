"""The baseline of signatures: Ed25519 alone on one core, over texts as long as an order and a voucher."""

import time
from dataclasses import dataclass

import nacl.bindings
from nacl.signing import SigningKey

_TEXT_BYTES = 500


@dataclass(frozen=True, slots=True)
class Signatures:
    """How many in a second: verifications alone, and verification plus signature."""

    verify_per_second: float
    verify_and_sign_per_second: float


def measure(seconds: float) -> Signatures:
    """Verify alone for half of ``seconds``, then verify and sign."""
    return Signatures(_rate(seconds / 2, signs=False), _rate(seconds / 2, signs=True))


def _rate(seconds: float, *, signs: bool) -> float:
    key, text = SigningKey.generate(), b"x" * _TEXT_BYTES
    signed, public = bytes(key.sign(text)), bytes(key.verify_key)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        nacl.bindings.crypto_sign_open(signed, public)
        if signs:
            key.sign(text)
        done += 1
    return done / (time.perf_counter() - began)

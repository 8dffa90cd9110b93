"""Compact JWS with Ed25519 and nothing else of JOSE (RFC 7515 section 7.1, RFC 8037 section 3.1).

Invariant: a token cannot choose how it is checked or bring its own key (RFC 8725 sections 3.1, 3.10, 3.11):
the header is exactly ``alg``, ``typ`` and ``kid``, and ``alg`` is EdDSA. No two readers understand a token
differently: base64url is canonical, JSON has no duplicate names. What `sign` writes `parse` reads; the rest
is `BadToken`.

`parse` only reads, so that a caller can find the key by ``kid``. Claims are true once `verify` returned them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never

import nacl.bindings
import nacl.exceptions
from nacl.signing import SigningKey

MAX_TOKEN_CHARS = 8 * 1024
# `cnf` needs three levels; a fixed limit, because Python's own moves with the caller's stack.
MAX_DEPTH = 8
# The integers that every JSON reader agrees on (RFC 7493 section 2.2).
MAX_INTEGER = 2**53 - 1


class BadToken(ValueError):
    """Not a token or public key this wallet accepts. The message is a short reason and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A well-formed token of unproven origin: nothing in it may be acted on before `verify`."""

    header: Mapping[str, object]
    kid: str
    typ: str
    claims: dict[str, object]
    signing_input: bytes
    signature: bytes


def sign(*, header_type: str, kid: str, claims: Mapping[str, object], key: SigningKey) -> str:
    """The token over ``claims``, in the order given. The same arguments give the same bytes: Ed25519 has no
    random part (RFC 8032 section 5.1.6).

    Raises `BadToken` for claims that `parse` would refuse, so that no voucher is signed that nobody can
    redeem, and TypeError for what JSON has no word for.
    """
    payload = _json_bytes(dict(claims))
    json_object(payload)
    if not kid:
        raise BadToken("kid is not a name")
    token = _compact(_json_bytes({"alg": "EdDSA", "typ": header_type, "kid": kid}), payload, key)
    if len(token) > MAX_TOKEN_CHARS:
        raise BadToken("token too long")
    return token


def parse(token: str, *, header_type: str) -> Unverified:
    """Read a token of type ``header_type`` without believing it. Raises `BadToken` for anything unusual."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS:
        raise BadToken("token too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("not three parts")
    header = json_object(unb64url(parts[0]))
    # Exactly these: `crit`, `b64`, `jwk`, `jku`, `x5c`, `x5u` and whatever comes later are refused unread.
    if header.keys() != {"alg", "typ", "kid"}:
        raise BadToken("header is not exactly alg, typ and kid")
    if header["alg"] != "EdDSA":
        raise BadToken("alg is not EdDSA")
    if header["typ"] != header_type:
        raise BadToken("typ is another")
    kid = header["kid"]
    if not isinstance(kid, str) or not kid:
        raise BadToken("kid is not a name")
    claims = json_object(unb64url(parts[1]))
    signature = unb64url(parts[2])
    if len(signature) != nacl.bindings.crypto_sign_BYTES:
        raise BadToken("signature is not 64 bytes")
    signing_input = f"{parts[0]}.{parts[1]}".encode("ascii")
    return Unverified(header, kid, header_type, claims, signing_input, signature)


def verify(unverified: Unverified, public_key: bytes) -> dict[str, object]:
    """The claims, now known to be signed by ``public_key`` (32 bytes). Raises `BadToken`.

    libsodium refuses S outside [0, L) and keys or R of small order, stricter than RFC 8032 section 5.1.7.
    """
    # The binding hands the pointer on unmeasured: a short key would be read past its end, a long one cut.
    if len(public_key) != nacl.bindings.crypto_sign_PUBLICKEYBYTES:
        raise BadToken("key is not 32 bytes")
    try:
        nacl.bindings.crypto_sign_open(unverified.signature + unverified.signing_input, public_key)
    except nacl.exceptions.BadSignatureError:
        raise BadToken("signature does not hold") from None
    return unverified.claims


def public_jwk(public_key: bytes, kid: str) -> dict[str, str]:
    """The key as RFC 8037 section 2 has it. No ``alg``: readers disagree on EdDSA or Ed25519 (RFC 9864)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(public_key), "kid": kid, "use": "sig"}


def parse_public_jwk(obj: Mapping[str, object]) -> bytes:
    """The 32 bytes of an Ed25519 public key. Raises `BadToken`.

    A private ``d`` is refused: a secret that was sent is no secret. So are points of small order, outside the
    main subgroup or not in canonical form, under which one signature could serve several messages or keys.
    """
    if not isinstance(obj, Mapping) or "d" in obj:
        raise BadToken("not a public JWK")
    if obj.get("kty") != "OKP" or obj.get("crv") != "Ed25519":
        raise BadToken("not an Ed25519 JWK")
    # Optional; browsers name the algorithm on export (RFC 7517 sections 4.2 and 4.4, RFC 9864 section 2.2).
    if obj.get("use", "sig") != "sig" or obj.get("alg", "EdDSA") not in ("EdDSA", "Ed25519"):
        raise BadToken("a JWK for another purpose")
    x = obj.get("x")
    public_key = unb64url(x) if isinstance(x, str) else b""
    if len(public_key) != 32 or not nacl.bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise BadToken("x is not an Ed25519 public key")
    return public_key


def thumbprint(public_key: bytes) -> str:
    """RFC 7638 section 3 with the members of RFC 8037 section 2, SHA-256: 43 characters."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": b64url(public_key)}
    return b64url(hashlib.sha256(_json_bytes(members)).digest())


def b64url(raw: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """The inverse of `b64url` and of nothing else. Raises `BadToken`.

    Padding, another alphabet, white space and stray trailing bits (RFC 4648 section 3.5) fail the comparison.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise BadToken("not base64url") from None
    if b64url(raw) != text:
        raise BadToken("not canonical base64url")
    return raw


def json_object(data: bytes) -> dict[str, object]:
    """The JSON object in ``data``. Raises `BadToken`.

    Stricter than RFC 8259: no duplicate names at any level, only integers up to 2**53 - 1, at most eight
    levels, and no string that UTF-8 or a text column cannot hold.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        _check_plain(value, MAX_DEPTH)
    except BadToken:
        raise
    except (ValueError, RecursionError):
        raise BadToken("not JSON") from None
    if not isinstance(value, dict):
        raise BadToken("not a JSON object")
    return value


def _compact(header: bytes, payload: bytes, key: SigningKey) -> str:
    signing_input = f"{b64url(header)}.{b64url(payload)}"
    return f"{signing_input}.{b64url(key.sign(signing_input.encode('ascii')).signature)}"


def _json_bytes(value: Mapping[str, object]) -> bytes:
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (ValueError, RecursionError):
        raise BadToken("not representable as JSON") from None


def _check_plain(value: object, levels: int) -> None:
    """Refuse deep nesting, lone surrogates (``"\\ud800"``), and NUL, which PostgreSQL's text cannot store."""
    if isinstance(value, str):
        if "\0" in value:
            raise BadToken("NUL in a string")
        value.encode("utf-8")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise BadToken("nested too deeply")
        for child in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_plain(child, levels - 1)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadToken("duplicate name")
    return members


def _integer(digits: str) -> int:
    # The length first: turning thousands of digits into a number is slow, and Python refuses it differently.
    if len(digits) > 17 or abs(number := int(digits)) > MAX_INTEGER:
        raise BadToken("integer too large")
    return number


def _no_float(_: str) -> Never:
    raise BadToken("a number that is not an integer")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)

"""The wallet's signing keys: one file, encrypted under a passphrase.

Invariant: exactly one key is active, no key is ever lost, and at every instant the file on disk is whole.
Writers hold ``<file>.lock``, write beside the file and rename. A retired key stays in it, because a voucher
is not stored but signed again. The pseudonym secret never changes, so a merchant knows a purse by one name
across rotations.

The file is JSON: ``format``, ``kdf``, ``opslimit``, ``memlimit_bytes``, ``salt``, ``nonce``, ``ciphertext``.
The passphrase becomes a key by argon2id (RFC 9106). XChaCha20-Poly1305 seals the contents, with every field
before the ciphertext as associated data: compact JSON in the order of this list.
"""

import datetime as dt
import fcntl
import hmac
import json
import logging
import os
import stat
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Self
from uuid import UUID

import nacl.bindings
import nacl.exceptions
import nacl.utils
from nacl.pwhash import argon2id
from nacl.signing import SigningKey

from wallet.ground import clock
from wallet.ground.errors import KeyFileInvalid
from wallet.keys import jws

MINIMUM_PASSPHRASE_CHARS = 12
# What a file may ask of this machine before it is proven ours: libsodium's "sensitive" asks 4 and 1 GiB.
MAX_OPSLIMIT = 8
MAX_MEMLIMIT_BYTES = argon2id.MEMLIMIT_SENSITIVE
MAX_FILE_BYTES = 1024 * 1024

_FORMAT = "obole-keys/1"
_KDF = "argon2id"
_HEADER = ("format", "kdf", "opslimit", "memlimit_bytes", "salt", "nonce")
_SECONDS_BETWEEN_LOOKS = 1.0

# Device, inode, length, times of writing and of change: a rename, an edit and a chmod each alter one of them.
_Stamp = tuple[int, int, int, int, int]
_NOTHING_THERE: _Stamp = (0, 0, 0, 0, 0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """One key pair; ``kid`` is its RFC 7638 thumbprint."""

    kid: str
    signing: SigningKey = field(repr=False)
    created_at: dt.datetime
    retired_at: dt.datetime | None

    @classmethod
    def make(cls, seed: bytes, created_at: dt.datetime, retired_at: dt.datetime | None = None) -> Self:
        signing = SigningKey(seed)
        return cls(jws.thumbprint(bytes(signing.verify_key)), signing, created_at, retired_at)

    @property
    def public(self) -> bytes:
        return bytes(self.signing.verify_key)


@dataclass(frozen=True, slots=True)
class _Cost:
    """What argon2id spends on one guess: passes, and bytes of memory."""

    opslimit: int
    memlimit_bytes: int

    def __post_init__(self) -> None:
        if not (
            argon2id.OPSLIMIT_MIN <= self.opslimit <= MAX_OPSLIMIT
            and argon2id.MEMLIMIT_MIN <= self.memlimit_bytes <= MAX_MEMLIMIT_BYTES
        ):
            raise KeyFileInvalid("The argon2id limits are outside what this program spends on a key file.")


@dataclass(frozen=True, slots=True)
class _Contents:
    """What the file says. Never changed, only replaced as a whole, so readers need no lock."""

    keys: dict[str, _Key]  # by kid, oldest first
    active: _Key
    pseudonym_secret: bytes = field(repr=False)
    cost: _Cost

    @classmethod
    def make(cls, keys: Sequence[_Key], pseudonym_secret: bytes, cost: _Cost) -> Self:
        """Raises ValueError unless exactly the last key is active and every kid is there once."""
        by_kid = {key.kid: key for key in keys}
        active = [key.kid for key in keys if key.retired_at is None]
        if not keys or active != [keys[-1].kid] or len(by_kid) != len(keys) or len(pseudonym_secret) != 32:
            raise ValueError("not a key ring")
        return cls(by_kid, keys[-1], pseudonym_secret, cost)


class Keyring:
    """The keys of one file, for any number of threads and processes.

    A thread that signs or verifies looks at the file's stamp about once a second, and at once for a kid it
    does not know, and reads the file again if another process rotated. That takes a second of argon2id, for which
    everybody would wait inside a transaction: there only `known_kid` and `sign_as` are used, after `look`. If reading
    fails (somebody is repairing the file, or changed the passphrase) the keys read before go on working and the log
    says so, once per state of the file; writing raises.
    """

    def __init__(self, path: Path, passphrase: str, contents: _Contents, stamp: _Stamp) -> None:
        """Use `create` or `open`."""
        self._path = path
        self._passphrase = passphrase
        self._contents = contents
        self._stamp = stamp
        self._refused: _Stamp | None = None
        self._next_look = monotonic() + _SECONDS_BETWEEN_LOOKS
        self._changing = threading.Lock()  # taken after the lock file, never before

    def __repr__(self) -> str:
        return f"<Keyring {self._path} active={self._contents.active.kid} keys={len(self._contents.keys)}>"

    # --- open and create -----------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        passphrase: str,
        *,
        now: dt.datetime,
        opslimit: int = argon2id.OPSLIMIT_MODERATE,
        memlimit: int = argon2id.MEMLIMIT_MODERATE,
    ) -> Self:
        """Write a new file with one key, mode 0600. ``memlimit`` in bytes; every opening spends both limits.

        Raises `KeyFileInvalid` if anything is at ``path`` already, the passphrase is shorter than 12
        characters, the limits are outside bounds, or the file cannot be written.
        """
        file = Path(path).absolute()
        _check_new_passphrase(passphrase)
        key = _Key.make(nacl.utils.random(32), _utc(now))
        contents = _Contents.make([key], nacl.utils.random(32), _Cost(opslimit, memlimit))
        with _locked(file):
            # A link, unlike a rename, fails when the name is taken: no key is ever overwritten.
            stamp = _write(file, _seal(contents, passphrase), os.link)
        return cls(file, passphrase, contents, stamp)

    @classmethod
    def open(cls, path: str | os.PathLike[str], passphrase: str) -> Self:
        """Read the file. Spends the argon2id limits written in it: about a second and 256 MiB by default.

        Raises `KeyFileInvalid` if it is missing, open to other accounts, damaged, of another format, asks for
        absurd limits, or the passphrase is wrong.
        """
        file = Path(path).absolute()
        raw, stamp = _read(file)
        return cls(file, passphrase, _unseal(raw, passphrase), stamp)

    # --- sign and verify -----------------------------------------------------------------------------------

    @property
    def active_kid(self) -> str:
        """The kid of the key that `sign` uses now."""
        return self._current().active.kid

    @property
    def known_kid(self) -> str:
        """As `active_kid`, as of the last look: no file is read."""
        return self._contents.active.kid

    def look(self) -> None:
        """See, about once a second, whether another process rotated."""
        self._current()

    def sign(self, header_type: str, claims: Mapping[str, object]) -> str:
        """The token over ``claims`` with the active key. Raises as `wallet.keys.jws.sign`."""
        key = self._current().active
        return jws.sign(header_type=header_type, kid=key.kid, claims=claims, key=key.signing)

    def sign_as(self, kid: str, header_type: str, claims: Mapping[str, object]) -> str:
        """The token signed earlier with key ``kid``, once more: the same bytes, even if the key is retired.

        Raises `KeyFileInvalid` if the file never held that key, or as `wallet.keys.jws.sign`.
        """
        key = self._find(kid)
        if key is None:
            raise KeyFileInvalid("The key file does not hold the key that signed this.")
        return jws.sign(header_type=header_type, kid=kid, claims=claims, key=key.signing)

    def verify(self, token: str, header_type: str) -> dict[str, object]:
        """The claims of a token that this wallet signed, with whichever key. Raises `wallet.keys.jws.BadToken`.

        Says nothing about time: ``exp`` and the rest are the caller's to judge.
        """
        unverified = jws.parse(token, header_type=header_type)
        key = self._find(unverified.kid)
        if key is None:
            raise jws.BadToken("unknown kid")
        return jws.verify(unverified, key.public)

    def public_jwks(self, *, now: dt.datetime, keep: dt.timedelta) -> dict[str, list[dict[str, str]]]:
        """The JWK Set (RFC 7517 section 5): the active key, then those retired less than ``keep`` ago.

        ``keep`` is at least the longest time from signing a voucher to its ``exp``.
        """
        since = _utc(now) - keep
        keys = reversed(self._current(certain=True).keys.values())
        return {
            "keys": [
                jws.public_jwk(key.public, key.kid) for key in keys if key.retired_at is None or key.retired_at > since
            ]
        }

    def pseudonym(self, purse_id: UUID, merchant_id: UUID) -> str:
        """What this merchant may call this purse (``sub``): 22 characters, meaningless to other merchants.

        HMAC-SHA-256 (RFC 2104) over both ids, 32 bytes without separator since their lengths are fixed, cut
        to 128 bits (section 5).
        """
        secret = self._contents.pseudonym_secret
        return jws.b64url(hmac.digest(secret, purse_id.bytes + merchant_id.bytes, "sha256")[:16])

    def derive(self, purpose: str, owner_id: UUID, number: int) -> bytes:
        """32 secret bytes for ``owner_id``, the same whenever asked; a higher ``number`` (from 0) gives others.

        HMAC-SHA-256 under the pseudonym secret. The purpose (ASCII, not empty) makes what is hashed longer than
        the 32 bytes of `pseudonym`, and all but the purpose has a fixed length, so no two questions are one.
        """
        if not purpose or not purpose.isascii():
            raise ValueError("a purpose is a few letters")
        asked = b"derive:" + purpose.encode("ascii") + b":" + owner_id.bytes + number.to_bytes(8)
        return hmac.digest(self._contents.pseudonym_secret, asked, "sha256")

    def listing(self) -> list[tuple[str, dt.datetime, dt.datetime | None]]:
        """Every key, oldest first: kid, created at, retired at (UTC; None for the active one)."""
        keys = self._current(certain=True).keys.values()
        return [(key.kid, key.created_at, key.retired_at) for key in keys]

    @property
    def is_well_sealed(self) -> bool:
        """Whether a guess at the passphrase costs as much as in the files that `create` makes."""
        cost = self._contents.cost
        return cost.opslimit >= argon2id.OPSLIMIT_MODERATE and cost.memlimit_bytes >= argon2id.MEMLIMIT_MODERATE

    # --- change --------------------------------------------------------------------------------------------

    def rotate(self, *, now: dt.datetime) -> str:
        """Make a new active key, retire the old one at ``now``, and answer the new kid, durable by then.

        Waits for other writers (``<file>.lock``) and works on what they left. Raises `KeyFileInvalid`; then
        nothing changed.
        """
        created = _Key.make(nacl.utils.random(32), _utc(now))
        with _locked(self._path), self._changing:
            contents = self._freshest()
            *retired, active = contents.keys.values()
            keys = [*retired, replace(active, retired_at=created.created_at), created]
            self._store(_Contents.make(keys, contents.pseudonym_secret, contents.cost), self._passphrase)
        return created.kid

    def change_passphrase(self, new: str) -> None:
        """Encrypt the file anew. Running processes keep their keys, but must restart to see later rotations.

        Raises `KeyFileInvalid`, for a passphrase under 12 characters too; then nothing changed.
        """
        _check_new_passphrase(new)
        with _locked(self._path), self._changing:
            self._store(self._freshest(), new)
            self._passphrase = new

    # --- private -------------------------------------------------------------------------------------------

    def _find(self, kid: str) -> _Key | None:
        return self._contents.keys.get(kid) or self._current(certain=True).keys.get(kid)

    def _current(self, *, certain: bool = False) -> _Contents:
        """The keys as of about a second ago; ``certain``: as of now."""
        # While one thread reads the file anew (a second of argon2id), the rest go on with what they have.
        if (certain or monotonic() >= self._next_look) and self._changing.acquire(blocking=certain):
            try:
                self._look()
            finally:
                self._changing.release()
        return self._contents

    def _look(self) -> None:
        """Read the file again if it changed. Never raises: see the class."""
        self._next_look = monotonic() + _SECONDS_BETWEEN_LOOKS
        try:
            stamp = _stamp(self._path.stat())
        except OSError:
            stamp = _NOTHING_THERE
        if stamp in (self._stamp, self._refused):  # argon2id is not spent twice on one refused file
            return
        try:
            self._freshest()
        except KeyFileInvalid as error:
            self._refused = stamp
            _log.warning("Going on with the keys read before. %s", error.detail)

    def _freshest(self) -> _Contents:
        """The keys on disk now. The caller holds ``_changing``. Raises `KeyFileInvalid`."""
        raw, stamp = _read(self._path)
        if stamp != self._stamp:
            self._contents, self._stamp = _unseal(raw, self._passphrase), stamp
        return self._contents

    def _store(self, contents: _Contents, passphrase: str) -> None:
        self._stamp = _write(self._path, _seal(contents, passphrase), os.replace)
        self._contents = contents


# --- the sealed form ---------------------------------------------------------------------------------------


def _seal(contents: _Contents, passphrase: str) -> bytes:
    """The file's bytes, under a fresh salt and nonce each time."""
    salt, nonce = nacl.utils.random(argon2id.SALTBYTES), nacl.utils.random(24)
    cost = contents.cost
    values = (_FORMAT, _KDF, cost.opslimit, cost.memlimit_bytes, jws.b64url(salt), jws.b64url(nonce))
    header: dict[str, object] = dict(zip(_HEADER, values, strict=True))
    ciphertext = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        _contents_json(contents), _associated_data(header), nonce, _derive(passphrase, salt, cost)
    )
    # No newline at the end: then no proper prefix of the file is whole.
    sealed = json.dumps({**header, "ciphertext": jws.b64url(ciphertext)}, indent=1).encode("ascii")
    if len(sealed) > MAX_FILE_BYTES:
        raise KeyFileInvalid("The key file would grow beyond what this program reads.")
    return sealed


def _unseal(raw: bytes, passphrase: str) -> _Contents:
    try:
        fields = jws.json_object(raw)
        if fields.get("format") != _FORMAT or fields.get("kdf") != _KDF:
            raise KeyFileInvalid("The key file has a format that this program does not read.")
        ciphertext = jws.unb64url(_text(fields.pop("ciphertext")))
        if fields.keys() != set(_HEADER):
            raise ValueError("unknown fields")
        cost = _Cost(_whole(fields["opslimit"]), _whole(fields["memlimit_bytes"]))
        salt, nonce = jws.unb64url(_text(fields["salt"])), jws.unb64url(_text(fields["nonce"]))
        if len(salt) != argon2id.SALTBYTES or len(nonce) != 24 or len(ciphertext) < 16:
            raise ValueError("wrong lengths")
    except (KeyError, ValueError):
        raise KeyFileInvalid("The key file is damaged.") from None
    try:
        plaintext = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, _associated_data(fields), nonce, _derive(passphrase, salt, cost)
        )
    except nacl.exceptions.CryptoError:
        raise KeyFileInvalid("The passphrase is wrong, or the key file was altered.") from None
    try:
        return _parse_contents(jws.json_object(plaintext), cost)
    except (KeyError, TypeError, ValueError):
        raise KeyFileInvalid("The key file opens, but does not hold a key ring.") from None


def _associated_data(header: Mapping[str, object]) -> bytes:
    return json.dumps({name: header[name] for name in _HEADER}, separators=(",", ":")).encode("ascii")


def _derive(passphrase: str, salt: bytes, cost: _Cost) -> bytes:
    try:
        # NFC (RFC 8265 section 4.2.2): the same passphrase from any keyboard is the same bytes.
        secret = unicodedata.normalize("NFC", passphrase).encode("utf-8")
        return argon2id.kdf(32, secret, salt, cost.opslimit, cost.memlimit_bytes)
    except UnicodeEncodeError:
        raise KeyFileInvalid("The passphrase is not valid text.") from None
    except nacl.exceptions.RuntimeError:
        mebibytes = cost.memlimit_bytes // 2**20
        raise KeyFileInvalid(f"Not enough memory to open the key file: it takes {mebibytes} MiB.") from None


def _contents_json(contents: _Contents) -> bytes:
    keys = [
        {
            "kid": key.kid,
            "seed": jws.b64url(bytes(key.signing)),
            "created_at": clock.rfc3339(key.created_at),
            "retired_at": None if key.retired_at is None else clock.rfc3339(key.retired_at),
        }
        for key in contents.keys.values()
    ]
    secret = jws.b64url(contents.pseudonym_secret)
    return json.dumps({"keys": keys, "pseudonym_secret": secret}).encode("ascii")


def _parse_contents(plaintext: Mapping[str, object], cost: _Cost) -> _Contents:
    entries = plaintext["keys"]
    if not isinstance(entries, list):
        raise TypeError("keys")
    keys = []
    for entry in entries:
        created_at = _utc(dt.datetime.fromisoformat(entry["created_at"]))
        retired_at = entry["retired_at"] and _utc(dt.datetime.fromisoformat(entry["retired_at"]))
        key = _Key.make(jws.unb64url(entry["seed"]), created_at, retired_at)
        if key.kid != entry["kid"]:
            raise ValueError("kid")
        keys.append(key)
    return _Contents.make(keys, jws.unb64url(_text(plaintext["pseudonym_secret"])), cost)


def _check_new_passphrase(passphrase: str) -> None:
    if len(unicodedata.normalize("NFC", passphrase)) < MINIMUM_PASSPHRASE_CHARS:
        raise KeyFileInvalid(f"The passphrase needs at least {MINIMUM_PASSPHRASE_CHARS} characters.")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:  # JSON's true is an int to isinstance
        raise ValueError("not an integer")
    return value


def _utc(instant: dt.datetime) -> dt.datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(dt.UTC)


# --- the file ----------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[bytes, _Stamp]:
    try:
        # Not blocking: a pipe in the file's place must be an error, not a wait.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileInvalid(f"{path} is not a file.")
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileInvalid(f"{path} is open to other accounts. Close it with: chmod 600 {path}")
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileInvalid(f"There is no key file at {path}.") from None
    except OSError as error:
        raise KeyFileInvalid(f"The key file {path} cannot be read: {error.strerror}.") from None
    if len(raw) > MAX_FILE_BYTES:
        raise KeyFileInvalid(f"{path} is too large to be a key file.")
    return raw, _stamp(status)


def _write(path: Path, sealed: bytes, place: Callable[[Path, Path], None]) -> _Stamp:
    """Make the bytes durable beside ``path``, then ``place`` them there. The caller holds the lock file."""
    target = _behind_links(path)
    beside = target.with_name(target.name + ".new")
    try:
        # What a killed writer left. Unlinked, not truncated: it may be a second name of the file itself.
        beside.unlink(missing_ok=True)
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            _keep_owner(file.fileno(), target)
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        try:
            place(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        _sync_directory(target.parent)
        return _stamp(target.stat())
    except FileExistsError:
        raise KeyFileInvalid(f"There is a file at {path} already; it is left as it is.") from None
    except OSError as error:
        raise KeyFileInvalid(f"The key file {path} cannot be written: {error.strerror}.") from None


def _behind_links(path: Path) -> Path:
    """Where a symbolic link leads: the file is replaced, not the link, and two names share one lock."""
    return Path(os.path.realpath(path))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold ``<path>.lock`` against every other writer, here or in another process; death releases it.

    The lock file stays: were it removed, two writers could each lock a different file of that name.
    """
    target = _behind_links(path)
    try:
        descriptor = os.open(target.with_name(target.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyFileInvalid(f"The key file {path} cannot be locked: {error.strerror}.") from None
    try:
        _keep_owner(descriptor, target)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, target: Path) -> None:
    """When root rotates, the account that runs the wallet must still be able to read what root wrote."""
    if os.geteuid() == 0 and target.exists():
        owner = target.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

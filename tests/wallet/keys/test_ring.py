"""The key file: it opens for its passphrase only, survives kills and rivals, and loses no key."""

import base64
import datetime as dt
import json
import logging
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path
from uuid import UUID

import jwt
import nacl.bindings
import nacl.exceptions
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from nacl.pwhash import argon2id

from wallet.ground.errors import KeyFileInvalid
from wallet.keys import jws
from wallet.keys import ring as keys
from wallet.keys.jws import BadToken
from wallet.keys.ring import Keyring

PASSPHRASE = "trois petites pièces"
CHEAP = {"opslimit": argon2id.OPSLIMIT_MIN, "memlimit": argon2id.MEMLIMIT_MIN}
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TYPE = "voucher+jwt"
CLAIMS: dict[str, object] = {"jti": "0190a1b2-0000-7000-8000-000000000000", "amount": "0.07"}
ALICE, BOB = UUID(int=1), UUID(int=2)
BAKERY, KIOSK = UUID(int=3), UUID(int=4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def ring(path, clock):
    return Keyring.create(path, PASSPHRASE, now=NOON, **CHEAP)


@pytest.fixture
def clock(monkeypatch):
    """The seconds that keyrings see; they pass only when a test says so."""

    class Seconds:
        now = 1000.0

        def __call__(self):
            return self.now

    seconds = Seconds()
    monkeypatch.setattr(keys, "monotonic", seconds)
    return seconds


@pytest.fixture
def derivations(monkeypatch):
    """The limits of every argon2id run."""
    runs = []
    real = argon2id.kdf

    def counting(size, password, salt, opslimit, memlimit):
        runs.append((opslimit, memlimit))
        return real(size, password, salt, opslimit, memlimit)

    monkeypatch.setattr(argon2id, "kdf", counting)
    return runs


def refused(path, passphrase=PASSPHRASE):
    with pytest.raises(KeyFileInvalid) as refusal:
        Keyring.open(path, passphrase)
    return str(refusal.value)


# --- open and create ---------------------------------------------------------------------------------------


def test_what_was_created_opens_and_is_the_same(path, ring):
    opened = Keyring.open(path, PASSPHRASE)
    assert opened.active_kid == ring.active_kid
    assert opened.listing() == ring.listing() == [(ring.active_kid, NOON, None)]
    assert opened.sign(TYPE, CLAIMS) == ring.sign(TYPE, CLAIMS)
    assert opened.pseudonym(ALICE, BAKERY) == ring.pseudonym(ALICE, BAKERY)


def test_two_files_have_nothing_in_common(tmp_path):
    one, two = (Keyring.create(tmp_path / name, PASSPHRASE, now=NOON, **CHEAP) for name in ("one", "two"))
    assert one.active_kid != two.active_kid
    assert one.pseudonym(ALICE, BAKERY) != two.pseudonym(ALICE, BAKERY)
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("one", "two"))
    assert all(first[name] != second[name] for name in ("salt", "nonce", "ciphertext"))


def test_nothing_is_overwritten(path, ring):
    before = path.read_bytes()
    with pytest.raises(KeyFileInvalid, match="already"):
        Keyring.create(path, PASSPHRASE, now=NOON, **CHEAP)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_only_its_owner_reads_it(path, ring):
    old_mask = os.umask(0)
    try:
        ring.rotate(now=NOON)
        Keyring.create(path.with_name("second"), PASSPHRASE, now=NOON, **CHEAP)
    finally:
        os.umask(old_mask)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_open_to_others_is_refused(path, ring, mode):
    path.chmod(mode)
    assert "chmod 600" in refused(path)
    path.chmod(0o400)
    Keyring.open(path, PASSPHRASE)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    assert "no key file" in refused(tmp_path / "nothing")
    assert refused(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a file" in refused(tmp_path / "pipe")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(KeyFileInvalid, match="No such file"):
        Keyring.create(tmp_path / "nowhere" / "keys.json", PASSPHRASE, now=NOON, **CHEAP)


def test_a_wrong_passphrase_is_refused_and_not_repeated(path, ring):
    for wrong in ("", "deux petites pièces", PASSPHRASE + " ", PASSPHRASE.upper(), "\ud800" * 12):
        message = refused(path, wrong)
        assert "passphrase" in message
        assert wrong == "" or wrong not in message


def test_a_passphrase_is_the_same_from_any_keyboard(path, ring):
    decomposed = unicodedata.normalize("NFD", PASSPHRASE)
    assert decomposed != PASSPHRASE
    assert Keyring.open(path, decomposed).active_kid == ring.active_kid


def test_a_short_passphrase_is_refused(path, tmp_path):
    for short in ("", "elevenchars", unicodedata.normalize("NFD", "é" * 11)):
        with pytest.raises(KeyFileInvalid, match="12 characters"):
            Keyring.create(path, short, now=NOON, **CHEAP)
    assert list(tmp_path.iterdir()) == []
    Keyring.create(path, "twelve chars", now=NOON, **CHEAP)


@pytest.mark.parametrize(
    "limits",
    [
        {"opslimit": 0},
        {"opslimit": 9},
        {"opslimit": -1},
        {"opslimit": 2**64},
        {"memlimit": 8191},
        {"memlimit": 2**30 + 1},
        {"memlimit": 2**40},
    ],
    ids=repr,
)
def test_absurd_limits_are_refused_before_they_are_spent(path, derivations, limits):
    with pytest.raises(KeyFileInvalid, match="limits"):
        Keyring.create(path, PASSPHRASE, now=NOON, **(CHEAP | limits))
    Keyring.create(path, PASSPHRASE, now=NOON, **CHEAP)
    derivations.clear()
    fields = json.loads(path.read_text())
    fields |= {"memlimit_bytes" if name == "memlimit" else name: value for name, value in limits.items()}
    path.write_text(json.dumps(fields))
    refused(path)
    assert derivations == []


def test_the_defaults_are_moderate(path, monkeypatch):
    spent = []

    def free(size, password, salt, opslimit, memlimit):
        spent.append((opslimit, memlimit))
        return bytes(size)

    monkeypatch.setattr(argon2id, "kdf", free)
    Keyring.create(path, PASSPHRASE, now=NOON)
    assert spent == [(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)] == [(3, 256 * 2**20)]


def test_too_little_memory_is_said_so(path, ring, monkeypatch):
    def none_left(*_):
        raise nacl.exceptions.RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr(argon2id, "kdf", none_left)
    assert "memory" in refused(path)


# --- damage and tampering ----------------------------------------------------------------------------------


def test_the_format_is_as_documented(path, ring):
    """Opened here by hand from the words in the module's docstring."""
    fields = json.loads(path.read_text())
    names = ["format", "kdf", "opslimit", "memlimit_bytes", "salt", "nonce", "ciphertext"]
    assert list(fields) == names
    raw = {name: base64.urlsafe_b64decode(fields[name] + "==") for name in ("salt", "nonce", "ciphertext")}
    key = argon2id.kdf(32, PASSPHRASE.encode(), raw["salt"], fields["opslimit"], fields["memlimit_bytes"])

    def unseal(header):
        data = json.dumps(header, separators=(",", ":")).encode()
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(raw["ciphertext"], data, raw["nonce"], key)

    header = {name: fields[name] for name in names[:-1]}
    contents = json.loads(unseal(header))
    (entry,) = contents["keys"]
    assert entry.keys() == {"kid", "seed", "created_at", "retired_at"}
    assert (entry["kid"], entry["created_at"], entry["retired_at"]) == (
        ring.active_kid,
        "2026-11-23T12:00:00Z",
        None,
    )
    # Every field is bound, whatever the key that was derived.
    for name, value in header.items():
        with pytest.raises(nacl.exceptions.CryptoError):
            unseal(header | {name: value + 1 if isinstance(value, int) else value[:-1] + "-"})


OTHER_16, OTHER_24 = jws.b64url(b"\1" * 16), jws.b64url(b"\1" * 24)
ODD_FIELDS: dict[str, list[object]] = {
    "format": ["obole-keys/2", "", None, 1, ["obole-keys/1"]],
    "kdf": ["argon2i", "scrypt", None, 1],
    "opslimit": [2, "1", True, None, 1.0, []],
    "memlimit_bytes": [16384, "8192", None, {}],
    "salt": [OTHER_16, OTHER_24, "", None, 7, "é"],
    "nonce": [OTHER_24, OTHER_16, "", None, 7],
    "ciphertext": ["", OTHER_16, OTHER_24, None, 7, "===="],
    "surplus": [1],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in ODD_FIELDS.items() for value in values],
)
def test_a_field_that_was_altered_is_refused(path, ring, derivations, name, value):
    fields = json.loads(path.read_text())
    plausible = type(value) is type(fields.get(name))
    if name in ("salt", "nonce"):
        plausible = plausible and len(value) == len(fields[name])
    path.write_text(json.dumps(fields | {name: value}))
    derivations.clear()
    message = refused(path)
    if derivations:
        assert plausible
        assert "altered" in message
    else:
        assert ("does not read" if name in ("format", "kdf") else "damaged") in message


@pytest.mark.parametrize("name", ["format", "kdf", "opslimit", "memlimit_bytes", "salt", "nonce", "ciphertext"])
def test_a_field_that_is_missing_is_refused(path, ring, name):
    fields = json.loads(path.read_text())
    del fields[name]
    path.write_text(json.dumps(fields))
    refused(path)


def test_a_file_cut_anywhere_is_refused(path, ring, derivations):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)
    assert derivations == []  # seen at once, not taken for a wrong passphrase
    path.write_bytes(whole)
    assert Keyring.open(path, PASSPHRASE).active_kid == ring.active_kid


def test_a_changed_byte_anywhere_is_refused(path, ring):
    whole = path.read_bytes()
    spaces = {index for index, byte in enumerate(whole) if byte in b" \n"}
    for index in set(range(len(whole))) - spaces:
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        refused(path)


@pytest.mark.parametrize(
    "junk",
    [b"", b"\0", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b" " * (keys.MAX_FILE_BYTES + 1)],
    ids=lambda junk: repr(junk[:8]),
)
def test_junk_is_refused(path, ring, junk):
    path.write_bytes(junk)
    refused(path)


@pytest.mark.parametrize("change", ["no keys", "two active", "none active", "twice", "kid", "secret", "entry", "naive"])
def test_contents_that_make_no_sense_are_refused(path, ring, change, monkeypatch):
    """Sealed under the right passphrase, so only a fault of ours could write them."""
    real = keys._contents_json

    def wrong(contents):
        inner = json.loads(real(contents))
        (entry,) = inner["keys"]
        if change == "no keys":
            inner["keys"] = []
        elif change == "two active":
            inner["keys"] = [entry, entry]
        elif change == "twice":
            inner["keys"] = [entry | {"retired_at": entry["created_at"]}, entry]
        elif change == "none active":
            entry["retired_at"] = entry["created_at"]
        elif change == "kid":
            entry["kid"] = "another"
        elif change == "secret":
            inner["pseudonym_secret"] = OTHER_16
        elif change == "entry":
            inner["keys"] = ["entry"]
        elif change == "naive":
            entry["created_at"] = "2026-11-23T12:00:00"
        return json.dumps(inner).encode()

    monkeypatch.setattr(keys, "_contents_json", wrong)
    Keyring.create(path.with_name("wrong"), PASSPHRASE, now=NOON, **CHEAP)
    assert "does not hold a key ring" in refused(path.with_name("wrong"))


# --- sign, verify, rotate ----------------------------------------------------------------------------------


def test_a_rotation_keeps_old_vouchers_good_and_signs_new_ones_with_the_new_key(path, ring):
    old_kid, old_voucher = ring.active_kid, ring.sign(TYPE, CLAIMS)
    new_kid = ring.rotate(now=NOON + DAY)
    assert ring.active_kid == new_kid != old_kid
    for each in (ring, Keyring.open(path, PASSPHRASE)):
        assert each.verify(old_voucher, TYPE) == CLAIMS
        assert each.sign_as(old_kid, TYPE, CLAIMS) == old_voucher
        new_voucher = each.sign(TYPE, CLAIMS)
        assert each.verify(new_voucher, TYPE) == CLAIMS
        assert jws.parse(new_voucher, header_type=TYPE).kid == new_kid
        assert each.listing() == [(old_kid, NOON, NOON + DAY), (new_kid, NOON + DAY, None)]


def test_a_rotation_renews_salt_and_nonce_and_keeps_the_limits(path):
    ring = Keyring.create(path, PASSPHRASE, now=NOON, opslimit=2, memlimit=16384)
    before = json.loads(path.read_text())
    ring.rotate(now=NOON)
    after = json.loads(path.read_text())
    assert all(before[name] != after[name] for name in ("salt", "nonce", "ciphertext"))
    assert (after["opslimit"], after["memlimit_bytes"]) == (2, 16384)


def test_a_rotation_costs_one_derivation_if_nobody_else_wrote(ring, derivations):
    derivations.clear()
    ring.rotate(now=NOON)
    assert len(derivations) == 1


def test_a_file_never_grows_beyond_what_is_read(path, ring, monkeypatch):
    before, kid = path.read_bytes(), ring.active_kid
    monkeypatch.setattr(keys, "MAX_FILE_BYTES", len(before) + 10)
    with pytest.raises(KeyFileInvalid, match="grow"):
        ring.rotate(now=NOON)
    assert (path.read_bytes(), ring.active_kid) == (before, kid)
    monkeypatch.setattr(keys, "MAX_FILE_BYTES", len(before))
    Keyring.open(path, PASSPHRASE)
    monkeypatch.setattr(keys, "MAX_FILE_BYTES", len(before) - 1)
    assert "too large" in refused(path)


def test_kids_are_thumbprints_and_times_are_utc(ring):
    paris = dt.timezone(dt.timedelta(hours=1))
    kid = ring.rotate(now=(NOON + DAY).astimezone(paris))
    (published, _) = ring.public_jwks(now=NOON + DAY, keep=DAY)["keys"]
    assert published["kid"] == kid == jws.thumbprint(jws.parse_public_jwk(published))
    assert {instant.tzinfo for _, *instants in ring.listing() for instant in instants if instant} == {dt.UTC}


def test_an_instant_without_time_zone_is_refused(path, ring):
    naive = NOON.replace(tzinfo=None)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="time zone"):
        ring.rotate(now=naive)
    with pytest.raises(ValueError, match="time zone"):
        ring.public_jwks(now=naive, keep=DAY)
    assert path.read_bytes() == before


def test_tokens_of_others_are_refused(tmp_path, ring):
    stranger = Keyring.create(tmp_path / "stranger", PASSPHRASE, now=NOON, **CHEAP)
    with pytest.raises(BadToken, match="unknown kid"):
        ring.verify(stranger.sign(TYPE, CLAIMS), TYPE)
    body = stranger.sign(TYPE, CLAIMS).split(".")
    ours = ring.sign(TYPE, CLAIMS).split(".")
    with pytest.raises(BadToken, match="signature"):
        ring.verify(".".join([ours[0], ours[1], body[2]]), TYPE)
    with pytest.raises(BadToken, match="typ"):
        ring.verify(ring.sign("order+jwt", CLAIMS), TYPE)
    with pytest.raises(BadToken):
        ring.verify("", TYPE)


def test_a_key_that_was_never_ours_signs_nothing(ring):
    with pytest.raises(KeyFileInvalid, match="does not hold"):
        ring.sign_as("never", TYPE, CLAIMS)


# --- what the world sees -----------------------------------------------------------------------------------


def test_the_jwks_has_the_active_key_and_those_retired_lately(ring):
    first = ring.active_kid
    second = ring.rotate(now=NOON + DAY)
    third = ring.rotate(now=NOON + 2 * DAY)

    def kids(now):
        return [key["kid"] for key in ring.public_jwks(now=now, keep=3 * DAY)["keys"]]

    second_of_time = dt.timedelta(seconds=1)
    assert kids(NOON + 2 * DAY) == [third, second, first]
    assert kids(NOON + 4 * DAY - second_of_time) == [third, second, first]
    assert kids(NOON + 4 * DAY) == [third, second]
    assert kids(NOON + 400 * DAY) == [third]


def test_the_jwks_has_public_members_only(ring):
    (key,) = ring.public_jwks(now=NOON, keep=DAY)["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use"}
    assert (key["kty"], key["crv"], key["use"]) == ("OKP", "Ed25519", "sig")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_merchants_verify_with_any_library_and_the_jwks(ring):
    old = ring.sign(TYPE, CLAIMS)
    ring.rotate(now=NOON)
    published = json.loads(json.dumps(ring.public_jwks(now=NOON, keep=DAY)))
    key_set = KeySet.import_key_set(published)
    for voucher in (old, ring.sign(TYPE, CLAIMS)):
        assert joserfc_jwt.decode(voucher, key_set, algorithms=["EdDSA"]).claims == CLAIMS
        key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(voucher)["kid"]]
        assert jwt.decode(voucher, key, algorithms=["EdDSA"]) == CLAIMS


def test_merchants_cannot_compare_notes(path, ring):
    names = {ring.pseudonym(purse, merchant) for purse in (ALICE, BOB) for merchant in (BAKERY, KIOSK)}
    assert len(names) == 4
    assert ring.pseudonym(ALICE, BOB) != ring.pseudonym(BOB, ALICE)
    assert {len(jws.unb64url(name)) for name in names} == {16}
    before = ring.pseudonym(ALICE, BAKERY)
    ring.rotate(now=NOON)
    ring.change_passphrase("une autre phrase")
    assert ring.pseudonym(ALICE, BAKERY) == before
    assert Keyring.open(path, "une autre phrase").pseudonym(ALICE, BAKERY) == before


def test_a_derived_secret_is_its_own_for_each_purpose_id_and_number_and_outlives_a_rotation(path, ring):
    asked = [("webhook", ALICE, 1), ("webhook", ALICE, 2), ("webhook", BOB, 1), ("seal", ALICE, 1)]
    secrets = {ring.derive(*question) for question in asked}
    assert len(secrets) == 4
    assert {len(secret) for secret in secrets} == {32}
    assert jws.b64url(ring.derive("webhook", ALICE, 1)[:16]) != ring.pseudonym(ALICE, BAKERY)
    ring.rotate(now=NOON)
    assert {Keyring.open(path, PASSPHRASE).derive(*question) for question in asked} == secrets
    with pytest.raises(ValueError, match="purpose"):
        ring.derive("", ALICE, 1)


def test_no_secret_is_ever_shown(path, ring, caplog):
    caplog.set_level(logging.DEBUG)
    ring.rotate(now=NOON)
    path.write_bytes(b"damaged")
    ring.listing()
    seeds = [bytes(key.signing) for key in ring._contents.keys.values()]
    secrets = [*seeds, ring._contents.pseudonym_secret]
    shown = f"{ring!r} {ring} {ring._contents!r} {list(ring._contents.keys.values())!r} {caplog.text}"
    assert ring.active_kid in repr(ring)
    assert "going on" in caplog.text.lower()
    assert PASSPHRASE not in shown
    for secret in secrets:
        assert not any(form in shown for form in (repr(secret)[2:-1], secret.hex(), jws.b64url(secret)))


def test_nothing_readable_is_in_the_file(path, ring):
    raw = path.read_bytes()
    for key in ring._contents.keys.values():
        for secret in (key.kid.encode(), jws.b64url(bytes(key.signing)).encode(), PASSPHRASE.encode()):
            assert secret not in raw


def test_a_keyring_is_not_pickled_by_accident(ring):
    with pytest.raises(TypeError):
        pickle.dumps(ring)


# --- the passphrase ----------------------------------------------------------------------------------------


def test_a_changed_passphrase_opens_the_same_keys(path, ring):
    ring.rotate(now=NOON)
    ring.change_passphrase("une autre phrase")
    assert "passphrase" in refused(path)
    opened = Keyring.open(path, "une autre phrase")
    assert opened.listing() == ring.listing()
    assert len(opened.listing()) == 2
    ring.rotate(now=NOON)
    assert len(Keyring.open(path, "une autre phrase").listing()) == 3


def test_a_short_new_passphrase_changes_nothing(path, ring):
    before = path.read_bytes()
    with pytest.raises(KeyFileInvalid, match="12 characters"):
        ring.change_passphrase("trop courte")
    assert path.read_bytes() == before


# --- several keyrings on one file --------------------------------------------------------------------------


def test_another_keyring_sees_a_rotation_within_a_second(path, ring, clock):
    other = Keyring.open(path, PASSPHRASE)
    old = other.active_kid
    new = ring.rotate(now=NOON)
    clock.now += 0.9
    assert other.active_kid == old
    clock.now += 0.2
    assert other.active_kid == new
    assert jws.parse(other.sign(TYPE, CLAIMS), header_type=TYPE).kid == new


def test_an_unknown_kid_is_looked_for_at_once(path, ring, clock):
    verifier, signer, publisher, lister = (Keyring.open(path, PASSPHRASE) for _ in range(4))
    new = ring.rotate(now=NOON)
    voucher = ring.sign(TYPE, CLAIMS)
    assert verifier.verify(voucher, TYPE) == CLAIMS
    assert signer.sign_as(new, TYPE, CLAIMS) == voucher
    assert publisher.public_jwks(now=NOON, keep=DAY)["keys"][0]["kid"] == new
    assert lister.listing()[-1][0] == new


def test_looking_costs_no_argon2id_while_nothing_changed(path, ring, clock, derivations):
    stranger = Keyring.create(path.with_name("stranger"), PASSPHRASE, now=NOON, **CHEAP)
    strange = stranger.sign(TYPE, CLAIMS)
    derivations.clear()
    for _ in range(20):
        clock.now += 2
        ring.sign(TYPE, CLAIMS)
        with pytest.raises(BadToken):
            ring.verify(strange, TYPE)
    assert derivations == []


def test_signing_does_not_look_at_the_file_more_than_once_a_second(path, ring, clock, monkeypatch):
    looks: list[Path] = []
    real = Path.stat
    monkeypatch.setattr(keys, "_read", looks.append)

    def watched(self, **options):
        looks.append(self)
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", watched)
    for _ in range(100):
        ring.sign(TYPE, CLAIMS)
    clock.now += 1.5
    for _ in range(100):
        ring.verify(ring.sign(TYPE, CLAIMS), TYPE)
    assert looks == [path]


def test_a_file_that_cannot_be_read_leaves_the_keys_in_use(path, ring, clock, caplog, derivations):
    whole = path.read_bytes()
    for spoil in (
        lambda: path.write_bytes(b"damaged"),
        lambda: path.unlink(),
        lambda: Keyring.create(path, "not the same passphrase", now=NOON, **CHEAP),
        lambda: path.chmod(0o644),
    ):
        spoil()
        caplog.clear()
        derivations.clear()
        for _ in range(3):
            clock.now += 2
            assert ring.verify(ring.sign(TYPE, CLAIMS), TYPE) == CLAIMS
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert len(derivations) <= 1
        for change in (lambda: ring.rotate(now=NOON), lambda: ring.change_passphrase("une autre phrase")):
            with pytest.raises(KeyFileInvalid):
                change()
    path.write_bytes(whole)
    path.chmod(0o600)
    ring.rotate(now=NOON)
    assert len(ring.listing()) == 2


def test_a_file_made_private_again_is_read(path, ring, clock):
    other = Keyring.open(path, PASSPHRASE)
    new = ring.rotate(now=NOON)
    path.chmod(0o644)
    clock.now += 2
    assert other.active_kid != new
    path.chmod(0o600)
    clock.now += 2
    assert other.active_kid == new


def test_while_one_thread_reads_the_file_the_others_go_on(path, ring, clock, monkeypatch):
    other = Keyring.open(path, PASSPHRASE)
    old = other.active_kid
    new = ring.rotate(now=NOON)
    clock.now += 2
    reading, go = threading.Event(), threading.Event()
    real = keys._unseal

    def slow(*arguments):
        reading.set()
        assert go.wait(60)
        return real(*arguments)

    monkeypatch.setattr(keys, "_unseal", slow)
    thread = threading.Thread(target=other.sign, args=(TYPE, CLAIMS))
    thread.start()
    try:
        assert reading.wait(60)
        clock.now += 2
        assert other.active_kid == old
    finally:
        go.set()
        thread.join()
    assert other.active_kid == new


def test_many_threads_rotate_and_sign_and_nothing_is_lost(path, ring):
    rings = [ring, Keyring.open(path, PASSPHRASE)]
    made, vouchers, faults = [], [], []

    def work(mine):
        try:
            for _ in range(5):
                made.append(mine.rotate(now=NOON))
                vouchers.append(mine.sign(TYPE, CLAIMS))
        except Exception as fault:  # noqa: BLE001 - a thread's fault is the test's
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(rings[index % 2],)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    reopened = Keyring.open(path, PASSPHRASE)
    assert {kid for kid, _, _ in reopened.listing()} == {*made, reopened.listing()[0][0]}
    assert len(reopened.listing()) == 21
    assert all(reopened.verify(voucher, TYPE) == CLAIMS for voucher in vouchers)


def test_behind_a_symbolic_link_the_file_is_replaced_and_not_the_link(path, ring, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.json"
    link.symlink_to(path)
    new = Keyring.open(link, PASSPHRASE).rotate(now=NOON)
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    assert Keyring.open(path, PASSPHRASE).active_kid == new


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_rotates_its_owner_still_reads(path, ring):
    os.chown(path, 12345, 23456)
    path.with_name("keys.json.lock").unlink()
    Keyring.open(path, PASSPHRASE).rotate(now=NOON)
    for file in path.parent.iterdir():
        assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456), file.name


# --- other processes, killed or rival ----------------------------------------------------------------------

ROOT = Path(keys.__file__).parents[2]
IMPORTS = """
import datetime as dt, fcntl, os, signal, sys
from wallet.keys import ring as keys
def say(word):
    print(word, flush=True)
def hear():
    assert sys.stdin.readline()
"""
NOW = f"now = dt.datetime.fromisoformat({NOON.isoformat()!r})\n"
OPEN = f"ring = keys.Keyring.open(sys.argv[1], {PASSPHRASE!r})\n"
CREATE = f"keys.Keyring.create(sys.argv[1], {PASSPHRASE!r}, now=now, opslimit=1, memlimit=8192)\n"


def start(path, script, opening=OPEN):
    return subprocess.Popen(
        [sys.executable, "-c", IMPORTS + NOW + opening + script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
KILLED_AT = {
    "writing": f"os.fsync = lambda descriptor: {KILLED}",
    "the rename": f"os.replace = lambda *names: {KILLED}",
}


@pytest.mark.parametrize("moment", KILLED_AT)
def test_killed_before_the_rename_the_old_file_opens_and_the_next_rotation_works(path, ring, moment):
    before, old = path.read_bytes(), ring.active_kid
    process = start(path, f"{KILLED_AT[moment]}\nring.rotate(now=now)")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    left = path.with_name("keys.json.new")
    assert left.exists()
    opened = Keyring.open(path, PASSPHRASE)
    assert opened.active_kid == old
    new = opened.rotate(now=NOON)
    assert not left.exists()
    assert [kid for kid, _, _ in Keyring.open(path, PASSPHRASE).listing()] == [old, new]


def test_killed_after_the_rename_the_new_file_opens(path, ring):
    old = ring.active_kid
    script = f"keys._sync_directory = lambda folder: {KILLED}\nring.rotate(now=now)"
    process = start(path, script)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    listed = [kid for kid, _, _ in Keyring.open(path, PASSPHRASE).listing()]
    assert (len(listed), listed[0]) == (2, old)


def test_killed_while_creating_the_file_is_whole_and_stays_whole(path):
    """Between link and unlink one file has two names: the next writer must not cut it short by the other."""
    unlink = f"""
import pathlib
pathlib.Path.unlink = lambda self, **options: self.exists() and {KILLED}
"""
    process = start(path, CREATE, opening=unlink)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.stat().st_nlink == 2
    with path.open("rb") as before:  # held open, so that its inode cannot be given to the new file
        Keyring.open(path, PASSPHRASE).rotate(now=NOON)
        assert not os.path.samestat(os.fstat(before.fileno()), path.stat())
    assert path.stat().st_nlink == 1
    assert len(Keyring.open(path, PASSPHRASE).listing()) == 2


def test_the_bytes_are_on_disk_before_their_name_is(path, ring, monkeypatch):
    events = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        status = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        real_fsync(descriptor)

    def rename(source, target):
        events.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    ring.rotate(now=NOON)
    assert events == [f"{path.stat().st_size} bytes", "rename", "folder"]


def test_a_full_disk_changes_nothing(path, ring, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    before, old = path.read_bytes(), ring.active_kid
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeyFileInvalid, match="No space left"):
            ring.rotate(now=NOON)
    assert path.read_bytes() == before
    assert ring.active_kid == old
    ring.rotate(now=NOON)


def test_a_second_process_waits_for_the_first(path, ring):
    """The first stops between reading and renaming; the second must be kept out until it is done."""
    first = start(
        path,
        """
rename = os.replace
def slowly(*names):
    say("about to rename")
    hear()
    rename(*names)
os.replace = slowly
say(ring.rotate(now=now))
""",
    )
    second = start(
        path,
        """
flock = fcntl.flock
def watched(descriptor, operation):
    try:
        flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting")
        flock(descriptor, operation)
fcntl.flock = watched
hear()
say(ring.rotate(now=now))
""",
    )
    with first, second:
        assert first.stdout.readline() == "about to rename\n"
        second.stdin.write("\n")
        second.stdin.flush()
        assert second.stdout.readline() == "waiting\n"
        made_first = first.communicate("\n")[0].strip()
        made_second = second.communicate()[0].strip()
    listed = [kid for kid, _, _ in Keyring.open(path, PASSPHRASE).listing()]
    assert listed == [ring.listing()[0][0], made_first, made_second]


def test_two_processes_rotating_at_once_lose_no_key(path, ring):
    script = "say('ready')\nhear()\nfor _ in range(10): say(ring.rotate(now=now))"
    first, second = start(path, script), start(path, script)
    with first, second:
        for process in (first, second):
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            process.stdin.write("\n")
            process.stdin.flush()
        made = {kid for process in (first, second) for kid in process.communicate()[0].split()}
    opened = Keyring.open(path, PASSPHRASE)
    assert len(made) == 20
    assert {kid for kid, _, _ in opened.listing()[1:]} == made
    assert [retired for _, _, retired in opened.listing()].count(None) == 1
    assert opened.listing() == ring.listing()


def test_a_file_that_is_quickly_guessed_is_known_for_it(tmp_path, ring):
    assert not ring.is_well_sealed
    assert Keyring.create(tmp_path / "good.keys", PASSPHRASE, now=NOON).is_well_sealed

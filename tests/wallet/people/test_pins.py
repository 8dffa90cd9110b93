"""PINs and passphrases: which are refused, that the database alone gives nothing away, and who waits for whom."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import nacl.pwhash
import pytest

from tests.network import PATIENCE_SECONDS
from tests.support import PASSPHRASE, cheap_key_file, cheap_keyring
from wallet.ground import clock
from wallet.ground.db import Database
from wallet.ground.errors import Unavailable, ValidationFailed
from wallet.keys.ring import Keyring
from wallet.people import pins
from wallet.tables.people import IdentityKind

ROOT = Path(__file__).resolve().parents[3]
PIN = "274951"
SHOPPER, OPERATOR = IdentityKind.SHOPPER, IdentityKind.OPERATOR


def refused(kind: IdentityKind, secret: str, identifier: str = "ada@shoppers.example") -> bool:
    try:
        pins.store(cheap_keyring(), kind, secret, identifier=identifier)
    except ValidationFailed as refusal:
        return list(refusal.errors or {}) == ["pin"]
    return False


def matches(keyring: Keyring, stored: str | None, secret: str) -> bool:
    with pins.KNOWN.wait():
        return pins.KNOWN.matches(keyring, stored, secret)


def test_whatever_a_test_does_hashing_inside_a_transaction_fails_it(db: Database) -> None:
    with db.write(), pytest.raises(AssertionError, match="inside a write transaction"):
        pins.store(cheap_keyring(), SHOPPER, PIN, identifier="")
    with db.settle(), pytest.raises(AssertionError, match="inside a write transaction"):
        matches(cheap_keyring(), None, PIN)
    with db.write(), pytest.raises(AssertionError, match="inside a write transaction"):
        Keyring.open(cheap_key_file(), PASSPHRASE)
    assert pins.store(cheap_keyring(), SHOPPER, PIN, identifier="")


@pytest.mark.parametrize("pin", ["12345", "1234567890123", "12345x", "", "١٢٣٤٥٦", "274 951"])
def test_a_pin_is_six_to_twelve_digits(pin: str) -> None:
    assert refused(SHOPPER, pin)
    assert refused(IdentityKind.MEMBER, pin)


@pytest.mark.parametrize(
    "pin",
    [
        *("111111", "000000", "123456", "654321", "012345", "890123", "987654", "1234567890", "0987654321"),
        *("112233", "332211", "445566", "111222", "122122", "121212", "123123", "274274", "27492749", "100001"),
        *("123321", "274472", "123789", "456123", "123654", "789456", "147258", "741852", "159753", "258369", "369147"),
        *("135791", "246802", "102030", "101112", "142536", "202122", "112358", "147896", "999999999999"),
        # Days as the French, the Americans and computers write them, and months.
        *("010190", "311299", "123199", "900101", "290296", "010203", "140789", "071489", "199001", "011990", "122024"),
        *("19900101", "01011990", "12311999", "31121999", "20240229", "14071989"),
    ],
)
def test_a_pin_that_many_choose_is_refused_and_the_words_say_why(pin: str) -> None:
    assert refused(SHOPPER, pin)
    with pytest.raises(ValidationFailed, match="wrong") as refusal:
        pins.store(cheap_keyring(), SHOPPER, pin, identifier="")
    assert "too easy to guess" in (refusal.value.errors or {})["pin"][0]


@pytest.mark.parametrize("pin", [PIN, "385062", "271828", "314159", "834517", "69208413", "99000101"])
def test_other_pins_are_fine(pin: str) -> None:
    assert not refused(SHOPPER, pin)


def test_the_digits_of_somebodys_own_address_are_no_pin() -> None:
    assert refused(SHOPPER, PIN, "ada274951@shoppers.example")
    assert refused(SHOPPER, PIN, "ada27.49-51@shoppers.example")


def test_few_of_all_pins_are_refused() -> None:
    """A guesser knows the rules, too: they must not leave little to guess at."""
    allowed = sum(not pins._is_common_pin(f"{number:06d}") for number in range(0, 1_000_000, 7))
    assert allowed * 7 > 850_000


@pytest.mark.parametrize(
    "passphrase",
    [
        *("short", "x" * 201, "a" * 12, "abababababab", "passwordpassword", "Password1234", "password-2024!"),
        *("123456789012", "abcdefghijklm", "qwertyuiopas", "azertyuiopqs", "ADA@shoppers.example", "administrator"),
        *("motdepasse123", "correct horse battery staple", "            ", "1234 1234 1234"),
    ],
)
def test_a_passphrase_that_many_choose_is_refused(passphrase: str) -> None:
    assert refused(OPERATOR, passphrase)
    assert refused(IdentityKind.MERCHANT, passphrase)


def test_other_passphrases_are_fine() -> None:
    for passphrase in ("a passphrase of many letters", "quatre mots sans rapport", "длинная фраза без смысла"):
        assert not refused(OPERATOR, passphrase)


def test_a_guess_costs_what_owasp_asks_for_whoever_it_is_about() -> None:
    script = """
from tests.support import cheap_keyring
from wallet.people import pins
from wallet.tables.people import IdentityKind
print(pins.NOBODYS, pins.store(cheap_keyring(), IdentityKind.SHOPPER, "274951", identifier=""))
"""
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # RFC 9106, section 3.2: KiB of memory, passes, lanes.
    assert [part.split("$")[3] for part in said.split()] == ["m=19456,t=2,p=1"] * 2


def test_the_database_alone_gives_nothing_to_guess_with(tmp_path: Path) -> None:
    stored = pins.store(cheap_keyring(), SHOPPER, PIN, identifier="")
    assert PIN not in stored
    assert matches(cheap_keyring(), stored, PIN)
    assert not matches(cheap_keyring(), stored, "385062")
    assert not matches(cheap_keyring(), None, PIN)
    # Who knows the PIN, but not the keys, cannot even tell that it is right.
    bare = stored.partition(":")[2].encode()
    with pytest.raises(nacl.exceptions.InvalidkeyError):
        nacl.pwhash.verify(bare, PIN.encode())
    others = Keyring.create(tmp_path / "other.keys", PASSPHRASE, now=clock.now(), opslimit=1, memlimit=8192)
    assert not matches(others, stored, PIN)
    # New keys to sign with, another passphrase of the file, and the file of a backup: PINs go on.
    copy = tmp_path / "copy.keys"
    shutil.copy2(cheap_key_file(), copy)
    ours = Keyring.open(copy, PASSPHRASE)
    ours.rotate(now=clock.now())
    ours.change_passphrase("another passphrase of the file")
    assert matches(Keyring.open(copy, "another passphrase of the file"), stored, PIN)


@pytest.mark.parametrize(("line", "other"), [(pins.STRANGERS, pins.KNOWN), (pins.KNOWN, pins.STRANGERS)])
def test_looking_at_secrets_has_its_own_few_places_and_who_finds_the_line_long_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, line: pins.Line, other: pins.Line
) -> None:
    stored, verify = pins.store(cheap_keyring(), SHOPPER, PIN, identifier=""), nacl.pwhash.verify
    goes_on, entered, at_work, most = threading.Event(), threading.Semaphore(0), [0], [0]

    def slow(*asked: Any) -> bool:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        goes_on.wait(60)
        at_work[0] -= 1
        return bool(verify(*asked))

    monkeypatch.setattr(nacl.pwhash, "verify", slow)

    def look() -> bool:
        with line.wait():
            entered.release()
            return line.matches(cheap_keyring(), stored, PIN)

    with ThreadPoolExecutor(line.places) as pool:
        try:
            looks = [pool.submit(look) for _ in range(line.places)]
            for _ in looks:
                assert entered.acquire(timeout=PATIENCE_SECONDS)
            with pytest.raises(Unavailable):
                look()
            # Nobody of the other line waits behind these.
            with other.wait():
                assert other.renewed(cheap_keyring(), PIN) != stored
        finally:
            goes_on.set()
        assert all(look.result(60) for look in looks)
    assert most == [1]
    assert look()


def test_one_who_asks_much_at_once_stands_in_nobodys_way() -> None:
    busy, other = uuid4(), uuid4()
    with ExitStack() as line:
        for _ in range(pins.KNOWN.places - pins.KEPT):
            line.enter_context(pins.KNOWN.wait(busy))
        with pytest.raises(Unavailable):
            pins.store(cheap_keyring(), SHOPPER, PIN, identifier="", by=busy)
        assert pins.store(cheap_keyring(), SHOPPER, PIN, identifier="", by=other)
    assert pins.store(cheap_keyring(), SHOPPER, PIN, identifier="", by=busy)

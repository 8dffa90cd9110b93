"""What the tests of the wallet's rooms ask for."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from settlement.audit.checks import audit
from tests.support import PASSPHRASE, cheap_key_file
from tests.wallet.scene import Scene
from wallet.ground.db import Database
from wallet.ground.money import EXPONENTS, LISTED
from wallet.keys.ring import Keyring


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """Keys of this test's own, which it may rotate."""
    path = tmp_path / "scene.keys"
    shutil.copy2(cheap_key_file(), path)
    return Keyring.open(path, PASSPHRASE)


@pytest.fixture
def scene(db: Database, keyring: Keyring) -> Iterator[Scene]:
    """A wallet at noon of its first day. Whatever the test did to it, the whole audit must hold afterwards."""
    scene = Scene(db, keyring)
    yield scene
    assert [check for check in audit(db) if not check.ok] == []


@pytest.fixture
def iso_drops_the_lev(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """ISO 4217 has the lev as it had it until 2025; called, it has dropped it, and a process starts that never knew."""
    for known in (LISTED, EXPONENTS):
        monkeypatch.setitem(known, "BGN", 2)

    def drop() -> None:
        for known in (LISTED, EXPONENTS):
            monkeypatch.delitem(known, "BGN")

    return drop

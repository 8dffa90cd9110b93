"""What the tests of the wallet's rooms ask for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.audit import audit
from tests.support import PASSPHRASE, cheap_key_file
from tests.wallet.scene import Scene
from wallet.db import Database
from wallet.keys import Keyring


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

"""Fixtures of the fault tests: a nursery for each worker, and a ground for each test on each database."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.ground import FILE_LIMIT, Ground, Nursery
from tests.support import make_settings


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process that forks the wallets which die."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what a process wrote survives its death without a disk to wait for."""
    if not os.access("/dev/shm", os.W_OK | os.X_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="obole-faults-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ground(
    nursery: Nursery, database_kind: str, database_url: str, memory: Path, request: pytest.FixtureRequest
) -> Ground:
    """A scene to be set."""
    admin = request.getfixturevalue("postgresql_admin") if database_kind == "postgresql" else None
    scene = memory / "scene"
    scene.mkdir()
    return Ground(make_settings(scene, database_url, bank_file_limit=FILE_LIMIT), nursery, admin)

"""Fixtures of the fault tests: a nursery for each worker, and a ground for each test on each database."""

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
def ground(
    nursery: Nursery, database_kind: str, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Ground:
    """A scene to be set."""
    admin = request.getfixturevalue("postgresql_admin") if database_kind == "postgresql" else None
    scene = tmp_path / "scene"
    scene.mkdir()
    return Ground(make_settings(scene, database_url, bank_file_limit=FILE_LIMIT), nursery, admin)

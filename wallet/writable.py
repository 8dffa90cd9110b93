"""Writable: whether database and folders take what the wallet must write, found out by writing.

Invariant: nothing is left behind. Rights and free space alone do not tell: a quota, a limit, a server that became a
standby say no to the bytes.
"""

import tempfile
from uuid import UUID

from sqlalchemy.engine import Connection

from wallet.ground import clock
from wallet.ground.db import Database, machine_failed
from wallet.ground.errors import OutcomeUnknown, Unavailable
from wallet.settings import Settings
from wallet.tables.books import idempotency_keys

_NOBODY = UUID(int=0)
_BYTES = bytes(4096)


def check(database: Database, settings: Settings) -> None:
    """Raise `Unavailable`, saying why, unless the database and every folder of the wallet can be written to."""
    try:
        for folder in {tempfile.gettempdir(), *(str(folder) for folder in settings.folders if folder.exists())}:
            with tempfile.NamedTemporaryFile(prefix=".obole-", dir=folder, buffering=0) as file:
                file.write(_BYTES)
    except OSError as error:
        raise machine_failed(error) from error
    try:
        with database.write() as conn:
            _write_and_take_back(conn)
    except OutcomeUnknown as error:
        raise Unavailable("The database cannot be written to.") from error


def is_so(database: Database, settings: Settings) -> bool:
    """Whether `check` passes."""
    try:
        check(database, settings)
    except Unavailable:
        return False
    return True


def _write_and_take_back(conn: Connection) -> None:
    row = {"owner_id": _NOBODY, "key": "writable", "fingerprint": b"", "status": 0, "body": b""}
    conn.execute(idempotency_keys.insert().values(**row, recorded_at=clock.now()))
    mine = (idempotency_keys.c.owner_id == _NOBODY) & (idempotency_keys.c.key == row["key"])
    conn.execute(idempotency_keys.delete().where(mine))

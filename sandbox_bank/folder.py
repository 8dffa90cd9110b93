"""The folder: what is waiting in it, and how a file is put down or taken away.

Invariant: a reader never sees half a file, but where the bank was told to upload slowly. A file is written under a
hidden name, flushed to the disk, then renamed; the directory is flushed too, so that a name that was seen survives a
power cut.
"""

import fcntl
import io
import os
import shlex
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox_bank.errors import NotPrivate

OUTBOX, INBOX, PROCESSED, ORDERS = "outbox", "inbox", "processed", "orders"
BOOKS = "bank.sqlite3"


def lay_out(folder: Path) -> None:
    """Make the folder's four directories where they are missing."""
    for name in (OUTBOX, INBOX, PROCESSED, ORDERS):
        path = folder / name
        for each in (*reversed(path.parents), path):
            if not each.is_dir():
                each.mkdir(0o700, exist_ok=True)


def check(folder: Path) -> None:
    """Raise `NotPrivate` where another account of this machine may open the folder or the books in it.

    A group may pass through the folder, where the wallet lets one exchange files there.
    """
    for path, allowed in ((folder, stat.S_IXGRP), (folder / BOOKS, 0)):
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed:
            raise NotPrivate(
                f"other accounts of this machine may open {path}; close it: chmod -R go= {shlex.quote(str(path))}"
            )


def private(name: str, flags: int) -> int:
    """For `open`: what it makes is a file for this account alone, whatever the umask."""
    return os.open(name, flags, 0o600)


@contextmanager
def one_pass_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: a second bank waits. The kernel drops it however the process dies."""
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def waiting(directory: Path, suffix: str) -> list[Path]:
    """Finished files, by name: regular, visible, with the suffix. Whatever else lies there is ignored,

    names that are no text or leave no room for a suffix included.
    """
    return sorted(path for path in directory.iterdir() if path.suffix == suffix and _is_finished(path))


def _is_finished(path: Path) -> bool:
    name = path.name
    plain = not name.startswith(".") and name.isprintable() and len(name.encode()) <= 200
    return plain and stat.S_ISREG(path.lstat().st_mode)


def put(directory: Path, name: str, body: bytes) -> None:
    """Write a whole file or none; the same name again is replaced by the same bytes."""
    hidden = directory / f".{name}.part"
    with open(hidden, "wb", opener=private) as handle:
        handle.write(body)
        handle.flush()
        os.fsync(handle.fileno())
    hidden.replace(directory / name)
    _flush(directory)


def begin(directory: Path, name: str, body: bytes) -> None:
    """Half of the file, under its final name, as software that writes in place leaves it for a while."""
    with open(directory / name, "wb", opener=private) as handle:
        handle.write(body[: len(body) // 2])


def finish(directory: Path, name: str, body: bytes) -> None:
    """The whole of a file that was begun; where somebody has taken the half away, it is written anew."""
    path = directory / name
    with open(path, "r+b" if path.exists() else "wb", opener=private) as handle:
        handle.write(body)
        handle.flush()
        os.fsync(handle.fileno())
    _flush(directory)


def packed(name: str, bodies: list[bytes]) -> bytes:
    """Files in a ZIP container; same arguments, same bytes."""
    container = io.BytesIO()
    with zipfile.ZipFile(container, "w", zipfile.ZIP_DEFLATED) as opened:
        for number, body in enumerate(bodies, start=1):
            member = zipfile.ZipInfo(f"{name}.{number}.xml")
            member.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(member, body)
    return container.getvalue()


def move(source: Path, target: Path) -> None:
    """Rename, unless it was done already by a pass that died right after."""
    if source.exists():
        source.replace(target)
        _flush(target.parent)


def _flush(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

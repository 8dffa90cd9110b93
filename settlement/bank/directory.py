"""The directory connector: a folder shared with the bank's own software (EBICS client, SFTP daemon, sandbox bank).

``outbox/`` is the bank's to empty, ``inbox/`` ours. ``staged/`` is where files wait, on the same file system, so
that handing one over is a single rename. Names beginning with a dot are somebody's unfinished writing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = ("staged", "outbox", "inbox", "imported", "refused")


class Directory:
    """A `settlement.bank.Connector` over ``folder``, which is created with its subfolders if need be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)

    def stage(self, message_id: str, content: bytes) -> None:
        staged, unfinished = self._folder / "staged", self._unfinished(message_id)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(staged / f"{message_id}.xml")
        _sync(staged)

    def hand_over(self, message_id: str) -> bool:
        name = f"{message_id}.xml"
        try:
            (self._folder / "staged" / name).rename(self._folder / "outbox" / name)
        except FileNotFoundError:
            return False
        finally:
            # Whoever renamed it, the rename must be on disk before anyone records that it happened.
            _sync(self._folder / "outbox")
            _sync(self._folder / "staged")
        return True

    def take_back(self, message_id: str) -> bool:
        unfinished = self._unfinished(message_id)
        try:
            (unfinished.parent / f"{message_id}.xml").rename(unfinished)
        except FileNotFoundError:
            return unfinished.exists()
        _sync(unfinished.parent)
        return True

    def answers(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted((self._folder / "inbox").iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            try:
                yield path.name, path.read_bytes()
            except FileNotFoundError:
                continue  # another process of ours put it away meanwhile

    def put_away(self, name: str, *, refused: bool) -> None:
        target = self._folder / ("refused" if refused else "imported") / name
        try:
            (self._folder / "inbox" / name).rename(target)
        except FileNotFoundError:
            return
        _sync(target.parent)

    def _unfinished(self, message_id: str) -> Path:
        return self._folder / "staged" / f".{message_id}.part"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The directory connector: a folder shared with the bank's own software (EBICS client, SFTP daemon, sandbox bank).

``outbox/`` is the bank's to empty, ``inbox/`` ours. ``staged/`` is where files wait, on the same file system, so
that handing one over is a single rename. All of it is the wallet's account's alone, or where the bank's software runs
as another account, `outbox/` and `inbox/` are a group's too.

Invariant: a file in the inbox is read when it is whole, and nothing waits there in silence. It is whole when its own
end is there; one that does not show its end, when nothing has been added to it for a minute. One that ends in the
middle waits, and is given up, with that for a reason, when nothing has been added to it for an hour. It is put away
only as long as it is still what was read, and never over another.
"""

import contextlib
import datetime as dt
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import structlog

from settlement.bank import Answer
from settlement.bank.formats.xml import MAX_BYTES
from wallet.ground import private
from wallet.ground.errors import SettingsInvalid

_FOLDERS = ("staged", "outbox", "inbox", "imported", "refused")
_SHARED = ("outbox", "inbox")
# A group passes through the folder, and exchanges files in two of its own, which hand the group on to each file.
_PASSED, _EXCHANGED, _HANDED_OVER = 0o710, 0o2770, 0o640

# How uploading programs call what they have not finished, whatever it will be called then.
_UNFINISHED = (
    ".part",
    ".partial",
    ".filepart",
    ".crdownload",
    ".download",
    ".tmp",
    ".temp",
    ".swp",
    ".writing",
    ".uploading",
    ".lock",
    "~",
)
_QUIET_SECONDS, _PATIENCE_SECONDS = 60, 60 * 60
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# How much of either end of a file is looked at: the end of a ZIP with the longest comment (APPNOTE.TXT 4.3.16).
_ENDS = 22 + 0xFFFF
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ROOT = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^<>\[\]]*>)*+<([^\s<>/!?]+)([^<>]*/>\s*\Z)?", re.DOTALL)
_MOST_REMARKS = 100
_LONGEST_NAME = 200

# Size and time of the last change: what lies under a name is the same as long as these are. Not the inode, which some
# network file systems make up anew at each look.
_Mark: TypeAlias = tuple[int, int]

log = structlog.get_logger()


def check(folder: Path, group: int | None) -> None:
    """Raise `SettingsInvalid` if an account may open the folder that has no business there (see `Directory`)."""
    private.check(folder / name for name in _FOLDERS if name not in _SHARED)
    private.check([folder, *(folder / name for name in _SHARED)], group=group)


class Directory:
    """A `settlement.bank.Connector` over ``folder``, which is created with its subfolders if need be.

    ``group`` is the number of one whose accounts exchange files with the bank, where this wallet's account does not.
    """

    def __init__(self, folder: Path, group: int | None = None) -> None:
        self._folder, self._group = folder, group
        for name in _FOLDERS:
            private.make_folder(folder / name)
        if group is not None:
            self._share(folder, group, _PASSED)
            for name in _SHARED:
                self._share(folder / name, group, _EXCHANGED)
        # What is in the inbox: since when it is as it is, what was said of it, and what could not be moved away.
        self._since: dict[str, tuple[_Mark, dt.datetime]] = {}
        self._said: set[tuple[str, str]] = set()
        self._stuck: dict[str, tuple[object, bool]] = {}

    def stage(self, message_id: str, content: bytes) -> None:
        staged, unfinished = self._folder / "staged", self._unfinished(message_id)
        with open(unfinished, "wb", opener=private.opener) as file:
            if self._group is not None:
                os.fchown(file.fileno(), -1, self._group)
                os.fchmod(file.fileno(), _HANDED_OVER)
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

    def answers(self, *, at: dt.datetime) -> Iterator[Answer]:
        names = sorted(path.name for path in (self._folder / "inbox").iterdir())
        self._since = {name: since for name, since in self._since.items() if name in names}
        self._stuck = {name: stuck for name, stuck in self._stuck.items() if name in names}
        self._said = {(name, what) for name, what in self._said if name in names}
        for name in names:
            try:
                answer = self._look_at(name, at)
            except FileNotFoundError:
                continue  # another process of ours put it away meanwhile
            except OSError as error:
                self._say("bank file cannot be read", name, reason=error.strerror)
                continue
            if answer is not None:
                yield answer

    def put_away(self, answer: Answer, *, refused: bool) -> None:
        source, folder = self._folder / "inbox" / answer.name, self._folder / ("refused" if refused else "imported")
        try:
            mark = _mark(source.lstat())
            if mark != answer.mark:
                return  # more was written to it, or another came under its name: the next look reads that
            private.make_folder(folder)
            target = _free(folder, answer.name)
            source.rename(target)
            if _mark(target.lstat()) != mark:
                target.rename(_free(source.parent, answer.name))
            else:
                _close_to_others(target)
            _sync(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            # The next look tries again to move it, and does not read it again.
            self._stuck[answer.name] = answer.mark, refused
            self._say("bank file cannot be put away", answer.name, reason=error.strerror)

    def _share(self, folder: Path, group: int, mode: int) -> None:
        found = folder.stat()
        if (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, mode):
            return
        try:
            os.chown(folder, -1, group)
            folder.chmod(mode)
        except PermissionError:
            raise SettingsInvalid(
                f"{folder} cannot be given to the group of OBOLE_BANK_GROUP: the wallet's account must own it and be "
                "in that group."
            ) from None

    def _unfinished(self, message_id: str) -> Path:
        return self._folder / "staged" / f".{message_id}.part"

    def _look_at(self, name: str, at: dt.datetime) -> Answer | None:
        """The file as an answer, or None where there is none (yet)."""
        path = self._folder / "inbox" / name
        found = path.lstat()
        mark = _mark(found)
        stuck = self._stuck.pop(name, None)
        if stuck is not None and stuck[0] == mark:
            self.put_away(Answer(name, b"", mark), refused=stuck[1])
            return None
        quiet = self._quiet_seconds(name, mark, at)
        if name.startswith(".") or name.lower().endswith(_UNFINISHED):
            if not name.startswith(".") and quiet >= _PATIENCE_SECONDS:
                self._say("bank file has the name of one that is not finished", name)
            return None
        if stat.S_ISLNK(found.st_mode):
            flaw = "It is a link to somewhere else, and only files in the folder itself are read."
            return Answer(name, os.fsencode(path.readlink()), mark, flaw)
        if not stat.S_ISREG(found.st_mode):
            self._say("only files are read in the bank's inbox", name)
            return None
        return self._read(path, mark, quiet)

    def _read(self, path: Path, mark: _Mark, quiet: int) -> Answer | None:
        # Neither a link nor a pipe that has taken its place meanwhile is waited on.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            whole, flaw = _is_whole(file, mark[0]), None
            if whole is False:
                if quiet < _PATIENCE_SECONDS:
                    self._say("bank file is not whole yet", path.name)
                    return None
                flaw = "It ends in the middle, and nothing has been added to it for an hour."
            elif whole is None and quiet < _QUIET_SECONDS:
                return None
            content = _part(file, 0, MAX_BYTES + 1)
            if _mark(os.fstat(descriptor)) != mark:
                return None  # it is being written after all
        return Answer(path.name, content, mark, flaw)

    def _quiet_seconds(self, name: str, mark: _Mark, at: dt.datetime) -> int:
        """For how long it has been as it is: by its own time, or as long as we have looked, if its clock is ahead."""
        known, since = self._since.get(name, (mark, at))
        # Our own clock may have been ahead, and been set right.
        since = at if known != mark else min(since, at)
        self._since[name] = mark, since
        second = dt.timedelta(seconds=1)
        return max((at - _EPOCH) // second - mark[1] // 10**9, (at - since) // second)

    def _say(self, what: str, name: str, **more: str | None) -> None:
        """Into the log, once as long as it lies there."""
        if (name, what) not in self._said:
            self._said.add((name, what))
            log.warning(what, name=os.fsencode(name).decode("utf-8", "replace"), **more)


def _mark(found: os.stat_result) -> _Mark:
    return found.st_size, found.st_mtime_ns


def _is_whole(file: BinaryIO, size: int) -> bool | None:
    """Whether a file of so many bytes is all there; None for what does not show its end."""
    head, tail = _part(file, 0, _ENDS), _part(file, max(size - _ENDS, 0), _ENDS)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_is_whole(file, tail)
    # Without its zeros UTF-16 looks like what it is.
    text, end = head.replace(b"\0", b""), tail.replace(b"\0", b"").rstrip()
    for byte_order_mark in _BYTE_ORDER_MARKS:
        text = text.removeprefix(byte_order_mark)
    text = text.lstrip()
    if not text:
        return False if len(head) == size else None
    if not text.startswith(b"<"):
        return None
    root = _ROOT.match(text)
    if root is None:
        return False
    if root.group(2) is not None and len(head) == size:
        return True
    # Of several documents each may have a prefix of its own.
    last = _last_tag(end)
    return last.startswith(b"</") and last[2:-1].rpartition(b":")[2] == root.group(1).rpartition(b":")[2]


def _zip_is_whole(file: BinaryIO, tail: bytes) -> bool:
    """Whether it ends with the record that a ZIP ends with, and the directory is where this says (APPNOTE.TXT 4.3)."""
    found = tail.rfind(b"PK\x05\x06")
    while found >= 0:
        record = tail[found : found + 22]
        if len(record) == 22:
            offset, comment = struct.unpack_from("<IH", record, 16)
            # All ones: the true offset is in a record of the newer kind, before this one.
            if found + 22 + comment == len(tail) and (
                offset == 0xFFFFFFFF or _part(file, offset, 4) in (b"PK\x01\x02", b"PK\x05\x06")
            ):
                return True
        found = tail.rfind(b"PK\x05\x06", 0, found)
    return False


def _part(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _last_tag(end: bytes) -> bytes:
    """The last tag, without spaces, if it is at the end; remarks may follow it (XML 1.0 section 2.1, Misc)."""
    for _ in range(_MOST_REMARKS):
        for opening, closing in ((b"<!--", b"-->"), (b"<?", b"?>")):
            if end.endswith(closing) and opening in end:
                end = end[: end.rfind(opening)].rstrip()
                break
        else:
            break
    return b"".join(end[max(end.rfind(b"<"), 0) :].split()) if end.endswith(b">") else b""


def _free(folder: Path, name: str) -> Path:
    """``name`` in ``folder``, or with a number if there is one: banks use names again."""
    path, number = folder / name, 1
    stem, suffix = os.fsdecode(os.fsencode(path.stem)[:_LONGEST_NAME]), path.suffix[:20]
    while os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def _close_to_others(file: Path) -> None:
    """What the bank's software made as its umask said; the folder keeps others out where it is not ours to change."""
    if not file.is_symlink():
        with contextlib.suppress(PermissionError, FileNotFoundError):
            file.chmod(0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

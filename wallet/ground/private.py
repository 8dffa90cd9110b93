"""What this wallet keeps on disk is its account's alone: files 0600 and folders 0700, whatever the umask.

Invariant: the mode is given where a file or folder is made, never mended afterwards, so there is no instant in which
another account could open it.
"""

import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path

from wallet.ground.errors import SettingsInvalid

_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def opener(name: str, flags: int) -> int:
    """For `open`: what it makes is a file for this account alone."""
    return os.open(name, flags, 0o600)


def make_file(path: Path) -> None:
    """An empty file, unless there is one; what stands in the way is for whoever opens it to say."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return


def make_folder(folder: Path) -> None:
    """A folder with the ones that it is in, where they are missing."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(0o700, exist_ok=True)


def check(paths: Iterable[Path], *, group: int | None = None) -> None:
    """Raise `SettingsInvalid`, with the command that mends it, if another account may open one of those that exist.

    ``group`` is the number of one whose accounts may. What the folders around allow is not looked at: they may be
    opened later, and a copy takes the mode along.
    """
    opened = []
    for path in paths:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SettingsInvalid(f"{path} cannot be looked at: {error.strerror}.") from None
        allowed = stat.S_IRWXG if group is not None and found.st_gid == group else 0
        if found.st_mode & _OF_OTHERS & ~allowed:
            opened.append((path, stat.S_ISDIR(found.st_mode)))
    if opened:
        names = ", ".join(str(path) for path, _ in opened)
        recursive = "-R " if any(is_folder for _, is_folder in opened) else ""
        said = " ".join(shlex.quote(str(path)) for path, _ in opened)
        raise SettingsInvalid(
            f"Other accounts of this machine may open {names}. Close it with: chmod {recursive}go= {said}"
        )

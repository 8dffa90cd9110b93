"""Child processes that end when this one does, however it ends."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

# Waits until its standard input ends, as it does when the process that started it does, killed or not.
_KEEPER = """
    trap '' INT TERM HUP
    cat >/dev/null
    kill -"$2" "$1" 2>/dev/null
    n=0
    while kill -0 "$1" 2>/dev/null && [ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done
    kill -KILL "$1" 2>/dev/null
    [ -z "$3" ] || { cd / && rm -rf "$3"; }
"""


class Kept:
    """A process and its keeper: a shell that ends it when a pipe closes. Use as a context manager.

    ``signal`` is what asks it to end; after 30 seconds it is killed. ``folder``, if given, is then removed.
    """

    STOP_SECONDS = 40

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        signal: str = "TERM",
        environment: Mapping[str, str] | None = None,
        account: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.log = log
        options = dict(account or {})
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops this
                cwd=cwd,
                env=environment,
                **options,
            )
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", str(self._process.pid), signal, str(folder or "")],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it and wait for it. More than once is no mistake."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            self._process.wait(self.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._keeper.wait(self.STOP_SECONDS)

    def forsake(self) -> None:
        """Once it has ended: reap it, and end its keeper, so that its folder stays as it is."""
        self._process.wait(self.STOP_SECONDS)
        self._keeper.kill()
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(self.STOP_SECONDS)

    @property
    def pid(self) -> int:
        """The number of the process itself."""
        return self._process.pid

    def said(self) -> str:
        """The end of its log, for an error message."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]

"""How gunicorn serves the wallet: ``gunicorn 'app:create_app()'``. Any of it can be changed on its command
line.

SQLite has one writer: one process with threads takes turns fairly. PostgreSQL serves a worker for each core.
Behind a proxy that speaks TLS; by default nothing else on the network reaches it.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# prometheus-client decides at its import whether processes share their counters, so this comes before the
# app's.
_OURS = "obole-metrics-"
# More than every route by every status takes.
_COUNTED_BYTES = 2 * 1024 * 1024
if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OURS)

wsgi_app = "app:create_app()"
bind = "127.0.0.1:8000"
# Reads requests whole before a thread is taken, and holds clients to their time.
worker_class = "web.http.serving.Worker"
# Not by `wallet.settings`: what is ours cannot be imported before gunicorn has gone where it is (--chdir).
_on_sqlite = os.environ.get("OBOLE_DATABASE_URL", "").startswith("sqlite")
workers = 1 if _on_sqlite else int(os.environ.get("WEB_CONCURRENCY", os.cpu_count() or 1))
threads = 16
# Connections of one process; the one that keeps it waiting longest makes room for the next.
worker_connections = 500
# Requests at work have this many seconds to finish when the server stops.
graceful_timeout = 30
timeout = 60
# Idle connections cost no thread. Longer than a proxy keeps its own, so that none is closed under a request.
keepalive = 75
# Signals are enough to steer it, and its socket would be one more thing in somebody's home directory.
control_socket_disable = True
# The application writes one JSON line for each request itself.
accesslog = None


def post_fork(server, worker):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Take the room for what a worker counts before it counts: it is written through memory, and a disk that is full
    by then would end the process in the middle of an answer (SIGBUS, mmap(2))."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    try:
        for kind in ("counter", "histogram"):
            with (folder / f"{kind}_{worker.pid}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _COUNTED_BYTES)
    except OSError:
        # The others do not see its counts then, but it serves.
        _give_back(worker.pid)
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def child_exit(server, worker):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """A worker that is gone has no requests in flight; what it counted stays."""
    # Imported late: see the folder above.
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    _give_back(worker.pid)


def _give_back(pid):  # type: ignore[no-untyped-def]
    """What room a process took and did not count in. Each file begins with how many of its bytes say something."""
    for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"*_{pid}.db"):
        with path.open("rb") as file:
            used = int.from_bytes(file.read(4), sys.byteorder)
        if used:
            os.truncate(path, used)
        else:
            path.unlink()


def on_exit(server):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Leave no counters behind, unless the operator chose where they are."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_OURS):
        shutil.rmtree(folder, ignore_errors=True)

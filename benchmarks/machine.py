"""The machine that a run was on, in its own words."""

import datetime as dt
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path

_FSYNC_SECONDS = 0.5
_PAGE_BYTES = 4_096


def facts() -> dict[str, str]:
    """Name -> value: what a figure depends on. Takes about half a second, to see how fast the disk says yes."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "measured": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "Python": platform.python_version(),
        "load before the run (1, 5, 15 minutes)": load,
        "disk": f"{_file_system()}, {_syncs_per_second():.0f} durable writes of 4 KiB a second",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return found.group(1) if found else platform.processor() or "unknown processor"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system() -> str:
    """The type of the file system with the temporary folders; on tmpfs nothing is durable."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return sys.platform
    here = Path(tempfile.gettempdir()).resolve()
    points = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    of_ours = [(len(point), kind) for point, kind in points if here.is_relative_to(point)]
    return max(of_ours)[1] if of_ours else "unknown file system"


def _syncs_per_second() -> float:
    with tempfile.TemporaryFile(prefix="obole-benchmark-") as file:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < _FSYNC_SECONDS:
            os.pwrite(file.fileno(), b"x" * _PAGE_BYTES, done % 1024 * _PAGE_BYTES)
            os.fdatasync(file.fileno())
            done += 1
        return done / (time.perf_counter() - began)

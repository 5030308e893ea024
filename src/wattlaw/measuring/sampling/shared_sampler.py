"""Telemetry borrowed from a sampler that a parent process already runs on this host.

A second sampler would read the same devices and count the same joules again beside the first; a nested
window takes the rows of its own time from the parent's file instead, so that its record stands alone.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained, write_whole
from wattlaw.measuring.files.host_files import boot_id, host_name, read_host
from wattlaw.measuring.sampling.host_sampler import VARIABLE

_MARGIN_S = 5.0


_WAIT_S = 3.0


def running_sampler() -> Path | None:
    """Return the folder into which a sampler of this host already writes, for a parent of this process."""
    boot, _, rest = os.environ.get(VARIABLE, "").partition(":")
    pid, _, folder = rest.partition(":")
    if not folder or boot != boot_id():
        return None
    try:
        os.kill(int(pid), 0)
        # another process may have got its number since
        has_ended = read_host(Path(folder) / f"host-{host_name()}.json").clock_end is not None
    except (OSError, ValueError, DamagedRunError):
        return None
    return None if has_ended else Path(folder)


def copy_telemetry(source: Path, attempt: Path, start_s: float, end_s: float) -> None:
    """Copy a parent's rows between two monotonic times, and its host file, into an attempt.

    Waits up to 3 s for the parent's sampler to write past ``end_s``. Raises RecordError.
    """
    name = f"telemetry-{host_name()}.csv"
    with explained(source / name, "read"):
        until = time.monotonic() + _WAIT_S
        while _last_time(source / name) < end_s and time.monotonic() < until:
            time.sleep(0.1)
        rows = _rows(source / name, start_s - _MARGIN_S, end_s + _MARGIN_S)
        host = (source / f"host-{host_name()}.json").read_bytes()
    write_whole(attempt / name, rows)
    write_whole(attempt / f"host-{host_name()}.json", host)


def _rows(path: Path, start_s: float, end_s: float) -> bytes:
    header, _, rest = path.read_bytes().partition(b"\n")
    kept = [header]
    for line in rest.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            if start_s <= float(line.partition(b",")[0]) <= end_s:
                kept.append(line)
    return b"\n".join(kept) + b"\n"


def _last_time(path: Path) -> float:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().split(b"\n")[:-1]
    times = []
    for line in lines:
        with contextlib.suppress(ValueError):
            times.append(float(line.partition(b",")[0]))
    return max(times, default=float("-inf"))

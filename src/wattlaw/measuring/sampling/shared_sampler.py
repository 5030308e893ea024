"""Use the telemetry of a sampler that a parent process already runs on this host.

A second sampler would read the same devices and count the same joules again. A nested window copies
the rows of its own time from the parent's file instead, so that its record is complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.polling import wait_until
from wattlaw.measuring.files.host_files import boot_id, host_name, read_host
from wattlaw.measuring.sampling.host_sampler import SAMPLER_VARIABLE

_MARGIN_S = 5.0
_TIMEOUT_S = 3.0
_TAIL_BYTES = 4096


def running_sampler() -> Path | None:
    """Return the folder to which the sampler of a parent process writes on this host."""
    boot, _, rest = os.environ.get(SAMPLER_VARIABLE, "").partition(":")
    pid, _, folder = rest.partition(":")
    if not folder or boot != boot_id():
        return None
    try:
        os.kill(int(pid), 0)
        # its PID may have been reused since
        has_ended = read_host(Path(folder) / f"host-{host_name()}.json").clock_end is not None
    except (OSError, ValueError, DamagedRunError):
        return None
    return None if has_ended else Path(folder)


def copy_telemetry(source: Path, attempt: Path, start_s: float, end_s: float) -> None:
    """Copy a parent's rows between two monotonic times, and its host file, into an attempt.

    Waits up to 3 s for the parent's sampler to write rows later than ``end_s``. Raises RecordError.
    """
    name = f"telemetry-{host_name()}.csv"
    with explained(source / name, "read"):
        wait_until(lambda: _last_time(source / name) >= end_s, _TIMEOUT_S, every_s=0.1)
        header, _, rows = (source / name).read_bytes().partition(b"\n")
        kept = [header]
        for time_s, row in _timed(rows.split(b"\n")[:-1]):
            if start_s - _MARGIN_S <= time_s <= end_s + _MARGIN_S:
                kept.append(row)
        host = (source / f"host-{host_name()}.json").read_bytes()
    write_whole(attempt / name, b"\n".join(kept) + b"\n")
    write_whole(attempt / f"host-{host_name()}.json", host)


def _last_time(path: Path) -> float:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        rows = file.read().split(b"\n")[:-1]
    return max((time_s for time_s, _ in _timed(rows)), default=float("-inf"))


def _timed(rows: Iterable[bytes]) -> Iterable[tuple[float, bytes]]:
    """Yield rows with their times, s; without the header and rows that are cut off."""
    for row in rows:
        with contextlib.suppress(ValueError):
            yield float(row.partition(b",")[0]), row

"""What the system's account of a command says, exactly, and what it leaves out: processes that nobody waited for."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.units import show
from wattlaw.measuring.sampling.shared_sampler import VARIABLE

_HOW = "the system's account of the command"
_SURE_S = 0.02
"""The account and the sampled time of the same processes differ by less than this, two ticks."""

_SEEN_SHARE = 0.5
"""A peak that was looked at for the last time before this share of a process's life tells too little of the rest."""

_MOST_LISTED = 4096


class Ended(NamedTuple):
    """A command that has ended. ``exit_code`` is negative for the signal that ended it.

    ``peak_bytes`` is the most memory that its own first process was seen to have had, ``seen_share`` the share of its
    life after which that was looked at for the last time; 0 where it ended too soon for a look.
    """

    exit_code: int
    usage: resource.struct_rusage
    pid: int
    peak_bytes: int = 0
    seen_share: float = 0.0


class Peak:
    """The peak memory of a process, looked at more rarely as it grows older: a twentieth of its life passes between."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.began = self.last = time.monotonic()
        self.bytes = 0
        self.look()

    def wait_s(self) -> float:
        """Return the time until the next look is due, s."""
        age = time.monotonic() - self.began
        return min(1.0, max(1e-3, age / 20))

    def look(self) -> None:
        """Read the peak once more; a process that has just ended keeps what was read before."""
        at = time.monotonic()
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return
        _, found, rest = status.partition(b"\nVmHWM:")
        if found:
            self.bytes, self.last = int(rest.split(None, 1)[0]) * 1024, at

    def seen_share(self) -> float:
        """Return after which share of the process's life, up to now, it was looked at for the last time."""
        now = time.monotonic()
        return (self.last - self.began) / (now - self.began) if now > self.began else 0.0


def account(ended: Ended, sampled: dict[str, Reading]) -> dict[str, Reading]:
    """Return CPU time and peak memory of a command, from the system's account and from what was sampled."""
    found = {"cpu_time_s": _cpu_time(ended.usage, sampled["cpu_time_s"])}
    memory = _memory(ended, sampled["memory_peak_bytes"])
    return found if memory is None else {**found, "memory_peak_bytes": memory}


def left_running(sampler: str, first: int) -> list[Note]:
    """Return the warning that processes of a command still run after its end; ``sampler`` is what marks them.

    ``first`` is the number of the command's own process. Looked at are later numbers, of this user's processes.
    """
    mark = f"{VARIABLE}={sampler}".encode()
    left = [pid for pid in _later(first) if mark in _environment(pid).split(b"\0")]
    if not left:
        return []
    number = (
        "a process of it still runs" if len(left) == 1 else f"{len(left)} processes of it still run"
    )
    pids = ", ".join(map(str, left[:5])) + (", …" if len(left) > 5 else "")
    return [
        Note(
            "processes_left",
            f"the command has ended, {number} ({pids}); what it uses from now on is not counted",
        )
    ]


def _cpu_time(usage: resource.struct_rusage, sampled: Reading) -> Reading:
    used_s = usage.ru_utime + usage.ru_stime
    if sampled.value is not None and sampled.value > used_s + _SURE_S:
        more = f"at least: {show(sampled.value - used_s, 's')} of it by processes that nobody waited for, as sampled"
        return measured(sampled.value, more)
    return measured(used_s, _HOW) if used_s > 0 else missing(f"it is below the tick of {_HOW}")


def _memory(ended: Ended, sampled: Reading) -> Reading | None:
    """Return the peak memory, None where the sampled one stands."""
    most = ended.usage.ru_maxrss * 1024
    # before it became the command the process was a copy of this one, and the system counts that too
    copied = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    known = sampled.value or 0
    if most > max(known, copied):
        return measured(float(most), "at least: its largest single process, the system's account")
    if ended.peak_bytes > known and (known or ended.seen_share >= _SEEN_SHARE):
        how = f"at least: the command's own process {ended.seen_share:.0%} through its life"
        return measured(
            float(ended.peak_bytes), f"{how}; its largest process had at most {show(copied, 'B')}"
        )
    if known:
        return None
    low = (
        f"more than {show(ended.peak_bytes, 'B')}, as seen early in its life, and "
        if ended.peak_bytes
        else ""
    )
    return missing(f"it ended too soon: its largest process had {low}at most {show(copied, 'B')}")


def _later(first: int) -> list[int]:
    """Return the processes that may have been started since number ``first`` was given out."""
    try:
        newest = int(Path("/proc/loadavg").read_bytes().split()[-1])
    except (OSError, ValueError, IndexError):
        newest = 0
    if first <= newest <= first + _MOST_LISTED:
        return list(range(first, newest + 1))
    return sorted(
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()
    )


def _environment(pid: int) -> bytes:
    try:
        # a thread has a number too, and shows its process's environment
        if f"\nTgid:\t{pid}\n".encode() not in Path(f"/proc/{pid}/status").read_bytes():
            return b""
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # gone, or another user's

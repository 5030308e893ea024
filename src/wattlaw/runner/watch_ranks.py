"""What happens when a rank dies, hangs or ends: the ranks of a trial are watched until it is over.

A trial is over when

- all ranks have ended with exit code 0: it is done;
- any rank has ended with another code, or was killed: it has failed. The other ranks get
  ``GRACE_S`` to fail as well, then the caller stops them. The error of the rank that failed *first*
  is recorded, because the errors of the others are usually consequences of it;
- the time limit has passed: it has failed. wattlaw's own ranks first print their stack.

A rank that raises writes its time and traceback to error-<rank>.json (worker/__main__.py). One that
is killed writes nothing: the signal and the end of its output are recorded instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.units import counted
from wattlaw.launchers.launcher import Exit, Launched

LOOK_S = 0.05
GRACE_S = 1.0
TAIL_LINES = 15

Tick = Callable[[Path], None]

_SUDDEN = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL}
_UNSEEN_S = 0.5
"""A killed rank is noticed up to this much later, s; the other ranks may have raised by then."""


class Failure(msgspec.Struct, frozen=True):
    """The rank that failed first and the text that says why."""

    rank: int
    text: str


class _ErrorFile(msgspec.Struct):
    rank: int
    time_s: float
    text: str


def watch(
    launched: Launched, ranks: int, attempt: Path, time_limit_s: float | None, ticks: Sequence[Tick]
) -> Failure | None:
    """Wait until a trial is over; return why it failed, None if it is done.

    ``ticks`` are called with the attempt folder about twenty times per second.
    """
    start, kills = time.monotonic(), oom_kills()
    failed_at: float | None = None
    while True:
        exits = launched.poll()
        now = time.monotonic()
        have_all_ended = len(exits) == ranks
        if any(e.code for e in exits):
            failed_at = failed_at or now
            if have_all_ended or now >= failed_at + GRACE_S:
                return first_failure(attempt, exits, oom_kills() > kills)
        elif have_all_ended:
            return None
        if time_limit_s is not None and now - start > time_limit_s:
            return _time_out(launched, ranks, attempt, time_limit_s)
        for tick in ticks:
            tick(attempt)
        time.sleep(LOOK_S)


def _time_out(launched: Launched, ranks: int, attempt: Path, limit_s: float) -> Failure:
    if (attempt / "spec.json").exists():
        # wattlaw's own ranks print their stack at SIGUSR1; a user's command would just die of it
        for pid in launched.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        time.sleep(0.5)
    running = counted(ranks, "rank")
    tail = _tail(attempt, 0)
    return Failure(0, f"the time limit of {limit_s:g} s passed with {running} running{tail}\n")


def first_failure(attempt: Path, exits: Sequence[Exit], is_out_of_memory: bool) -> Failure:
    """Return the failure that happened first on the host's monotonic clock.

    A rank that raised recorded its time; for one that was killed it is the time it was found dead.
    """
    found: dict[int, tuple[float, Failure]] = {}
    for path in attempt.glob("error-*.json"):
        try:
            error = msgspec.json.decode(path.read_bytes(), type=_ErrorFile)
        except (OSError, msgspec.MsgspecError):
            continue
        failure = Failure(error.rank, f"rank {error.rank}: {error.text}")
        found[error.rank] = (error.time_s, failure)
    for end in exits:
        if end.code and end.rank not in found:
            how = _how_it_ended(end.code, is_out_of_memory)
            failure = Failure(end.rank, f"rank {end.rank} {how}{_tail(attempt, end.rank)}\n")
            unseen_s = _UNSEEN_S if end.code in _SUDDEN else 0.0
            found[end.rank] = (end.time_s - unseen_s, failure)
    _, first = min(found.values(), key=lambda dated: dated[0])
    return first


def oom_kills() -> int:
    """Return the processes that the kernel has killed for lack of memory; 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def _how_it_ended(code: int, is_out_of_memory: bool) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL and is_out_of_memory:
        advice = "a smaller batch_per_device may fit"
        return f"was killed by {name}: the system ran out of memory; {advice}"
    return f"was killed by {name}"


def _tail(attempt: Path, rank: int) -> str:
    try:
        lines = (attempt / f"output-{rank}.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    if not lines:
        return "; it printed nothing"
    return "; the end of its output:\n" + "\n".join(lines[-TAIL_LINES:])

"""Why a trial failed: the rank that failed first, and what it left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec

from wattlaw.launchers.launcher import Exit

TAIL_LINES = 15

_SUDDEN = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL}
_UNSEEN_S = 0.5
"""A rank that dies suddenly is seen gone a little later; the others hear of it at once and may raise before that."""


class Failure(msgspec.Struct, frozen=True):
    """The first failing rank and the text that says why."""

    rank: int
    text: str

    @staticmethod
    def hang(attempt: Path, ranks: int, limit_s: float) -> Failure:
        """Return the failure of a trial that passed its time limit, with the end of rank 0's output."""
        return Failure(
            0,
            f"the time limit of {limit_s:g} s passed with {ranks} rank(s) running{_tail(attempt, 0)}\n",
        )


class _Left(msgspec.Struct):
    rank: int
    time_s: float
    text: str


def first_failure(attempt: Path, exits: list[Exit], out_of_memory: bool) -> Failure:
    """Return the failure that happened first on the host's clock.

    A rank that raised left its own time and traceback; one that was killed is dated by when it was seen gone.
    """
    found: list[tuple[float, Failure]] = []
    for path in attempt.glob("error-*.json"):
        try:
            left = msgspec.json.decode(path.read_bytes(), type=_Left)
        except (OSError, msgspec.MsgspecError):
            continue
        found.append((left.time_s, Failure(left.rank, f"rank {left.rank}: {left.text}")))
    spoken = {failure.rank for _, failure in found}
    for end in exits:
        if end.code and end.rank not in spoken:
            text = f"rank {end.rank} {_how(end.code, out_of_memory)}{_tail(attempt, end.rank)}\n"
            unseen = _UNSEEN_S if end.code in _SUDDEN else 0.0
            found.append((end.time_s - unseen, Failure(end.rank, text)))
    return min(found, key=lambda pair: pair[0])[1]


def oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since boot; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _how(code: int, out_of_memory: bool) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    name = (
        signal.Signals(-code).name
        if -code in {s.value for s in signal.Signals}
        else f"signal {-code}"
    )
    if -code == signal.SIGKILL and out_of_memory:
        return f"was killed by {name}: the system ran out of memory; a smaller batch_per_device may fit"
    return f"was killed by {name}"


def _tail(attempt: Path, rank: int) -> str:
    try:
        lines = (attempt / f"output-{rank}.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return (
        "; the end of its output:\n" + "\n".join(lines[-TAIL_LINES:])
        if lines
        else "; it printed nothing"
    )

"""Limits inside a step of Slurm: the guard is the step's own task, and what it guards is its child.

Slurm ends whatever still runs of a step as soon as the step's task has ended. A guard beside the task would be
ended with it, perhaps before it has put anything back; so the task itself is the guard.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wattlaw.core.errors import WattlawError
from wattlaw.measuring.command.run_command import witnessed
from wattlaw.measuring.limits.guard import (
    Guard,
    opened,
    put_back,
    put_back_left_behind,
    tell_troubles,
)

TOKEN = "WATTLAW_GUARD_TOKEN"
"""Set for a child of a guard: the token under which it is to hold limits. Its parent is the guard."""

_HEARD = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
)
_END_S = 10.0
_LOOK_MS = 500


def run_guarded(words: Sequence[str], limits: Sequence[str]) -> int:
    """Run a command as this task's child, then put back what it held; return its exit code.

    Where standard input closes before the command has ended, srun was killed: Slurm then kills this step within
    moments, so the limits are put back first. SIGTERM, half a minute before Slurm's SIGKILL, is passed on.
    """
    for number in _HEARD:
        signal.signal(number, signal.SIG_IGN)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    token = secrets.token_hex(8)
    process = subprocess.Popen(list(words), env={**os.environ, TOKEN: token})
    _prepare(limits)
    is_cut_off = _wait(process, told)
    troubles = put_back(token) if is_cut_off else []
    code = _end(process)
    troubles = troubles or put_back(token)
    tell_troubles(troubles)
    return 1 if troubles else code


def fork_guarded(end: Callable[[int], int], limits: Iterable[str]) -> Guard:
    """Part this task in two: the caller goes on as the child, the parent is its guard and never returns.

    ``limits`` are names of what may be held. When the child has ended, the parent puts back what was held and ends as
    the child did; ``end`` is called with the exit code, negative for a signal. Signals are passed on to the child:
    Slurm that tracks processes by control group sends them to the task alone, which is the parent.
    """
    from wattlaw.measuring.command.run_command import Peak, passing_on

    token, parent = secrets.token_hex(8), os.getpid()
    with contextlib.ExitStack() as stack:
        witness = stack.enter_context(witnessed())
        pid = os.fork()
        if not pid:
            stack.pop_all()  # the witness is the parent's
            return Guard(token, parent, (witness.pid,) if witness else ())
        child, _ = stack.enter_context(passing_on(witness))
        child.start(pid)
        _prepare(limits)
        code = child.wait(Peak(pid)).exit_code
        troubles = put_back(token)
        tell_troubles(troubles)
    os._exit(end(code) or (1 if troubles else 0))


def guard_of_this() -> Guard | None:
    """Return the guard whose child this process is; None where it is none's."""
    token = os.environ.get(TOKEN)
    return Guard(token, os.getppid()) if token else None


def _prepare(limits: Iterable[str]) -> None:
    """Load the libraries that put limits back: once they are needed Slurm leaves moments."""
    for name in limits:
        with contextlib.suppress(WattlawError), opened(name):
            pass


def _wait(process: subprocess.Popen[bytes], told: list[int]) -> bool:
    """Wait for the child's end, SIGTERM, or the end of standard input; return whether it was the last."""
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP alone: what is to be read is the child's
    with contextlib.suppress(OSError):  # an older kernel: the look twice a second must do
        poll.register(os.pidfd_open(process.pid), select.POLLIN)
    while not told and process.poll() is None:
        if any(file == 0 for file, _ in poll.poll(_LOOK_MS)):
            return process.poll() is None
    return False


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run wattlaw's sampler under guard, as its SPEC.json says; without one, put back what killed guards left."""
    if not arguments:
        troubles = put_back_left_behind()
        tell_troubles(troubles)
        return 1 if troubles else 0
    spec = json.loads(Path(arguments[0]).read_bytes())
    return run_guarded(
        [sys.executable, "-m", "wattlaw.measuring.sampling.sampler_process", arguments[0]],
        spec.get("limits", ()),
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

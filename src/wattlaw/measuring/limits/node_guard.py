"""Guards within a step of Slurm: the step's task is the guard, the guarded process its child.

Slurm kills every process of a step as soon as the step's task has ended. A guard next to the task
would be killed too, perhaps before it has restored anything, so the task itself is the guard.
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
from wattlaw.core.helper_process import helper_command
from wattlaw.measuring.limits.guard import (
    Guard,
    open_control,
    report_failures,
    restore,
    restore_abandoned,
)

TOKEN = "WATTLAW_GUARD_TOKEN"
"""Set for the child of a guard: the token for its limits. Its parent is the guard."""

_IGNORED = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
)
_END_TIMEOUT_S = 10.0
_POLL_MS = 500


def run_guarded(words: Sequence[str], limits: Sequence[str]) -> int:
    """Run a command as this task's child, then restore its limits; return its exit code.

    If standard input closes before the command has ended, srun was killed, and Slurm kills this
    step within moments; so the limits are restored first. SIGTERM, half a minute before Slurm's
    SIGKILL, is forwarded.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    token = secrets.token_hex(8)
    process = subprocess.Popen(list(words), env={**os.environ, TOKEN: token})
    _load_drivers(limits)
    is_srun_killed = _wait_for_end(process, signals)
    failures = []
    if is_srun_killed:
        failures = restore(token)
    code = _end(process)
    failures = failures or restore(token)
    report_failures(failures)
    return 1 if failures else code


def fork_guarded(end: Callable[[int], int], limits: Iterable[str]) -> Guard:
    """Fork this task: the caller continues as the child; the parent is its guard and never returns.

    ``limits`` are the names of the limits that may be set. When the child has ended, the parent
    restores them and ends as the child did: ``end`` is called with the exit code, negative for a
    signal. Signals are forwarded to the child: if Slurm tracks processes by cgroup, it sends them
    only to the task, which is the parent.
    """
    # a sampler's guard needs none of these
    from wattlaw.measuring.command.run_command import (
        PeakMemory,
        forward_signals,
        signal_witness,
    )

    token, parent = secrets.token_hex(8), os.getpid()
    with contextlib.ExitStack() as stack:
        witness = stack.enter_context(signal_witness())
        pid = os.fork()
        if not pid:
            stack.pop_all()  # the witness is the parent's
            return Guard(token, parent, (witness.pid,) if witness else ())
        child, _ = stack.enter_context(forward_signals(witness))
        child.start(pid)
        _load_drivers(limits)
        code = child.wait(PeakMemory(pid)).exit_code
        failures = restore(token)
        report_failures(failures)
    os._exit(end(code) or int(bool(failures)))


def guard_of_this_process() -> Guard | None:
    """Return the guard whose child this process is; None without one."""
    token = os.environ.get(TOKEN)
    return Guard(token, os.getppid()) if token else None


def _load_drivers(limits: Iterable[str]) -> None:
    """Load the libraries that restore limits: when they are needed, Slurm leaves only moments."""
    for name in limits:
        with contextlib.suppress(WattlawError), open_control(name):
            pass


def _wait_for_end(process: subprocess.Popen[bytes], signals: list[int]) -> bool:
    """Wait for the child's end, SIGTERM, or the end of stdin; return whether the last came."""
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP only: input is for the child to read
    # without pidfd_open (Linux before 5.3) the check twice a second is enough
    with contextlib.suppress(OSError):
        poll.register(os.pidfd_open(process.pid), select.POLLIN)
    while not signals and process.poll() is None:
        if any(file == 0 for file, _ in poll.poll(_POLL_MS)):
            return process.poll() is None
    return False


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the sampler of a SPEC.json under guard; without one, restore what killed guards left."""
    if not arguments:
        failures = restore_abandoned()
        report_failures(failures)
        return int(bool(failures))
    spec = json.loads(Path(arguments[0]).read_bytes())
    words = helper_command("wattlaw.measuring.sampling.sampler_process", arguments[0])
    return run_guarded(words, spec.get("limits", ()))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""A command run as if alone: its terminal, signals and exit code pass through."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from wattlaw.core.errors import UsageError
from wattlaw.measuring.account import Ended, Peak
from wattlaw.measuring.borrowed import VARIABLE

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the command too; the command alone decides what they mean."""


def run_child(words: Sequence[str], sampler: str) -> Ended:
    """Run a command to its end; return its exit code and the system's account of it.

    ``sampler`` tells the command's own processes of the sampler that runs (see borrowed.VARIABLE).
    Raises UsageError where there is no such command. Called from the main thread.
    """
    environment = {**os.environ, VARIABLE: sampler}
    with _signals() as (children, restored):
        try:
            pid = os.posix_spawnp(words[0], list(words), environment, setsigdef=restored)
        except FileNotFoundError:
            raise UsageError(f"there is no command {words[0]!r}") from None
        except PermissionError:
            raise UsageError(f"{words[0]!r} is not executable") from None
        children.start(pid)
        return children.wait(Peak(pid))


class _Child:
    """The command that signals are passed on to; what comes before it runs waits for it."""

    def __init__(self, bell: int) -> None:
        self.pid = 0
        self.bell = bell
        self.waiting: list[int] = []

    def start(self, pid: int) -> None:
        self.pid = pid
        for number in self.waiting:
            os.kill(pid, number)

    def wait(self, peak: Peak) -> Ended:
        """Wait for the end; woken by every signal, since one that comes just before a plain wait would be stuck."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return Ended(os.waitstatus_to_exitcode(status), usage, pid, peak.bytes, peak.seen_share())
            if not select.select([self.bell], [], [], peak.wait_s())[0]:
                peak.look()
            with suppress(BlockingIOError):
                os.read(self.bell, 4096)

    def pass_on(self, number: int, frame: object) -> None:
        if not self.pid:
            self.waiting.append(number)
            return
        with suppress(ProcessLookupError):  # it ended in this moment
            os.kill(self.pid, number)


@contextmanager
def _signals() -> Iterator[tuple[_Child, list[int]]]:
    """Leave the terminal's signals to the command and pass on the others, as long as this lasts.

    A signal that was ignored before, as under nohup, stays ignored here and in the command. Also gives
    the signals that the command must get back as they were.
    """
    bell, ring = os.pipe()
    for end in (bell, ring):
        os.set_blocking(end, False)
    child = _Child(bell)
    heard = [s for s in (*_PASSED_ON, *_FROM_TERMINAL) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, signal.SIG_IGN if s in _FROM_TERMINAL else child.pass_on) for s in heard}
    # Python ignores the last two for itself
    restored = [int(s) for s in (*heard, signal.SIGPIPE, signal.SIGXFSZ)]
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    ringing = signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    try:
        yield child, restored
    finally:
        signal.set_wakeup_fd(ringing)
        for end in (bell, ring):
            os.close(end)
        for number, handler in before.items():
            signal.signal(number, handler)


def pass_on_end(exit_code: int) -> int:
    """End this process as the command ended: by the same signal, or return its exit code."""
    if exit_code >= 0:
        return exit_code
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core file is the one to look at
    if -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 128 - exit_code

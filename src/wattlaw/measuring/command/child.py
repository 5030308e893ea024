"""A command run as if alone: its terminal, signals and exit code pass through."""

from __future__ import annotations

import errno
import os
import resource
import select
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from wattlaw.core.errors import UsageError
from wattlaw.measuring.command.process_accounting import Ended, Peak
from wattlaw.measuring.command.signal_witness import Witness
from wattlaw.measuring.sampling.shared_sampler import VARIABLE

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the command too; without a witness they are taken to come from there."""

_SHELL = "/bin/sh"

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python makes of LC_CTYPE where it is started in the locale C (PEP 538)."""

T = TypeVar("T")


def run_child(words: Sequence[str], sampler: str, witness: Witness | None = None) -> Ended:
    """Run a command to its end; return its exit code and the system's account of it.

    ``sampler`` tells the command's own processes of the sampler that runs (see borrowed.VARIABLE). With a ``witness``
    the command gets each signal once, whether it was sent to this process or to its group. Raises
    UsageError where there is no such command. Called from the main thread.
    """
    environment = {**_environment_of_caller(), VARIABLE: sampler}
    with passing_on(witness) as (children, restored):

        def spawn(path: str, arguments: list[str]) -> int:
            return os.posix_spawnp(path, arguments, environment, setsigdef=restored)

        pid = _executed(words, spawn)
        children.start(pid)
        return children.wait(Peak(pid))


def become(words: Sequence[str]) -> NoReturn:
    """Turn this process into a command. Raises UsageError where there is no such command."""
    environment = _environment_of_caller()
    _executed(words, lambda path, arguments: os.execvpe(path, arguments, environment))
    raise AssertionError("a process that became another does not go on")


def _executed(words: Sequence[str], execute: Callable[[str, list[str]], T]) -> T:
    """Execute a command as a shell does: a file that begins with no #! line is one for the shell.

    Raises UsageError, naming the reason, where the system refuses.
    """
    name, found = words[0], shutil.which(words[0])
    try:
        try:
            return execute(name, list(words))
        except OSError as error:
            if error.errno != errno.ENOEXEC or found is None:
                raise
            return execute(_SHELL, [_SHELL, found, *words[1:]])
    except FileNotFoundError:
        why = "the program that its first line names is not there"
        raise UsageError(
            f"{name!r} cannot be run: {why}" if found else f"there is no command {name!r}"
        ) from None
    except PermissionError:
        raise UsageError(f"{name!r} is not executable") from None
    except OSError as error:
        raise UsageError(f"{name!r} cannot be run: {error.strerror}") from None


def _environment_of_caller() -> Mapping[str, str]:
    """Return the environment as the caller gave it: in the locale C Python changes LC_CTYPE for itself."""
    try:
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    before = next(
        (os.fsdecode(v.partition(b"=")[2]) for v in given if v.startswith(b"LC_CTYPE=")), None
    )
    if before == os.environ.get("LC_CTYPE") or os.environ.get("LC_CTYPE") not in _COERCED:
        return os.environ
    rest = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
    return rest if before is None else {**rest, "LC_CTYPE": before}


class Child:
    """The process that signals are passed on to; what comes before it runs waits for it."""

    def __init__(self, bell: int, witness: Witness | None) -> None:
        self.pid = 0
        self.bell = bell
        self.witness = witness
        self.waiting: list[int] = []

    def start(self, pid: int) -> None:
        """Pass signals on to a process from now on, at first those that came before."""
        if self.waiting and self.witness:
            self.witness.forget()
        self.pid = pid
        for number in self.waiting:
            os.kill(pid, number)

    def wait(self, peak: Peak) -> Ended:
        """Wait for the end; woken by every signal, since one that comes just before a plain wait would be stuck."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return Ended(
                    os.waitstatus_to_exitcode(status), usage, pid, peak.bytes, peak.seen_share()
                )
            if not select.select([self.bell], [], [], peak.wait_s())[0]:
                peak.look()
            with suppress(BlockingIOError):
                os.read(self.bell, 4096)

    def pass_on(self, number: int, frame: object) -> None:
        """Handle a signal: pass it on, unless the group was sent it and the process has it already."""
        if not self.pid:
            self.waiting.append(number)
            return
        with suppress(ProcessLookupError):  # it ended in this moment
            is_of_group = os.getpgid(self.pid) == os.getpgrp()
            if not (self.witness and self.witness.saw(number) and is_of_group):
                os.kill(self.pid, number)


@contextmanager
def passing_on(witness: Witness | None) -> Iterator[tuple[Child, list[int]]]:
    """Pass on the signals that this process is sent, as long as this lasts.

    A signal that was ignored before, as under nohup, stays ignored here and in the command. Also gives
    the signals that the command must get back as they were.
    """
    bell, ring = os.pipe()
    for end in (bell, ring):
        os.set_blocking(end, False)
    child = Child(bell, witness)
    heard = [s for s in (*_PASSED_ON, *_FROM_TERMINAL) if signal.getsignal(s) != signal.SIG_IGN]
    left = () if witness else _FROM_TERMINAL
    before = {s: signal.signal(s, signal.SIG_IGN if s in left else child.pass_on) for s in heard}
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
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, 0)
    )  # the command's core file is the one to look at
    if -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 128 - exit_code

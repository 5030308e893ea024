"""Run a command transparently: its terminal, signals and exit code pass through.

Also its CPU time and peak memory by the kernel's accounting, and what that accounting leaves out.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.units import show

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the command too; without a witness, assume that it did."""

_SHELL = "/bin/sh"

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""Values to which Python sets LC_CTYPE when it starts in the locale C (PEP 538)."""

_GROUP_DELAY_S = 0.005
"""A signal to the group may reach this process this much earlier than the witness."""

_WITNESS_PROGRAM = """
import os, _signal
while os.read(0, 1):
    while _signal.sigtimedwait(_signal.valid_signals(), 0):
        pass
"""

_ACCOUNT = "the kernel's accounting of the command"
_TWO_TICKS_S = 0.02
"""Accounted and sampled CPU time of the same processes differ by less than this."""

_MIN_SEEN_SHARE = 0.5
"""A peak last read before this share of a process's lifetime is not used for its final peak."""

_MAX_LISTED = 4096
_MAX_NAMED = 5

T = TypeVar("T")


class EndedCommand(NamedTuple):
    """A command that has ended. ``exit_code`` is negative if a signal ended it.

    ``peak_bytes`` is the peak memory of its first process when it was last read, and
    ``seen_share`` the share of the process's lifetime at that time; 0 if it ended before a reading.
    """

    exit_code: int
    usage: resource.struct_rusage
    pid: int
    peak_bytes: int = 0
    seen_share: float = 0.0

    @property
    def cpu_time_s(self) -> float:
        """CPU time of all processes that their parents waited for, s."""
        return self.usage.ru_utime + self.usage.ru_stime


class PeakMemory:
    """The peak memory of a process, read at every twentieth of its lifetime."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.began_s = self.last_s = time.monotonic()
        self.bytes = 0
        self.read()

    def wait_s(self) -> float:
        """Return the time until the next reading, s."""
        age_s = time.monotonic() - self.began_s
        return min(1.0, max(1e-3, age_s / 20))

    def read(self) -> None:
        """Read the peak; keep the last value if the process has just ended."""
        now = time.monotonic()
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return
        _, found, rest = status.partition(b"\nVmHWM:")
        if found:
            self.bytes, self.last_s = int(rest.split(None, 1)[0]) * 1024, now

    def seen_share(self) -> float:
        """Return when the peak was last read, as a share of the process's lifetime up to now."""
        now = time.monotonic()
        return (self.last_s - self.began_s) / (now - self.began_s) if now > self.began_s else 0.0


class SignalWitness:
    """A small process that shows whether a signal was sent to this process only or to its group.

    The terminal and `timeout` send a signal to the whole process group: the command
    receives it anyway, and would receive it twice if it were forwarded. `kill`, and Slurm if it
    tracks processes by cgroup, send it to this process only: it must be forwarded.
    The witness is in the same group and blocks every signal, so a signal to the group stays
    pending there.

    It ends with ``close`` and when this process ends. The constructor raises OSError.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        read_end, self._write_end = os.pipe()
        no_output = (
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        )
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _WITNESS_PROGRAM],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0), *no_output],
                setsigmask=signal.valid_signals(),
            )
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)

    def saw(self, number: int) -> bool:
        """Return whether a signal that has just arrived was sent to the group."""
        if not self._is_pending(number):
            time.sleep(_GROUP_DELAY_S)
            if not self._is_pending(number):
                return False
        self.forget()
        return True

    def forget(self) -> None:
        """Clear the signals that are pending in the witness."""
        with suppress(OSError):  # it was killed; from now on it receives no signal
            os.write(self._write_end, b".")

    def close(self) -> None:
        """End the witness; a child forked since it started only closes its pipe."""
        os.close(self._write_end)
        if os.getpid() != self._owner:
            return
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _is_pending(self, number: int) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return False
        pending = status.partition(b"\nShdPnd:")[2].split(None, 1)
        return bool(pending) and bool(int(pending[0], 16) >> (number - 1) & 1)


@contextmanager
def signal_witness() -> Iterator[SignalWitness | None]:
    """Provide a witness in the context; None if no further process can be started."""
    try:
        witness = SignalWitness()
    except OSError:
        yield None
        return
    try:
        yield witness
    finally:
        witness.close()


class Child:
    """The process to which signals are forwarded; earlier signals wait until it has started."""

    def __init__(self, wakeup: int, witness: SignalWitness | None) -> None:
        self.pid = 0
        self.wakeup = wakeup
        self.witness = witness
        self.waiting: list[int] = []

    def start(self, pid: int) -> None:
        """Forward signals to a process from now on, first those that arrived before."""
        if self.waiting and self.witness:
            self.witness.forget()
        self.pid = pid
        for number in self.waiting:
            os.kill(pid, number)

    def wait(self, peak: PeakMemory) -> EndedCommand:
        """Wait for the end. Every signal wakes it: a plain wait would miss one just before."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                exit_code = os.waitstatus_to_exitcode(status)
                return EndedCommand(exit_code, usage, pid, peak.bytes, peak.seen_share())
            if not select.select([self.wakeup], [], [], peak.wait_s())[0]:
                peak.read()
            with suppress(BlockingIOError):
                os.read(self.wakeup, 4096)

    def forward(self, number: int, frame: object) -> None:
        """Handle a signal: forward it, unless the process received it through its group."""
        if not self.pid:
            self.waiting.append(number)
            return
        with suppress(ProcessLookupError):  # it has just ended
            is_in_group = os.getpgid(self.pid) == os.getpgrp()
            if not (self.witness and self.witness.saw(number) and is_in_group):
                os.kill(self.pid, number)


@contextmanager
def forward_signals(witness: SignalWitness | None) -> Iterator[tuple[Child, list[int]]]:
    """Forward the signals that this process receives in the context.

    A signal that was ignored before, as under nohup, stays ignored here and in the command. Yields
    the child, and the signals whose default handler the command must get back.
    """
    wakeup, wakeup_write = os.pipe()
    for end in (wakeup, wakeup_write):
        os.set_blocking(end, False)
    child = Child(wakeup, witness)
    handled = [s for s in (*_FORWARDED, *_FROM_TERMINAL) if signal.getsignal(s) != signal.SIG_IGN]
    before = {}
    for number in handled:
        is_left_to_terminal = witness is None and number in _FROM_TERMINAL
        handler = signal.SIG_IGN if is_left_to_terminal else child.forward
        before[number] = signal.signal(number, handler)
    # Python itself ignores the last two
    defaults = [int(s) for s in (*handled, signal.SIGPIPE, signal.SIGXFSZ)]
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    wakeup_before = signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    try:
        yield child, defaults
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for end in (wakeup, wakeup_write):
            os.close(end)
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def run_command(
    words: Sequence[str], variables: Mapping[str, str], witness: SignalWitness | None = None
) -> EndedCommand:
    """Run a command to its end.

    ``variables`` are added to the command's environment. With a ``witness`` the command receives
    each signal once, whether it was sent to this process or to its group. Must be called from the
    main thread. Raises UsageError if the command cannot be run.
    """
    environment = {**_original_environment(), **variables}
    with forward_signals(witness) as (child, defaults):

        def spawn(path: str, arguments: list[str]) -> int:
            return os.posix_spawnp(path, arguments, environment, setsigdef=defaults)

        pid = _execute(words, spawn)
        child.start(pid)
        return child.wait(PeakMemory(pid))


def become_command(words: Sequence[str]) -> NoReturn:
    """Replace this process by a command. Raises UsageError if the command cannot be run."""
    environment = _original_environment()
    _execute(words, lambda path, arguments: os.execvpe(path, arguments, environment))
    raise AssertionError("unreachable: execvpe does not return")


def end_like_command(exit_code: int) -> int:
    """End this process by the same signal as the command, or return the command's exit code."""
    if exit_code >= 0:
        return exit_code
    # the useful core file is the command's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 128 - exit_code


def describe_exit(exit_code: int) -> str:
    """Return how a command ended: "exit code 3" or "signal SIGTERM"."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"


def accounted(ended: EndedCommand, sampled: Mapping[str, Reading]) -> dict[str, Reading]:
    """Return CPU time and peak memory of a command, from kernel accounting and from samples."""
    found = {"cpu_time_s": _cpu_time(ended.cpu_time_s, sampled["cpu_time_s"])}
    memory = _peak_memory(ended, sampled["memory_peak_bytes"])
    if memory is not None:
        found["memory_peak_bytes"] = memory
    return found


def processes_left(mark: str, first: int) -> list[Note]:
    """Return the warning that processes of a command still run after its end.

    ``mark`` is a variable of their environment as "NAME=value", and ``first`` the PID of the
    command: only processes of this user with higher PIDs are checked.
    """
    left = []
    for pid in _later_processes(first):
        if mark.encode() in _environment_of(pid).split(b"\0"):
            left.append(pid)
    if not left:
        return []
    pids = ", ".join(map(str, left[:_MAX_NAMED]))
    if len(left) > _MAX_NAMED:
        pids += ", …"
    still = "one of its processes is still running"
    if len(left) > 1:
        still = f"{len(left)} of its processes are still running"
    text = f"the command has ended, but {still} ({pids}); their later use is not counted"
    return [Note("processes_left", text)]


def _execute(words: Sequence[str], execute: Callable[[str, list[str]], T]) -> T:
    """Execute a command as a shell does: a file without a #! line is a shell script.

    Raises UsageError with the reason if the system refuses.
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
        if not found:
            raise UsageError(f"command not found: {name!r}") from None
        why = "the interpreter in its first line does not exist"
    except PermissionError:
        raise UsageError(f"{name!r} is not executable") from None
    except OSError as error:
        why = str(error.strerror)
    raise UsageError(f"{name!r} cannot be run: {why}")


def _original_environment() -> Mapping[str, str]:
    """Return the environment before Python started: in the locale C it changes LC_CTYPE."""
    now = os.environ.get("LC_CTYPE")
    if now not in _COERCED:
        return os.environ
    try:
        original = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    values = [os.fsdecode(v.partition(b"=")[2]) for v in original if v.startswith(b"LC_CTYPE=")]
    if values and values[0] == now:
        return os.environ
    others = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
    return {**others, "LC_CTYPE": values[0]} if values else others


def _cpu_time(accounted_s: float, sampled: Reading) -> Reading:
    if sampled.value is not None and sampled.value > accounted_s + _TWO_TICKS_S:
        more = show(sampled.value - accounted_s, "s")
        how = f"at least: {more} of it was sampled in processes that were not waited for"
        return measured(sampled.value, how)
    if accounted_s > 0:
        return measured(accounted_s, _ACCOUNT)
    return missing(f"it is below the resolution of {_ACCOUNT}")


def _peak_memory(ended: EndedCommand, sampled: Reading) -> Reading | None:
    """Return the peak memory; None if the sampled one is better."""
    largest = ended.usage.ru_maxrss * 1024
    # before exec, the process was a copy of this one, which the kernel counts too
    copy = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    known = sampled.value or 0
    if largest > max(known, copy):
        how = "at least: its largest single process, by the kernel's accounting"
        return measured(float(largest), how)
    if ended.peak_bytes > known and (known or ended.seen_share >= _MIN_SEEN_SHARE):
        how = (
            f"at least: the command's own process, read at {ended.seen_share:.0%} of its lifetime; "
            f"its largest process had at most {show(copy, 'B')}"
        )
        return measured(float(ended.peak_bytes), how)
    if known:
        return None
    low = ""
    if ended.peak_bytes:
        low = f"more than {show(ended.peak_bytes, 'B')}, as read early in its lifetime, and "
    return missing(f"it ended too soon: its largest process had {low}at most {show(copy, 'B')}")


def _later_processes(first: int) -> list[int]:
    """Return the processes that may have been started since process ``first``."""
    try:
        newest = int(Path("/proc/loadavg").read_bytes().split()[-1])
    except (OSError, ValueError, IndexError):
        newest = 0
    if first <= newest <= first + _MAX_LISTED:
        return list(range(first, newest + 1))
    return sorted(int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid())


def _environment_of(pid: int) -> bytes:
    try:
        # thread IDs are listed too, with the environment of their process
        if f"\nTgid:\t{pid}\n".encode() not in Path(f"/proc/{pid}/status").read_bytes():
            return b""
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it has ended, or belongs to another user

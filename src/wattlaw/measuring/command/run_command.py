"""A command run as if alone: its terminal, signals and exit code pass through; and the system's account of it."""

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
from wattlaw.measuring.sampling.host_sampler import VARIABLE

_WAIT_S = 0.005
"""A group's signal may reach this process so much earlier than the witness."""


_PROGRAM = """
import os, _signal
while os.read(0, 1):
    while _signal.sigtimedwait(_signal.valid_signals(), 0):
        pass
"""


class Witness:
    """The small process. It ends with ``close``, and with this process however that ends. Raises OSError."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        listening, self._told = os.pipe()
        nothing = (
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        )
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, listening, 0), *nothing],
                setsigmask=signal.valid_signals(),
            )
        except OSError:
            os.close(self._told)
            raise
        finally:
            os.close(listening)

    def saw(self, number: int) -> bool:
        """Say whether a signal that has just come here came to the group."""
        if not self._waits(number):
            time.sleep(_WAIT_S)
            if not self._waits(number):
                return False
        self.forget()
        return True

    def forget(self) -> None:
        """Have the witness drop what it was sent up to now."""
        with suppress(OSError):  # it was killed: then nothing is seen any more
            os.write(self._told, b".")

    def close(self) -> None:
        """End it; a child that was forked since only lets go of it."""
        os.close(self._told)
        if os.getpid() != self._owner:
            return
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _waits(self, number: int) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return False
        pending = status.partition(b"\nShdPnd:")[2].split(None, 1)
        return bool(pending) and bool(int(pending[0], 16) >> (number - 1) & 1)


@contextmanager
def witnessed() -> Iterator[Witness | None]:
    """Give a witness as long as this lasts; None where the system allows no more processes."""
    try:
        witness = Witness()
    except OSError:
        yield None
        return
    try:
        yield witness
    finally:
        witness.close()


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

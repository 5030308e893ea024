"""Any command, measured: its output, terminal, signals and exit code pass through as if it ran alone."""

from __future__ import annotations

import os
import resource
import select
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Reading, measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.devices.meter import Scope
from wattlaw.measuring.engine import Engine
from wattlaw.measuring.host import boot_id
from wattlaw.measuring.limits import limited
from wattlaw.measuring.record import Record, finish, new_record, run_of
from wattlaw.measuring.sampler import REPLAY, VARIABLE
from wattlaw.measuring.summary import Summary, summarise

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the command too; the command alone decides what they mean."""

_LOOK_S = 1.0


class Outcome(NamedTuple):
    """What became of a command. ``exit_code`` is negative for the signal that ended it."""

    exit_code: int
    elapsed_s: float
    run: Run
    summary: Summary


def measure_command(
    words: Sequence[str],
    *,
    folder: Path | None = None,
    name: str | None = None,
    hz: float = 10.0,
    gpus: Sequence[int | str] | None = None,
    limits: Mapping[str, float | None] | None = None,
) -> Outcome:
    """Run a command to its end and return what it cost. Called from the main thread: it passes signals on.

    ``folder`` keeps the whole record there, else none is kept. ``limits`` are held while the command runs,
    by the name of a setting's field, such as {"power_cap_w": 200}. Raises UsageError for a command that is
    not there or an impossible rate, RecordError where the folder cannot be written, and what ``limited`` raises.
    """
    if not words:
        raise UsageError("no command; write it after --, as in wattlaw measure -- python train.py")
    root = folder or Path(tempfile.mkdtemp(prefix="wattlaw-"))
    try:
        return _measure(words, root, folder is not None, name, hz, gpus, limits or {})
    finally:
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)


def pass_on_end(exit_code: int) -> int:
    """End this process as the command ended: by the same signal, or return its exit code."""
    if exit_code >= 0:
        return exit_code
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core file is the one to look at
    if -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 128 - exit_code


def _measure(
    words: Sequence[str],
    root: Path,
    is_kept: bool,
    name: str | None,
    hz: float,
    gpus: Sequence[int | str] | None,
    limits: Mapping[str, float | None],
) -> Outcome:
    setting = Setting(
        workload=name or Path(words[0]).name or "command",
        command=shlex.join(words),
        stop=Stop(),
        warmup_steps=0,
        **{n: v for n, v in limits.items() if v is not None},  # type: ignore[arg-type]
    )
    if is_kept:
        record = new_record(root, setting)
    else:
        (root / "attempt-1").mkdir()
        record = Record(root, root / "attempt-1", setting, 0)
    scope = Scope(
        root_pid=os.getpid(),
        gpus=None if gpus is None else tuple(map(str, gpus)),
        replay=os.environ.get(REPLAY, ""),
        apart=(os.getpid(),),
    )
    with limited(limits, gpus, record.attempt):
        engine = Engine(record.attempt, scope, hz)
        engine.start()
        try:
            start = engine.edge()
            exit_code, usage = _run(words, f"{boot_id()}:{os.getpid()}:{record.attempt.absolute()}")
            end = time.monotonic()
        finally:
            engine.stop()
    return _outcome(record, is_kept, exit_code, usage, (start, end))


def _outcome(
    record: Record, is_kept: bool, exit_code: int, usage: resource.struct_rusage, between: tuple[float, float]
) -> Outcome:
    start, end = between
    cpu_time = usage.ru_utime + usage.ru_stime
    summary = summarise(record.attempt, None, (start, end), cpu_time)
    own: dict[str, Reading] = {"cpu_time_s": measured(cpu_time, "the system's account of the command")}
    peak = (summary.quantities["memory_peak_bytes"].value or 0) / 1024
    # before it became the command the process was a copy of this one, and the system counts that too
    if usage.ru_maxrss > max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss):
        own["memory_peak_bytes"] = measured(usage.ru_maxrss * 1024.0, "largest single process, the system's account")
    quantities = {**summary.quantities, **own, "trial_s": measured(end - start, "monotonic clock")}
    error = "" if exit_code == 0 else f"the command ended with {_ending(exit_code)}"
    whole = Summary(**{**{n: getattr(summary, n) for n in summary.__struct_fields__}, "quantities": quantities})
    run = finish(record, whole, error) if is_kept else run_of(record, whole, error)
    return Outcome(exit_code, end - start, run, whole)


def _run(words: Sequence[str], sampler: str) -> tuple[int, resource.struct_rusage]:
    environment = {**os.environ, VARIABLE: sampler}
    with _signals() as (children, restored):
        try:
            pid = os.posix_spawnp(words[0], list(words), environment, setsigdef=restored)
        except FileNotFoundError:
            raise UsageError(f"there is no command {words[0]!r}") from None
        except PermissionError:
            raise UsageError(f"{words[0]!r} is not executable") from None
        children.start(pid)
        status, usage = children.wait()
    return os.waitstatus_to_exitcode(status), usage


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

    def wait(self) -> tuple[int, resource.struct_rusage]:
        """Wait for the end; woken by every signal, since one that comes just before a plain wait would be stuck."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return status, usage
            select.select([self.bell], [], [], _LOOK_S)
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


def _ending(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code > 0 else f"signal {signal.Signals(-exit_code).name}"

"""Any command, measured: its output, terminal, signals and exit code pass through as if it ran alone."""

from __future__ import annotations

import os
import resource
import select
import shlex
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.devices.meter import Scope
from wattlaw.measuring.engine import Engine, check_rate
from wattlaw.measuring.host import boot_id
from wattlaw.measuring.limits import limited
from wattlaw.measuring.node_samplers import NodeSamplers
from wattlaw.measuring.ranks import Place, announced, announced_attempt, place
from wattlaw.measuring.record import Record, finish, new_record, run_of
from wattlaw.measuring.sampler import REPLAY, VARIABLE
from wattlaw.measuring.slurm import is_step, nodes_of_job, nodes_of_step, starts_step
from wattlaw.measuring.summary import Summary, summarise
from wattlaw.measuring.together import Part, common_window, tell_end, wait_for_all_ends, wait_for_all_samplers

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the command too; the command alone decides what they mean."""

_LOOK_S = 1.0


class Outcome(NamedTuple):
    """What became of a command. ``exit_code`` is negative for the signal that ended it.

    ``run`` and ``summary`` are None where another node of the same step makes the record.
    """

    exit_code: int
    elapsed_s: float
    run: Run | None
    summary: Summary | None


Watching = Callable[[Engine], AbstractContextManager[object]]


class _Samplers(Protocol):
    def start(self) -> None: ...
    def edge(self) -> float: ...
    def stop(self) -> object: ...


def measure_command(
    words: Sequence[str],
    *,
    folder: Path | None = None,
    name: str | None = None,
    hz: float = 10.0,
    gpus: Sequence[int | str] | None = None,
    limits: Mapping[str, float | None] | None = None,
    watching: Watching | None = None,
) -> Outcome:
    """Run a command to its end and return what it cost. Called from the main thread: it passes signals on.

    ``folder`` keeps the whole record there, else none is kept. ``limits`` are held while the command runs,
    by the name of a setting's field, such as {"power_cap_w": 200}. ``watching`` is a context in which the
    command runs and which is given its sampler, such as one that serves the live values.

    In a Slurm allocation one sampler a node runs, for `wattlaw measure -- srun …` as for `srun wattlaw
    measure -- …`; of the latter's tasks on one node only the first measures, the others become the command.
    Several nodes need a ``folder`` that all of them see.

    Raises UsageError for a command that is not there or an impossible rate, RecordError where the folder
    cannot be written, and what ``limited`` raises.
    """
    if not words:
        raise UsageError("no command; write it after --, as in wattlaw measure -- python train.py")
    here = place() if is_step() else Place(0, 1, 0, 1)
    if here.local_rank > 0:
        _become(words)
    values = {n: v for n, v in (limits or {}).items() if v is not None}
    setting = Setting(workload=name or Path(words[0]).name or "command", command=shlex.join(words), stop=Stop(),
                      warmup_steps=0, nodes=nodes_of_step() if is_step() else 1, **values)  # type: ignore[arg-type]  # fmt: skip
    chosen = None if gpus is None else tuple(map(str, gpus))
    with _record(folder, setting, here) as (record, is_kept), limited(values, gpus, record.attempt):
        samplers = _samplers(words, record.attempt, hz, chosen, here)
        samplers.start()
        try:
            with watching(samplers) if watching and isinstance(samplers, Engine) else nullcontext():
                start = samplers.edge()
                exit_code, usage = _run(words, f"{boot_id()}:{os.getpid()}:{record.attempt.absolute()}")
                end = time.monotonic()
            parts = _meet(record.attempt, start, end, exit_code) if is_kept and nodes_of_step() > 1 else []
        finally:
            samplers.stop()
        if not here.is_leader and is_kept:
            return Outcome(exit_code, end - start, None, None)
        if parts:
            wait_for_all_samplers(record.attempt, len(parts))
            return _outcome(record, is_kept, exit_code, None, common_window(parts))
        own = usage if not starts_step(words) and here.local_world == 1 else None
        return _outcome(record, is_kept, exit_code, own, (start, end))


def pass_on_end(exit_code: int) -> int:
    """End this process as the command ended: by the same signal, or return its exit code."""
    if exit_code >= 0:
        return exit_code
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core file is the one to look at
    if -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 128 - exit_code


@contextmanager
def _record(folder: Path | None, setting: Setting, here: Place) -> Iterator[tuple[Record, bool]]:
    """Give the record, and whether it is kept: a new one, the one that the first task announces, or a passing one."""
    with ExitStack() as stack:
        if folder is None:
            # other nodes must see it: /tmp is each node's own
            beside = "." if nodes_of_job() > 1 and not is_step() else None
            prefix = ".wattlaw-" if beside else "wattlaw-"
            passing = tempfile.TemporaryDirectory(prefix=prefix, dir=beside, ignore_cleanup_errors=True)
            root = Path(stack.enter_context(passing))
            attempt = root / "attempt-1"
            attempt.mkdir()
            yield Record(root, attempt, setting, 0), False
        elif here.is_leader:
            record = new_record(folder, setting)
            if nodes_of_step() > 1 and is_step():
                stack.enter_context(announced(folder, record.attempt))
            yield record, True
        else:
            attempt = announced_attempt(folder)
            yield Record(attempt.parent, attempt, setting, 0), True


def _samplers(words: Sequence[str], attempt: Path, hz: float, gpus: tuple[str, ...] | None, here: Place) -> _Samplers:
    if starts_step(words):
        check_rate(hz)
        return NodeSamplers(attempt, hz, gpus)
    # the tasks of a step on one node are children of one daemon of Slurm's
    root = os.getppid() if here.local_world > 1 else os.getpid()
    scope = Scope(root_pid=root, gpus=gpus, replay=os.environ.get(REPLAY, ""), apart=(os.getpid(),))
    return Engine(attempt, scope, hz)


def _meet(attempt: Path, start_s: float, end_s: float, exit_code: int) -> list[Part]:
    tell_end(attempt, start_s, end_s, exit_code)
    return wait_for_all_ends(attempt, nodes_of_step())


def _become(words: Sequence[str]) -> NoReturn:
    """Turn this process into the command: another task on this node measures already."""
    try:
        os.execvp(words[0], list(words))
    except FileNotFoundError:
        raise UsageError(f"there is no command {words[0]!r}") from None
    except PermissionError:
        raise UsageError(f"{words[0]!r} is not executable") from None


def _outcome(
    record: Record,
    is_kept: bool,
    exit_code: int,
    usage: resource.struct_rusage | None,
    between: tuple[float, float],
) -> Outcome:
    start, end = between
    cpu_time = usage.ru_utime + usage.ru_stime if usage else None
    summary = summarise(record.attempt, None, between, cpu_time)
    own = _of_the_system(usage, summary) if usage else {}
    quantities = {**summary.quantities, **own, "trial_s": measured(end - start, "monotonic clock")}
    error = "" if exit_code == 0 else f"the command ended with {_ending(exit_code)}"
    notes = tuple(dict.fromkeys((*summary.warnings, *_unmeasured(summary))))
    whole = msgspec.structs.replace(summary, quantities=quantities, warnings=notes)
    run = finish(record, whole, error) if is_kept else run_of(record, whole, error)
    return Outcome(exit_code, end - start, run, whole)


def _unmeasured(summary: Summary) -> list[Note]:
    nodes = nodes_of_step() if is_step() else nodes_of_job()
    if summary.machine.hosts >= nodes:
        return []
    hint = "start the command with srun, and give -o a folder that every node sees"
    return [Note("nodes_unmeasured", f"only {summary.machine.hosts} of the job's {nodes} nodes are measured; {hint}")]


def _of_the_system(usage: resource.struct_rusage, summary: Summary) -> dict[str, Reading]:
    used_s = usage.ru_utime + usage.ru_stime
    how = "the system's account of the command"
    own = {"cpu_time_s": measured(used_s, how) if used_s > 0 else missing(f"it is below the tick of {how}")}
    peak = (summary.quantities["memory_peak_bytes"].value or 0) / 1024
    # before it became the command the process was a copy of this one, and the system counts that too
    if usage.ru_maxrss > max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss):
        own["memory_peak_bytes"] = measured(usage.ru_maxrss * 1024.0, "largest single process, the system's account")
    return own


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

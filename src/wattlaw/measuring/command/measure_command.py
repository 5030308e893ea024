"""Any command, measured: its output, terminal, signals and exit code pass through as if it ran alone."""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Note, measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.devices.meter import Scope
from wattlaw.measuring.command.run_command import (
    Ended,
    account,
    become,
    left_running,
    run_child,
    witnessed,
)
from wattlaw.measuring.command.run_command import pass_on_end as pass_on_end
from wattlaw.measuring.hosts.job_record import (
    Part,
    Place,
    Record,
    announced,
    announced_attempt,
    common_window,
    finish,
    new_record,
    passing_place,
    place,
    run_of,
    tell_end,
    wait_for_all_ends,
    wait_for_all_samplers,
)
from wattlaw.measuring.hosts.node_samplers import start_samplers
from wattlaw.measuring.limits.gpu_freq import write_read_back
from wattlaw.measuring.limits.guard import Guard
from wattlaw.measuring.limits.limits import given, limited
from wattlaw.measuring.limits.node_guard import fork_guarded
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.measuring.sampling.clock_offsets import clock_served
from wattlaw.measuring.sampling.host_sampler import VARIABLE, Engine, check_rate, telling
from wattlaw.measuring.sampling.sampler_process import REPLAY
from wattlaw.slurm.environment import is_step, nodes_of_job, nodes_of_step, starts_step


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
        become(words)
    values = given(limits or {})
    # the tasks of a step on one node are children of one daemon of Slurm's
    daemon = os.getppid() if here.local_world > 1 else 0
    guard = fork_guarded(pass_on_end, values) if values and is_step() else None
    setting = Setting(workload=_text(name or Path(words[0]).name) or "command", command=_text(shlex.join(words)),
                      stop=Stop(), warmup_steps=0, nodes=nodes_of_step() if is_step() else 1, **values)  # type: ignore[arg-type]  # fmt: skip
    chosen = None if gpus is None else tuple(map(str, gpus))
    with ExitStack() as stack:
        witness = stack.enter_context(witnessed())
        record, is_kept = stack.enter_context(_record(folder, setting, here))
        stack.enter_context(_held(words, values, chosen, record.attempt, guard))
        apart = (
            os.getpid(),
            *([witness.pid] if witness else ()),
            *((guard.pid, *guard.apart) if guard else ()),
        )
        job = (daemon or os.getpid(), apart)
        sampler = telling(os.getpid(), record.attempt.absolute())
        samplers, words = _started(words, record.attempt, hz, chosen, values, job, sampler)
        try:
            with watching(samplers) if watching and isinstance(samplers, Engine) else nullcontext():
                start = samplers.edge()
                ended = run_child(words, sampler, witness)
                end = time.monotonic()
            left = left_running(sampler, ended.pid)
            parts = (
                _meet(record.attempt, start, end, ended.exit_code)
                if is_kept and nodes_of_step() > 1
                else []
            )
        finally:
            samplers.stop()
            write_read_back(record.attempt)
        if not here.is_leader and is_kept:
            return Outcome(ended.exit_code, end - start, None, None)
        is_whole_job = not parts and not starts_step(words) and here.local_world == 1
        if parts:
            wait_for_all_samplers(record.attempt, len(parts))
        between = common_window(record.attempt, parts) if parts else (start, end)
        return _outcome(record, is_kept, ended, is_whole_job, between, left)


@contextmanager
def _record(folder: Path | None, setting: Setting, here: Place) -> Iterator[tuple[Record, bool]]:
    """Give the record, and whether it is kept: a new one, the one that the first task announces, or a passing one."""
    with ExitStack() as stack:
        if folder is None:
            # other nodes must see it: /tmp is each node's own
            beside = "." if nodes_of_job() > 1 and not is_step() else None
            prefix = ".wattlaw-" if beside else "wattlaw-"
            passing = tempfile.TemporaryDirectory(
                prefix=prefix, dir=beside or passing_place(), ignore_cleanup_errors=True
            )
            root = Path(stack.enter_context(passing))
            attempt = root / "attempt-1"
            attempt.mkdir()
            if nodes_of_job() > 1 and not is_step():
                stack.enter_context(clock_served(attempt))
            yield Record(root, attempt, setting, 0), False
        elif here.is_leader:
            record = new_record(folder, setting)
            if (nodes_of_step() if is_step() else nodes_of_job()) > 1:
                stack.enter_context(clock_served(record.attempt))
            if nodes_of_step() > 1 and is_step():
                stack.enter_context(announced(folder, record.attempt))
            yield record, True
        else:
            attempt = announced_attempt(folder)
            yield Record(attempt.parent, attempt, setting, 0), True


def _held(
    words: Sequence[str],
    values: Mapping[str, float],
    gpus: tuple[str, ...] | None,
    attempt: Path,
    guard: Guard | None,
) -> AbstractContextManager[object]:
    """Hold limits on this node; where a command of srun is to run, every node's sampler does."""
    return nullcontext() if starts_step(words) else limited(values, gpus, attempt, guard)


def _started(
    words: Sequence[str],
    attempt: Path,
    hz: float,
    gpus: tuple[str, ...] | None,
    values: Mapping[str, float],
    job: tuple[int, tuple[int, ...]],
    sampler: str,
) -> tuple[_Samplers, Sequence[str]]:
    """Start the sampler of this node or those of all; return it and the command to run."""
    root, apart = job
    if starts_step(words):
        check_rate(hz)
        return start_samplers(words, attempt, hz, gpus, values, apart)
    scope = Scope(
        root_pid=root,
        gpus=gpus,
        replay=os.environ.get(REPLAY, ""),
        apart=apart,
        mark=f"{VARIABLE}={sampler}",
    )
    engine = Engine(attempt, scope, hz)
    engine.start()
    return engine, words


def _meet(attempt: Path, start_s: float, end_s: float, exit_code: int) -> list[Part]:
    tell_end(attempt, start_s, end_s, exit_code)
    return wait_for_all_ends(attempt, nodes_of_step())


def _text(words: str) -> str:
    """Return words of a command line as text for the record; a byte that is no UTF-8 is shown, such as \\xff."""
    return words.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _outcome(
    record: Record,
    is_kept: bool,
    ended: Ended,
    is_whole_job: bool,
    between: tuple[float, float],
    left: Sequence[Note],
) -> Outcome:
    start, end = between
    cpu_time = ended.usage.ru_utime + ended.usage.ru_stime if is_whole_job else None
    summary = summarise(record.attempt, None, between, cpu_time)
    own = account(ended, summary.quantities) if is_whole_job else {}
    quantities = {**summary.quantities, **own, "trial_s": measured(end - start, "monotonic clock")}
    error = "" if ended.exit_code == 0 else f"the command ended with {_ending(ended.exit_code)}"
    notes = tuple(dict.fromkeys((*summary.warnings, *_unmeasured(summary), *left)))
    whole = msgspec.structs.replace(summary, quantities=quantities, warnings=notes)
    run = finish(record, whole, error) if is_kept else run_of(record, whole, error)
    return Outcome(ended.exit_code, end - start, run, whole)


def _unmeasured(summary: Summary) -> list[Note]:
    nodes = nodes_of_step() if is_step() else nodes_of_job()
    if summary.machine.hosts >= nodes:
        return []
    hint = "start the command with srun, and give -o a folder that every node sees"
    return [
        Note(
            "nodes_unmeasured",
            f"measured on only {summary.machine.hosts} of the job's {nodes} nodes; {hint}",
        )
    ]


def _ending(exit_code: int) -> str:
    return (
        f"exit code {exit_code}" if exit_code > 0 else f"signal {signal.Signals(-exit_code).name}"
    )

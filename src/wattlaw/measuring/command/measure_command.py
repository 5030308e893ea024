"""Measures any command; its output, terminal, signals and exit code pass through unchanged.

run_command.py runs the command, a HostSampler reads the meters, and summary.py reduces
what was read.
"""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.files import temporary_folder
from wattlaw.core.reading import Note, measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.devices.meter import Scope
from wattlaw.measuring.command.run_command import (
    EndedCommand,
    accounted,
    become_command,
    describe_exit,
    end_like_command,
    processes_left,
    run_command,
    signal_witness,
)
from wattlaw.measuring.hosts.job_record import (
    JobPlace,
    JobRecord,
    NodeCommand,
    announced,
    announced_attempt,
    common_window,
    finish,
    new_record,
    note_command,
    place,
    wait_for_commands,
    wait_for_samplers,
)
from wattlaw.measuring.hosts.node_samplers import start_samplers
from wattlaw.measuring.limits.limits import limited
from wattlaw.measuring.limits.node_guard import fork_guarded
from wattlaw.measuring.reduce.attempt import Span
from wattlaw.measuring.reduce.summary import Summary, run_of, summarise
from wattlaw.measuring.sampling.clock_offsets import clock_served, compare_clock
from wattlaw.measuring.sampling.host_sampler import (
    SAMPLER_VARIABLE,
    HostSampler,
    check_rate,
    sampler_mark,
)
from wattlaw.measuring.sampling.sampler_process import REPLAY
from wattlaw.slurm.job_environment import is_step, nodes_of_job, nodes_of_step, starts_step


class MeasuredCommand(NamedTuple):
    """A command that was measured. ``exit_code`` is negative if a signal ended it.

    ``run`` and ``summary`` are None if another node of the same step makes the record.
    """

    exit_code: int
    elapsed_s: float
    run: Run | None
    summary: Summary | None


Watching = Callable[[HostSampler], AbstractContextManager[object]]


class _Samplers(Protocol):
    def edge(self) -> float: ...
    def stop(self) -> object: ...


class _Task(NamedTuple):
    """What to measure, and how."""

    words: Sequence[str]
    hz: float
    gpus: tuple[str, ...] | None
    limits: dict[str, float]


def measure_command(
    words: Sequence[str],
    *,
    folder: Path | None = None,
    name: str | None = None,
    hz: float = 10.0,
    gpus: Sequence[int | str] | None = None,
    limits: Mapping[str, float | None] | None = None,
    watching: Watching | None = None,
) -> MeasuredCommand:
    """Run a command to its end and measure it. Must be called from the main thread.

    folder    folder for the whole record; None keeps no record
    name      name of the command in the record; by default that of its program
    hz        readings per second, 0.1 to 100
    gpus      indices or UUIDs of the GPUs to read; None: all that the command may use
    limits    set while the command runs, by the name of a setting's field: {"power_cap_w": 200}
    watching  takes the sampler and returns a context that is entered while the command runs, such
              as a server of live values

    In a Slurm allocation there is one sampler on each node, for `wattlaw measure -- srun …` and
    for `srun wattlaw measure -- …`; of the latter's tasks on one node, only the first
    measures, and the others exec the command. Several nodes need a ``folder`` that all of them see.

    Raises UsageError for a command that cannot be run or an impossible rate, RecordError if the
    folder cannot be written, and what ``limited`` raises.
    """
    if not words:
        raise UsageError("no command; write it after --, as in wattlaw measure -- python train.py")
    here = place() if is_step() else JobPlace()
    if here.local_rank > 0:
        become_command(words)
    values = {n: v for n, v in (limits or {}).items() if v is not None}
    chosen = None if gpus is None else tuple(map(str, gpus))
    task = _Task(words, hz, chosen, values)
    guard = None
    if values and is_step():
        guard = fork_guarded(end_like_command, values)
    with ExitStack() as stack:
        witness = stack.enter_context(signal_witness())
        setting = _setting(name, task)
        record, is_kept = stack.enter_context(_record(folder, setting, here))
        attempt = record.attempt
        if values and not starts_step(words):
            stack.enter_context(limited(values, chosen, attempt, guard))
        excluded = [os.getpid()]
        if witness:
            excluded.append(witness.pid)
        if guard:
            excluded += [guard.pid, *guard.excluded]
        mark = sampler_mark(os.getpid(), attempt.absolute())
        samplers, words = _start_sampling(task, attempt, here, tuple(excluded), mark)
        nodes: list[NodeCommand] = []
        try:
            watch: AbstractContextManager[object] = nullcontext()
            if watching and isinstance(samplers, HostSampler):
                watch = watching(samplers)
            with watch:
                start_s = samplers.edge()
                ended = run_command(words, {SAMPLER_VARIABLE: mark}, witness)
                end_s = time.monotonic()
            left = processes_left(f"{SAMPLER_VARIABLE}={mark}", ended.pid)
            if is_kept and nodes_of_step() > 1:
                note_command(attempt, start_s, end_s, ended.exit_code)
                nodes = wait_for_commands(attempt, nodes_of_step())
        finally:
            samplers.stop()
        if is_kept and not here.is_leader:
            return MeasuredCommand(ended.exit_code, end_s - start_s, None, None)
        between = (start_s, end_s)
        if nodes:
            wait_for_samplers(attempt, len(nodes))
            between = common_window(attempt, nodes)
        is_whole_job = not nodes and not starts_step(words) and here.local_world == 1
        summary = _summary(record, ended, is_whole_job, between, left)
        error = (
            f"the command ended with {describe_exit(ended.exit_code)}" if ended.exit_code else ""
        )
        if is_kept:
            run = finish(record, summary, error)
        else:
            run = run_of(summary, setting, record.trial, error=error)
        return MeasuredCommand(ended.exit_code, between[1] - between[0], run, summary)


def _setting(name: str | None, task: _Task) -> Setting:
    program = _text(name or Path(task.words[0]).name)
    return Setting(
        workload=program or "command",
        command=_text(shlex.join(task.words)),
        stop=Stop(),
        warmup_steps=0,
        nodes=nodes_of_step() if is_step() else 1,
        **task.limits,  # type: ignore[arg-type]
    )


@contextmanager
def _record(
    folder: Path | None, setting: Setting, here: JobPlace
) -> Iterator[tuple[JobRecord, bool]]:
    """Yield the record and whether it is kept: a new one, the leader's, or a temporary one."""
    nodes = _nodes()
    if folder is None:
        with _temporary_record(setting) as record:
            yield record, False
    elif here.is_leader:
        record = new_record(folder, setting)
        with ExitStack() as stack:
            if nodes > 1:
                stack.enter_context(clock_served(record.attempt))
            if nodes > 1 and is_step():
                stack.enter_context(announced(folder, record.attempt))
            yield record, True
    else:
        attempt = announced_attempt(folder)
        yield JobRecord(attempt.parent, attempt, setting, 0), True


@contextmanager
def _temporary_record(setting: Setting) -> Iterator[JobRecord]:
    is_on_nodes = nodes_of_job() > 1 and not is_step()
    # other nodes must see the folder, and /tmp is each node's own
    parent, prefix = (".", ".wattlaw-") if is_on_nodes else (temporary_folder(), "wattlaw-")
    with tempfile.TemporaryDirectory(
        prefix=prefix, dir=parent, ignore_cleanup_errors=True
    ) as folder:
        attempt = Path(folder) / "attempt-1"
        attempt.mkdir()
        with clock_served(attempt) if is_on_nodes else nullcontext():
            yield JobRecord(Path(folder), attempt, setting, 0)


def _start_sampling(
    task: _Task, attempt: Path, here: JobPlace, excluded: tuple[int, ...], mark: str
) -> tuple[_Samplers, Sequence[str]]:
    """Start the sampler of this node, or those of all; return it and the command to run."""
    if starts_step(task.words):
        check_rate(task.hz)
        return start_samplers(task.words, attempt, task.hz, task.gpus, task.limits, excluded)
    # the tasks of a step on one node are children of one daemon of Slurm
    root_pid = os.getppid() if here.local_world > 1 else os.getpid()
    scope = Scope(
        root_pid=root_pid,
        gpus=task.gpus,
        replay=os.environ.get(REPLAY, ""),
        excluded=excluded,
        mark=f"{SAMPLER_VARIABLE}={mark}",
    )
    has_other_hosts = is_step() and nodes_of_step() > 1
    compare = compare_clock if has_other_hosts else None
    sampler = HostSampler(attempt, scope, task.hz, compare_clock=compare)
    sampler.start()
    return sampler, task.words


def _summary(
    record: JobRecord,
    ended: EndedCommand,
    is_whole_job: bool,
    between: Span,
    left: Sequence[Note],
) -> Summary:
    """Summarise, with the kernel's accounting if the command's processes were the whole job."""
    cpu_time_s = ended.cpu_time_s if is_whole_job else None
    summary = summarise(record.attempt, None, between, cpu_time_s)
    quantities = dict(summary.quantities)
    if is_whole_job:
        quantities |= accounted(ended, summary.quantities)
    quantities["trial_s"] = measured(between[1] - between[0], "monotonic clock")
    notes = dict.fromkeys((*summary.warnings, *_unmeasured_nodes(summary), *left))
    return msgspec.structs.replace(summary, quantities=quantities, warnings=tuple(notes))


def _nodes() -> int:
    """Return the number of nodes on which the command runs or could run."""
    return nodes_of_step() if is_step() else nodes_of_job()


def _unmeasured_nodes(summary: Summary) -> list[Note]:
    nodes = _nodes()
    if summary.machine.hosts >= nodes:
        return []
    text = (
        f"only {summary.machine.hosts} of the job's {nodes} nodes were measured; "
        "start the command with srun, and pass -o a folder that every node sees"
    )
    return [Note("nodes_unmeasured", text)]


def _text(words: str) -> str:
    """Return words as text for the record; a byte that is not UTF-8 is shown as in \\xff."""
    return words.encode(errors="surrogateescape").decode(errors="backslashreplace")

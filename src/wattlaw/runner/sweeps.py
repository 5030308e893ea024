"""`wattlaw.run` and `wattlaw.sweep`: one trial, or a grid of trials, as plain calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import tomli_w

from wattlaw.core.errors import DamagedRunError, NewerFormatError, RecordError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.plugins import EXECUTORS, load
from wattlaw.core.run import Run
from wattlaw.core.run_folder import SUMMARY, SWEEP, read_run, scan
from wattlaw.core.sweepfile import Sweep, Trial, read_sweep, sweep_from
from wattlaw.executors.claims import Runner
from wattlaw.executors.executor import Executor, TrialSpec, Watcher, result_of
from wattlaw.records import keep_index, load_runs
from wattlaw.runner.carry_out import run_trial
from wattlaw.runner.node_devices import here
from wattlaw.runner.plan import SweepPlan, plan
from wattlaw.runner.prepare import prepare, write_trial_spec

SweepSource = str | Path | Mapping[str, object] | Sweep
"""A sweep as the path of its file, as the values of its file, or as a `Sweep`."""


class Silent:
    """A watcher that displays nothing."""

    def begin(self, trial: Trial) -> None:
        return

    def tick(self, attempt: Path) -> None:
        return

    def end(self, trial: Trial, run: Run) -> None:
        return

    def end_elsewhere(self, trial: Trial, run: Run) -> None:
        return

    def wait(self, runners: Sequence[Runner]) -> None:
        return


def run(
    workload: str,
    *,
    out: str | Path = "runs",
    name: str = "run",
    repeats: int = 1,
    **setting: object,
) -> list[Run]:
    """Run one setting and return its records.

    ``setting`` takes the fields of `Setting`, ``devices`` (the total), and the options of a
    workload by name. A trial that fails is recorded as failed; an earlier failed one runs again.
    Raises UsageError for a setting that this machine cannot carry out.
    """
    values = {"name": name, "repeats": repeats, "setting": {"workload": workload, **setting}}
    return sweep(values, out=out, is_retry=True)


def sweep(
    source: SweepSource,
    *,
    out: str | Path = "runs",
    watcher: Watcher | None = None,
    is_retry: bool = False,
) -> list[Run]:
    """Carry out a sweep and return the records of all its trials.

    Trials that have a result in ``out`` do not run again; failed ones do with ``is_retry``. Other
    processes may carry out the same sweep at the same time: each trial runs once, and the call
    returns when all have a result. Raises UsageError or RecordError.
    """
    planned = plan_sweep(source, out)
    run_trials(planned, watcher, is_retry)
    return results(planned)


class PlannedSweep(NamedTuple):
    """A sweep that is ready to run: its plan, the folder of its runs, the bytes of its file."""

    plan: SweepPlan
    folder: Path
    source: bytes


def plan_sweep(source: SweepSource, out: str | Path, *, is_elsewhere: bool = False) -> PlannedSweep:
    """Read, check and plan a sweep; nothing is run or written.

    Settings that this machine cannot carry out are refused, unless the trials run elsewhere.
    Earlier runs of the sweep, or of sweeps beside it, are used to estimate how long trials take.
    Raises UsageError or RecordError.
    """
    whole, data = as_sweep(source)
    folder = Path(out) / whole.name
    node = None if is_elsewhere else here()
    return PlannedSweep(plan(whole, node, _earlier_runs(folder)), folder, data)


def run_trials(
    planned: PlannedSweep,
    watcher: Watcher | None = None,
    is_retry: bool = False,
    executor: str = "local",
) -> list[Run]:
    """Run the trials that have no result; return those that this process has carried out, in order.

    ``is_retry`` runs failed trials again as well. KeyboardInterrupt leaves every finished trial on
    disk. Raises UnknownNameError or RecordError.
    """
    chosen = executor_of(executor, planned.folder, watcher)
    specs = _prepare_all(planned, is_retry)
    return chosen.submit(specs)


def executor_of(name: str, folder: Path, watcher: Watcher | None = None) -> Executor:
    """Return an executor for the sweep in a folder. Raises UnknownNameError."""
    kind: type[Executor] = load(EXECUTORS, name)
    events = watcher or Silent()

    def work(spec: TrialSpec, attempt: Path) -> Run | None:
        return run_trial(spec, attempt, [events.tick])

    return kind(folder, work, events)


def prepare_sweep(planned: PlannedSweep, is_retry: bool = False) -> list[Path]:
    """Write the SPEC.json of every trial that has no result; return their paths in random order.

    Each can be carried out by ``wattlaw worker``, on any machine that sees the folder.
    """
    return [write_trial_spec(spec) for spec in _prepare_all(planned, is_retry)]


def run_prepared(spec: TrialSpec) -> Run | None:
    """Carry out a prepared trial in this process and return its record.

    If another process carries it out, waits for it. The trial fails if the user's source file has
    changed since it was prepared. Returns None for a record of a newer format. Raises RecordError.
    """
    kind: type[Executor] = load(EXECUTORS, "local")

    def work(spec: TrialSpec, attempt: Path) -> Run | None:
        return run_trial(spec, attempt, is_code_checked=True)

    kind(Path(spec.folder), work, Silent()).submit([spec])
    try:
        return result_of(spec)
    except NewerFormatError:
        return None


def _prepare_all(planned: PlannedSweep, is_retry: bool) -> list[TrialSpec]:
    folder, whole = make_folder(planned.folder), planned.plan.sweep
    write_whole(folder / SWEEP, planned.source)
    specs = []
    for trial in undone(planned.plan, folder, is_retry):
        replaces = 0
        if is_retry:
            earlier = _result(folder / trial.id / SUMMARY)
            if earlier and earlier.state == "failed":
                replaces = earlier.attempt
        specs.append(prepare(trial, whole, folder, replaces))
    return specs


def undone(plan: SweepPlan, folder: Path, is_retry: bool = False) -> list[Trial]:
    """Return the trials that have no result; with ``is_retry`` the failed ones too.

    A damaged summary does not count as a result. One of a newer format does: it must not be
    overwritten.
    """
    found = []
    for trial in plan.trials:
        try:
            run = _result(folder / trial.id / SUMMARY)
        except NewerFormatError:
            continue
        if run is None or (is_retry and run.state == "failed"):
            found.append(trial)
    return found


def _result(summary: Path) -> Run | None:
    with explained(summary, "read"):
        if not summary.exists():
            return None
    try:
        return read_run(summary)
    except DamagedRunError:
        return None


def results(planned: PlannedSweep) -> list[Run]:
    """Return the records of a sweep's trials, and update the index of its folder."""
    keep_index(planned.folder)
    ids = {trial.id for trial in planned.plan.trials}
    return [run for run in load_runs(planned.folder) if run.trial in ids]


def _earlier_runs(folder: Path) -> list[Run]:
    """Return the runs in a sweep's folder, else those in the folder beside it."""
    for place in (folder, folder.parent):
        try:
            if place.is_dir() and scan(place).summaries:
                return list(load_runs(place, on_damaged="ignore"))
        except RecordError:
            continue
    return []


def as_sweep(source: SweepSource) -> tuple[Sweep, bytes]:
    """Return a sweep and the bytes of an equivalent file. Raises UsageError or RecordError."""
    if isinstance(source, str | Path):
        path = Path(source)
        return read_sweep(path), path.read_bytes()
    if not isinstance(source, Sweep):
        source = sweep_from(dict(source))
    return source, to_toml(source).encode()


def to_toml(whole: Sweep) -> str:
    """Return a sweep as the text of its file."""
    values = msgspec.to_builtins(whole)
    if "setting" in values:  # TOML has no null: a field that is None is left out
        values["setting"] = {n: v for n, v in values["setting"].items() if v is not None}
    return tomli_w.dumps(values)

"""Lists studies, estimates what they cost, and runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from wattlaw.core.errors import (
    DamagedRunError,
    MissingPartError,
    RecordError,
    UnknownNameError,
    UsageError,
)
from wattlaw.core.files import explained, make_folder
from wattlaw.core.plugins import STUDIES, load, plugins
from wattlaw.core.quantities import energy
from wattlaw.core.reading import Reading, estimated, missing
from wattlaw.core.run import Run
from wattlaw.records import load_runs
from wattlaw.runner.node_devices import here
from wattlaw.runner.sweeps import plan_sweep, sweep, undone
from wattlaw.studies.planned import PLANNED
from wattlaw.studies.role import Study, StudyInputs, SweepValues

RECORD = "study.json"
"""The file in a study's folder that holds the findings of its last run."""

SweepRunner = Callable[[SweepValues, Path], Sequence[Run]]
"""Carries out a sweep in a folder of runs and returns the records of all its trials."""


class StudyListing(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of studies. ``last_run`` is a UTC time stamp; None if the study never
    ran in the folder.
    """

    name: str
    paper: str
    scales: tuple[str, ...]
    question: str
    last_run: str | None
    built: bool


class StudyEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The estimated cost of what is left of a study at one scale.

    trials, left  trials of its sweep, and those without a result
    time_s        time of the trials that are left, of other work and of the analysis
    device_hours  time of the trials times their devices
    energy_j      from the mean power of earlier runs; missing if none measured energy
    """

    name: str
    scale: str
    trials: int
    left: int
    time_s: Reading
    device_hours: Reading
    energy_j: Reading


def list_studies(out: Path) -> list[StudyListing]:
    """Return all studies, those that are not built yet last; ``out`` is the folder of all runs."""
    found = []
    for name in sorted(plugins(STUDIES)):
        study = find_study(name)
        listing = StudyListing(
            name=name,
            paper=study.paper,
            scales=study.scales,
            question=study.question,
            last_run=_last_run(out / name),
            built=True,
        )
        found.append(listing)
    for planned in PLANNED:
        if planned.name in plugins(STUDIES):
            continue
        listing = StudyListing(
            name=planned.name,
            paper=planned.paper,
            scales=(),
            question=planned.question,
            last_run=None,
            built=False,
        )
        found.append(listing)
    return found


def find_study(name: str) -> Study:
    """Return a study. Raises UnknownNameError; UsageError if the study is planned but not built
    yet.
    """
    built = plugins(STUDIES)
    if name not in built and name in {p.name for p in PLANNED}:
        raise UsageError(f"the study {name} is not built yet; built: {', '.join(sorted(built))}")
    study: type[Study] = load(STUDIES, name)
    return study()


def checked_scale(study: Study, scale: str | None) -> str:
    """Return a scale of a study, by default ``laptop`` or its smallest. Raises UnknownNameError."""
    if scale is None:
        return "laptop" if "laptop" in study.scales else study.scales[0]
    if scale not in study.scales:
        raise UnknownNameError("scale", scale, study.scales)
    return scale


def run_work(
    study: Study, scale: str, out: str | Path, run_sweep: SweepRunner | None = None
) -> StudyInputs:
    """Run what a study needs at a scale; what is already done does not run again.

    ``run_sweep`` carries out the sweep; by default without a display. Raises UsageError or
    RecordError.
    """
    folder = make_folder(Path(out) / study.name)
    values = study.sweep(here(), scale)
    runs: Sequence[Run] = ()
    if values is not None:
        run_sweep = run_sweep or _run_silently
        runs = run_sweep(values, Path(out))
    study.other_work(folder, scale)
    return StudyInputs(scale, tuple(runs), folder)


def estimate_study(study: Study, scale: str, out: str | Path) -> StudyEstimate:
    """Estimate what is left of a study; earlier runs in ``out`` make the estimate better."""
    other_s = study.other_work_s(scale)
    values = study.sweep(here(), scale)
    nothing = StudyEstimate(
        name=study.name,
        scale=scale,
        trials=0,
        left=0,
        time_s=estimated(other_s, "analysis only; no trials"),
        device_hours=estimated(0.0, "no trials"),
        energy_j=missing("the study runs no trials at this scale"),
    )
    if values is None:
        return nothing
    try:
        planned = plan_sweep(dict(values), out)
    except MissingPartError as error:
        unknown = missing(str(error))
        return msgspec.structs.replace(
            nothing, time_s=unknown, device_hours=unknown, energy_j=unknown
        )
    todo = undone(planned.plan, planned.folder)
    trials_s, is_guess = planned.plan.time_of(todo)
    device_s = sum(planned.plan.seconds[t.id] * t.setting.devices for t in todo)
    how = "a rough guess, without runs of these settings" if is_guess else "from earlier runs"
    return StudyEstimate(
        name=study.name,
        scale=scale,
        trials=len(planned.plan.trials),
        left=len(todo),
        time_s=estimated(trials_s + other_s, how),
        device_hours=estimated(device_s / 3600, how),
        energy_j=_estimated_energy(_runs_in(planned.folder), device_s),
    )


def _estimated_energy(runs: Sequence[Run], device_s: float) -> Reading:
    """Return the energy of device-seconds at the median power per device of earlier runs."""
    powers = []
    for run in runs:
        total, _ = energy(run)
        elapsed_s = run.reading("elapsed_s").value
        if total.status == "measured" and total.value and elapsed_s:
            powers.append(total.value / elapsed_s / run.setting.devices)
    if not powers:
        return missing("no earlier run measured energy")
    return estimated(median(powers) * device_s, "mean power of earlier runs")


def _run_silently(values: SweepValues, out: Path) -> Sequence[Run]:
    return sweep(dict(values), out=out)


def _last_run(folder: Path) -> str | None:
    """Return when a study last ran in a folder."""
    times = [run.started for run in _runs_in(folder)]
    record = folder / RECORD
    if record.exists():
        with explained(record, "read"):
            data = record.read_bytes()
        try:
            times.append(msgspec.json.decode(data, type=_Finished).finished)
        except msgspec.MsgspecError:
            raise DamagedRunError(f"{record} is damaged; run the study again") from None
    return max(times, default=None)


class _Finished(msgspec.Struct):
    finished: str


def _runs_in(folder: Path) -> list[Run]:
    try:
        return list(load_runs(folder))
    except RecordError:
        return []

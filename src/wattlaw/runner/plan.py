"""From a sweep to the trials that are to be run: checked, ordered, estimated."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.folder import SUMMARY
from wattlaw.core.plugins import plugins
from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Setting
from wattlaw.core.sweepfile import Sweep, Trial, settings, trials
from wattlaw.runner import command
from wattlaw.runner.options import TRAINING, training_options, workload_options
from wattlaw.runner.place import Place, check_place, device_type
from wattlaw.workloads import table

ROOM = "wattlaw.workloads"
START_UP_S = 6.0
"""Assumed time from a process's start to its first step, where no run of the workload is at hand, s."""
ASSUMED_FLOP_PER_S = {"cpu": 1e10, "cuda": 2e13}
"""Assumed rate of one device where no run is at hand: a rough guess, called one wherever it is shown."""


class Plan(msgspec.Struct, frozen=True):
    """Trials in the order in which they run, those already done, and how long each should take, s."""

    sweep: Sweep
    trials: tuple[Trial, ...]
    done: frozenset[str]
    seconds: dict[str, float]
    is_guess: bool

    @property
    def left(self) -> tuple[Trial, ...]:
        """Trials that have no summary yet."""
        return tuple(t for t in self.trials if t.id not in self.done)

    @property
    def left_s(self) -> float:
        """Estimated time of the trials that are left, cool-downs included, s."""
        return sum(self.seconds[t.id] + self.sweep.cooldown_s for t in self.left)


def plan(sweep: Sweep, folder: Path, place: Place, runs: Sequence[Run] = ()) -> Plan:
    """Check every setting of a sweep and order its trials.

    ``runs`` are earlier runs that the estimate of time is taken from. Raises SettingError or
    UnknownNameError for the first impossible setting.
    """
    grid = settings(sweep)
    for setting in grid:
        check(setting, place)
    if any(s.command for s in grid):
        command.check_swept(next(s.command for s in grid if s.command), list(sweep.over))
    ordered = trials(sweep, {s.workload: version(s.workload) for s in grid})
    seconds, guess = _estimate(ordered, place, runs)
    return Plan(sweep, tuple(ordered), finished(folder, ordered), seconds, guess)


def check(setting: Setting, place: Place) -> None:
    """Raise SettingError or UnknownNameError where a setting cannot be carried out here."""
    check_place(setting, place)
    training_options(setting)
    if setting.command:
        command.words_of(setting, out="out")
        command.check_pattern(setting.step_pattern)
        return
    if setting.step_pattern:
        raise SettingError("step_pattern goes with a command; a workload records its own steps")
    try:
        table.check_request(setting.workload, setting.preset, workload_options(setting))
    except UnknownNameError as error:
        raise _with_fields(setting, error) from None


def finished(folder: Path, wanted: Iterable[Trial]) -> frozenset[str]:
    """Return the ids of the trials whose summary is there."""
    return frozenset(t.id for t in wanted if (folder / t.id / SUMMARY).exists())


def version(workload: str) -> int:
    """Return the version that a workload's file declares; 1 for a user's own."""
    plugin = plugins(ROOM).get(workload)
    return plugin.version if plugin else 1


def _with_fields(setting: Setting, error: UnknownNameError) -> UnknownNameError:
    # a misspelt field of a setting arrives as an option: offer the fields as well
    entry = table.table().get(setting.workload)
    known = [*(entry.options if entry else ()), *TRAINING, *(f for f in FIELDS if f != "options"), "devices"]
    wrong = [n for n in workload_options(setting) if entry and n not in entry.options]
    return UnknownNameError("name", wrong[0], known) if wrong and setting.preset in _presets(entry) else error


def _presets(entry: table.Entry | None) -> list[str]:
    return [c.preset for c in entry.presets] if entry else []


def _estimate(ordered: Sequence[Trial], place: Place, runs: Sequence[Run]) -> tuple[dict[str, float], bool]:
    by_workload: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        seconds = run.reading("trial_s").value
        if seconds and run.state == "done":
            by_workload.setdefault((run.setting.workload, run.setting.preset), []).append(seconds)
    medians = {key: statistics.median(seconds) for key, seconds in by_workload.items()}
    found, guess = {}, False
    for trial in ordered:
        known = medians.get((trial.setting.workload, trial.setting.preset))
        guess |= known is None
        found[trial.id] = _guess(trial.setting, place) if known is None else known
    return found, guess


def _guess(setting: Setting, place: Place) -> float:
    if setting.stop.seconds is not None:
        return START_UP_S + setting.stop.seconds
    known = None if setting.command else table.counts(setting.workload, setting.preset)
    if known is None or setting.stop.steps is None:
        return 10 * START_UP_S
    batch = setting.batch_per_device or known.batch
    rate = ASSUMED_FLOP_PER_S[device_type(setting, place)]
    return START_UP_S + (setting.stop.steps + setting.warmup_steps) * batch * known.flop_per_sample / rate

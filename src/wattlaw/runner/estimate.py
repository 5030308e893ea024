"""How long trials should take: from earlier runs where there are any, else a rough guess called one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from operator import attrgetter

from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Setting
from wattlaw.core.sweepfile import Trial
from wattlaw.runner.machine import Place, device_type
from wattlaw.workloads import table

START_UP_S = 6.0
"""Assumed time from a process's start to its first step, where no run of the workload is at hand, s."""
ASSUMED_FLOP_PER_S = {"cpu": 1e10, "cuda": 2e13}
"""Assumed rate of one device where no run is at hand: a rough guess, called one wherever it is shown."""

_LENGTH = ("seed", "stop", "warmup_steps", "step_pattern", "options")
_alike = attrgetter(*(n for n in FIELDS if n not in _LENGTH))
Key = tuple[object, ...]


def estimate(
    ordered: Iterable[Trial], place: Place, runs: Sequence[Run]
) -> tuple[dict[str, float], set[str]]:
    """Return each trial's time by id, s, and the ids of those for which it is a guess.

    Taken from runs of the same setting, scaled to its steps or seconds; else from the nearest that ran, with
    equal devices and batch or only the same workload or command, which is a guess; else from assumed rates.
    """
    by_key: dict[Key, list[Run]] = {}
    for run in runs:
        if run.state == "done" and run.reading("trial_s").value:
            for key in _keys(run.setting):
                by_key.setdefault(key, []).append(run)
    seconds, guessed, known = {}, set(), dict[object, tuple[float, bool]]()
    for trial in ordered:
        # repeats have one estimate
        if (setting := id(trial.setting)) not in known:
            known[setting] = _one(trial.setting, place, by_key)
        seconds[trial.id], is_guess = known[setting]
        if is_guess:
            guessed.add(trial.id)
    return seconds, guessed


def _keys(setting: Setting) -> list[Key]:
    """Return what a setting shares with others, from all that matters to the workload or command alone."""
    what = (setting.workload, setting.preset, setting.command)
    return [
        (*_alike(setting), *sorted(setting.options.items())),
        (*what, setting.devices, setting.batch_per_device),
        what,
    ]


def _one(setting: Setting, place: Place, by_key: dict[Key, list[Run]]) -> tuple[float, bool]:
    for distance, key in enumerate(_keys(setting)):
        if key in by_key:
            # the latest runs tell enough
            return statistics.median(
                scaled(run, setting) for run in by_key[key][-100:]
            ), distance > 0
    return _guess(setting, place), True


def scaled(run: Run, setting: Setting) -> float:
    """Return the time of a run, s, were its stop that of ``setting``: start and warm-up stay, the steps scale."""
    whole = run.reading("trial_s").value or 0.0
    window, steps = run.reading("elapsed_s").value or 0.0, run.reading("steps").value
    asked, ran = setting.stop, run.setting.stop
    if asked == ran or (setting.command and "{steps}" not in setting.command):
        return whole
    if setting.command:
        return whole * asked.steps / ran.steps if asked.steps and ran.steps else whole
    lengths = [asked.seconds] if asked.seconds else []
    if asked.steps and steps:
        lengths.append(window * asked.steps / steps)
    if asked.epochs and ran.epochs and ran.steps is None and ran.seconds is None:
        lengths.append(window * asked.epochs / ran.epochs)
    return max(0.0, whole - window) + min(lengths) if lengths else whole


def _guess(setting: Setting, place: Place) -> float:
    if setting.stop.seconds is not None:
        return START_UP_S + setting.stop.seconds
    known = None if setting.command else table.counts(setting.workload, setting.preset)
    if known is None or setting.stop.steps is None:
        return 10 * START_UP_S
    batch = setting.batch_per_device or known.batch
    rate = ASSUMED_FLOP_PER_S[device_type(setting, place)]
    return (
        START_UP_S
        + (setting.stop.steps + setting.warmup_steps) * batch * known.flop_per_sample / rate
    )

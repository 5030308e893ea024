"""Estimates how long trials take: from earlier runs, else a rough guess that is labelled as one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from operator import attrgetter

from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Setting
from wattlaw.core.sweepfile import Trial
from wattlaw.runner.node_devices import NodeDevices, device_type
from wattlaw.workloads import counts

START_UP_S = 6.0
"""Assumed time from the start of a process to its first step if the workload has no run yet, s."""
ASSUMED_FLOP_PER_S = {"cpu": 1e10, "cuda": 2e13}
"""Assumed rate of one device if there is no run: a rough guess, and labelled as one."""

_LATEST = 100
_LENGTH = ("seed", "stop", "warmup_steps", "step_pattern", "options")
_without_length = attrgetter(*(name for name in FIELDS if name not in _LENGTH))
Key = tuple[object, ...]


def estimate(
    ordered: Iterable[Trial], node: NodeDevices | None, runs: Sequence[Run]
) -> tuple[dict[str, float], set[str]]:
    """Return the time of each trial by id, s, and the ids of those for which it is a guess.

    The time is the median of runs of the same setting, scaled to its number of steps or seconds. If
    there are none, it is guessed from the nearest runs: those with the same devices and batch, else
    those of the same workload or command; else from an assumed rate. ``node`` is None if it is not
    known where the trials will run.
    """
    by_key: dict[Key, list[Run]] = {}
    for run in runs:
        if run.state == "done" and run.reading("trial_s").value:
            for key in _keys(run.setting):
                by_key.setdefault(key, []).append(run)
    seconds, guessed, known = {}, set(), dict[object, tuple[float, bool]]()
    for trial in ordered:
        # all repeats of a setting have the same estimate
        if (setting := id(trial.setting)) not in known:
            known[setting] = _estimate_one(trial.setting, node, by_key)
        seconds[trial.id], is_guess = known[setting]
        if is_guess:
            guessed.add(trial.id)
    return seconds, guessed


def _keys(setting: Setting) -> list[Key]:
    """Return keys that similar settings share, the most specific one first."""
    what = (setting.workload, setting.preset, setting.command)
    return [
        (*_without_length(setting), *sorted(setting.options.items())),
        (*what, setting.devices, setting.batch_per_device),
        what,
    ]


def _estimate_one(
    setting: Setting, node: NodeDevices | None, by_key: dict[Key, list[Run]]
) -> tuple[float, bool]:
    for distance, key in enumerate(_keys(setting)):
        if key in by_key:
            times_s = [scaled(run, setting) for run in by_key[key][-_LATEST:]]
            return statistics.median(times_s), distance > 0
    return _guess(setting, node), True


def scaled(run: Run, setting: Setting) -> float:
    """Return the time that a run would have taken with the stop of ``setting``, s.

    The time of start-up and warm-up is kept, that of the measured steps is scaled.
    """
    whole = run.reading("trial_s").value or 0.0
    window, steps = run.reading("elapsed_s").value or 0.0, run.reading("steps").value
    new, old = setting.stop, run.setting.stop
    if new == old or (setting.command and "{steps}" not in setting.command):
        return whole
    if setting.command:
        scale = new.steps / old.steps if new.steps and old.steps else 1.0
        return whole * scale
    lengths = []
    if new.seconds:
        lengths.append(new.seconds)
    if new.steps and steps:
        lengths.append(window * new.steps / steps)
    if new.epochs and old.epochs and old.steps is None and old.seconds is None:
        lengths.append(window * new.epochs / old.epochs)
    if not lengths:
        return whole
    return max(0.0, whole - window) + min(lengths)


def _guess(setting: Setting, node: NodeDevices | None) -> float:
    if setting.stop.seconds is not None:
        return START_UP_S + setting.stop.seconds
    if setting.command or setting.stop.steps is None:
        return 10 * START_UP_S
    known = counts.preset_counts(setting.workload, setting.preset)
    if known is None:
        return 10 * START_UP_S
    batch = setting.batch_per_device or known.batch
    steps = setting.stop.steps + setting.warmup_steps
    kind = device_type(setting, node) if node else "cuda"
    return START_UP_S + steps * batch * known.flop_per_sample / ASSUMED_FLOP_PER_S[kind]

"""Early ranking: the losses that trials logged, ranked by the scores of laws/early_ranking.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from wattlaw.advice.sentences import differing
from wattlaw.core.errors import FitError, RecordError, UsageError
from wattlaw.core.factors import factors, repeats
from wattlaw.core.files import explained
from wattlaw.core.quantities import derive, quantity
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Run
from wattlaw.core.run_folder import attempts
from wattlaw.laws.early_ranking import MIN_STEPS, SCORES, Curve, check, ranked, scores
from wattlaw.measuring.files.rank_files import Step, read_steps
from wattlaw.records.load import DamagedRun, find_trials, read_trials
from wattlaw.runner.resume import went_through

SHARES = (0.1, 0.2, 0.5)

LAST_PART = 0.05
"""The final loss is the mean over this last share of the steps, since single steps are noisy."""


class EarlyRanking(msgspec.Struct, frozen=True, kw_only=True):
    """The ranking of one search by one score after a share of its training.

    search                 what the configurations share
    ranking                the configurations in words, most promising first
    spearman               correlation with the final ranking; None if all values of one ranking
                           tie
    best_kept              whether the finally best one is among the first ``kept``
    time_saved_s, _share   time saved by stopping the others, in seconds and as a share of the
                           search
    energy_saved_j, _share energy saved within the widest boundary; its status may be "estimated"
    """

    search: dict[str, str]
    score: str
    after: float
    ranking: tuple[str, ...]
    kept: int
    spearman: float | None
    best_kept: bool
    time_saved_s: float
    time_saved_share: float
    energy_saved_j: Reading
    energy_saved_share: float | None


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration of a search, with its runs and final place; 1 is the best ``value``."""

    search: dict[str, str]
    words: str
    runs: int
    value: float
    place: int


class Rankings(NamedTuple):
    """Rankings by score and share, configurations by final place, and warnings."""

    rankings: list[EarlyRanking]
    configurations: list[Configuration]
    notes: tuple[Note, ...]


class _RankedSetting(NamedTuple):
    runs: list[Run]
    curve: Curve


def rank(
    folder: Path, shares: Sequence[float] = SHARES, keep: int | None = None, by: str = "loss"
) -> Rankings:
    """Rank the configurations of each workload under ``folder`` by the beginning of their losses.

    shares  shares of the training after which they are ranked
    keep    how many configurations continue then; half by default
    by      what the final ranking uses: "loss", the mean of the last steps, or a quantity such as
            valid_top1

    Repeats count as one configuration, at their mean. Runs are compared if they share workload,
    preset and stop. Raises UsageError for a wrong share, number or quantity, FitError if no
    search has three configurations with enough steps, RecordError if the folder cannot be read.
    """
    better = _better(by)
    searches, notes = _searches(folder)
    found, configurations, faults = [], list[Configuration](), []
    for search, trials in searches:
        try:
            settings, setting_notes = _ranked_settings(trials, by, better)
            rows = [row for share in shares for row in _early(search, settings, share, keep)]
        except FitError as error:
            faults.append(f"{', '.join(search.values())}: {error}")
            continue
        found += rows
        configurations += _final_places(search, settings, better)
        notes += setting_notes
    if not found:
        raise FitError(
            "; ".join(faults) or f"no trial under {folder} is done; imported runs hold no losses"
        )
    return Rankings(found, configurations, tuple(dict.fromkeys(notes)))


def _better(by: str) -> int:
    # −1 if less is better
    better = -1 if by == "loss" else quantity(by).better
    if not better:
        raise UsageError(
            f"neither more nor less of {by} is better, so it cannot rank; use loss or valid_loss"
        )
    return better


def _searches(
    folder: Path,
) -> tuple[list[tuple[dict[str, str], list[tuple[Run, Path]]]], list[Note]]:
    groups: dict[tuple[str, str, bytes], list[tuple[Run, Path]]] = defaultdict(list)
    notes = []
    for stored in read_trials(find_trials(folder)):
        if isinstance(stored, DamagedRun):
            notes.append(stored.note)
        elif stored.run.state == "done" and stored.row.folder:
            setting = stored.run.setting
            key = setting.workload, setting.preset, msgspec.json.encode(setting.stop)
            groups[key].append((stored.run, Path(stored.sweep, stored.row.folder)))
    found = []
    for (workload, preset, stop), trials in groups.items():
        name = {"workload": workload, "preset": preset}
        same_workload = [key for key in groups if key[:2] == (workload, preset)]
        if len(same_workload) > 1:
            name["stop"] = stop.decode()
        found.append((name, trials))
    return found, notes


def _ranked_settings(
    trials: list[tuple[Run, Path]], by: str, better: int
) -> tuple[list[_RankedSetting], list[Note]]:
    curves, notes = dict[int, Curve](), []
    for run, place in trials:
        try:
            curves[id(run)] = _curve(run, place, by, better)
        except (FitError, RecordError) as error:
            notes.append(Note("not_ranked", f"{run.trial} is left out: {error}"))
    known = [run for run, _ in trials if id(run) in curves]
    if not known and notes:
        raise FitError(notes[0].message)
    found = []
    for runs in repeats(known):
        found.append(_RankedSetting(runs, _mean([curves[id(run)] for run in runs])))
    return found, notes


def _curve(run: Run, place: Path, by: str, better: int) -> Curve:
    losses: list[float] = []
    ends: list[float] = []
    numbers: list[int] = []
    elapsed = 0.0
    for number, ranks in enumerate(_steps(place, run.attempt)):
        # the time of steps without a loss is added to the next step with a loss
        elapsed += _duration(ranks)
        loss = _mean_loss(ranks)
        if loss is not None:
            losses.append(loss)
            ends.append(elapsed)
            numbers.append(number)
    if len(losses) < MIN_STEPS:
        raise FitError(f"it logged {len(losses)} losses; a ranking needs {MIN_STEPS}")
    values = np.array(losses, float)
    not_finite = np.flatnonzero(~np.isfinite(values))
    if len(not_finite):
        raise FitError(f"its loss is not finite from step {numbers[int(not_finite[0])]} on")
    times = np.diff(ends, prepend=0.0)
    return Curve(values, times, _final(run, values, by, better), derive(run, "energy_j").value)


def _duration(ranks: list[Step]) -> float:
    # of the slowest rank, s
    return max(step.end_s - step.start_s for step in ranks)


def _final(run: Run, losses: np.ndarray, by: str, better: int) -> float:
    if by == "loss":
        last = max(1, round(LAST_PART * len(losses)))
        return float(losses[-last:].mean())
    reading = derive(run, by)
    if reading.value is None:
        raise FitError(f"{by} is missing: {reading.how}")
    return -better * reading.value


def _steps(place: Path, attempt: int) -> list[list[Step]]:
    # the steps of all ranks; of a step that two attempts took, that of the later one
    known = attempts(place)
    last = next((a for a in known if a.name == f"attempt-{attempt}"), None)
    if last is None:
        raise RecordError(f"{place} has no attempt-{attempt}")
    found: dict[int, list[Step]] = {}
    for folder in went_through(last, known):
        taken: dict[int, list[Step]] = defaultdict(list)
        with explained(folder, "read"):
            for path in sorted(folder.glob("steps-*.csv")):
                for step in read_steps(path):
                    taken[step.step].append(step)
        found |= taken
    return [found[step] for step in sorted(found)]


def _mean_loss(steps: list[Step]) -> float | None:
    # weighted by samples
    total = samples = 0.0
    for step in steps:
        if step.loss is not None:
            total += step.loss * (step.samples or 1.0)
            samples += step.samples or 1.0
    return total / samples if samples else None


def _mean(curves: list[Curve]) -> Curve:
    length = min(len(c.losses) for c in curves)
    energies = [c.energy_j for c in curves if c.energy_j is not None]
    losses = np.mean([c.losses[:length] for c in curves], axis=0)
    times = np.mean([c.times[:length] for c in curves], axis=0)
    final = float(np.mean([c.final for c in curves]))
    if len(energies) < len(curves):
        return Curve(losses, times, final, None)
    return Curve(losses, times, final, float(np.mean(energies)))


def _early(
    search: dict[str, str], settings: list[_RankedSetting], share: float, keep: int | None
) -> list[EarlyRanking]:
    curves, words = [setting.curve for setting in settings], _words(settings)
    kept = check(len(curves), share, keep)
    scored = [scores(c.losses, share) for c in curves]
    rows = []
    for score in SCORES:
        if not all(score in each for each in scored):
            continue
        found = ranked(curves, [each[score] for each in scored], share, keep)
        rows.append(
            EarlyRanking(
                search=search,
                score=score,
                after=share,
                ranking=tuple(words[i] for i in found.order),
                kept=kept,
                spearman=found.spearman,
                best_kept=found.best_kept,
                time_saved_s=found.time_s,
                time_saved_share=found.time_share,
                energy_saved_j=_energy(settings, found.energy_j),
                energy_saved_share=found.energy_share,
            )
        )
    return rows


def _energy(settings: list[_RankedSetting], value: float | None) -> Reading:
    readings = [derive(run, "energy_j") for setting in settings for run in setting.runs]
    if value is None:
        return missing(next(r.how for r in readings if r.value is None))
    how = "each run's energy in proportion to the time that it would have been shorter"
    if any(r.status == "estimated" for r in readings):
        return Reading(value, "estimated", f"{how}; the energy is an estimate")
    return measured(value, how)


def _final_places(
    search: dict[str, str], settings: list[_RankedSetting], better: int
) -> list[Configuration]:
    words = _words(settings)
    order = sorted(range(len(settings)), key=lambda i: settings[i].curve.final)
    found = []
    for place, index in enumerate(order, 1):
        setting = settings[index]
        found.append(
            Configuration(
                search=search,
                words=words[index],
                runs=len(setting.runs),
                value=-better * setting.curve.final,
                place=place,
            )
        )
    return found


def _words(settings: list[_RankedSetting]) -> list[str]:
    runs = [setting.runs[0] for setting in settings]
    names = [name for name in differing(runs) if name not in ("nodes", "devices_per_node")]
    found = []
    for run in runs:
        values = factors(run)
        parts = [f"{name} {_plain(values.get(name))}" for name in names]
        found.append(", ".join(parts) or "the setting")
    return found


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)

"""Early ranking of a folder's runs: what the scores of laws/ranking.py say of the losses that trials logged."""

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
from wattlaw.laws.early_ranking import LEAST_STEPS, SCORES, Curve, check, ranked, scores
from wattlaw.measuring.files.rank_files import Step, read_steps
from wattlaw.records.load import DamagedRun, find_trials, read_trials
from wattlaw.runner.resume import went_through

SHARES = (0.1, 0.2, 0.5)

LAST_PART = 0.05
"""The final loss is the mean of this last share of the steps: one step's is chance."""


class EarlyRanking(msgspec.Struct, frozen=True, kw_only=True):
    """What one score says of one search after a share of its training.

    search                 what the configurations share
    ranking                the configurations in words, most promising first
    spearman               correlation with the final ranking; None where one of them is all ties
    best_kept              whether the one that is best in the end is among the ``kept`` first
    time_saved_s, _share   by stopping the rest then, and as a share of the whole search
    energy_saved_j         the same of the energy within the widest boundary; it says whether it is an estimate
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
    """One configuration of a search: in words, its runs, its place in the end by ``value``, 1 being the best."""

    search: dict[str, str]
    words: str
    runs: int
    value: float
    place: int


class Rankings(NamedTuple):
    """Rankings by score and share, the configurations of each search by final place, and warnings."""

    rankings: list[EarlyRanking]
    configurations: list[Configuration]
    notes: tuple[Note, ...]


class _Tried(NamedTuple):
    runs: list[Run]
    curve: Curve


def rank(
    folder: Path, shares: Sequence[float] = SHARES, keep: int | None = None, by: str = "loss"
) -> Rankings:
    """Rank the configurations of each workload under ``folder`` by the beginning of their losses.

    shares  parts of the training after which they are ranked
    keep    how many go on then; half by default
    by      what ranks them in the end: "loss", that of the last steps, or a quantity such as valid_top1
    Repeats count as one configuration, at their mean. Runs are compared that share workload, preset and stop.
    Raises UsageError for a share, number or quantity that means nothing, FitError where no search has three
    configurations with enough steps, RecordError where the folder cannot be read.
    """
    better = _better(by)
    searches, notes = _searches(folder)
    found, configurations, faults = [], list[Configuration](), []
    for search, trials in searches:
        try:
            tried, told = _tried(trials, by, better)
            rows = [row for share in shares for row in _early(search, tried, share, keep)]
        except FitError as error:
            faults.append(f"{', '.join(search.values())}: {error}")
            continue
        found += rows
        configurations += _in_the_end(search, tried, better)
        notes += told
    if not found:
        raise FitError(
            "; ".join(faults) or f"no trial under {folder} is done; imported runs hold no losses"
        )
    return Rankings(found, configurations, tuple(dict.fromkeys(notes)))


def _better(by: str) -> int:
    # −1 where less is better
    better = -1 if by == "loss" else quantity(by).better
    if not better:
        raise UsageError(
            f"neither more nor less of {by} is better, so it ranks nothing; take loss or valid_loss"
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
        alone = sum(k[:2] == (workload, preset) for k in groups) == 1
        name = {"workload": workload, "preset": preset}
        found.append((name if alone else {**name, "stop": stop.decode()}, trials))
    return found, notes


def _tried(trials: list[tuple[Run, Path]], by: str, better: int) -> tuple[list[_Tried], list[Note]]:
    curves, notes = dict[int, Curve](), []
    for run, place in trials:
        try:
            curves[id(run)] = _curve(run, place, by, better)
        except (FitError, RecordError) as error:
            notes.append(Note("not_ranked", f"{run.trial} is left out: {error}"))
    known = [run for run, _ in trials if id(run) in curves]
    if not known and notes:
        raise FitError(notes[0].message)
    return [_Tried(runs, _mean([curves[id(r)] for r in runs])) for runs in repeats(known)], notes


def _curve(run: Run, place: Path, by: str, better: int) -> Curve:
    steps = _steps(place, run.attempt)
    losses = [_mean_loss(at) for at in steps]
    known = [i for i, loss in enumerate(losses) if loss is not None]
    if len(known) < LEAST_STEPS:
        raise FitError(f"it logged {len(known)} losses; a ranking needs {LEAST_STEPS}")
    values = np.array([losses[i] for i in known], float)
    if not np.isfinite(values).all():
        raise FitError(
            f"its loss is not finite from step {known[int(np.flatnonzero(~np.isfinite(values))[0])]} on"
        )
    # the time of steps without a loss goes to the next one with a loss
    ends = np.cumsum([max(s.end_s - s.start_s for s in at) for at in steps])[known]
    return Curve(
        values,
        np.diff(ends, prepend=0.0),
        _final(run, values, by, better),
        derive(run, "energy_j").value,
    )


def _final(run: Run, losses: np.ndarray, by: str, better: int) -> float:
    if by == "loss":
        return float(losses[-max(1, round(LAST_PART * len(losses))) :].mean())
    reading = derive(run, by)
    if reading.value is None:
        raise FitError(f"{by} is missing: {reading.how}")
    return -better * reading.value


def _steps(place: Path, attempt: int) -> list[list[Step]]:
    # of every rank, by step; of steps that were taken twice the later attempt's
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
    known = [(s.loss, s.samples or 1.0) for s in steps if s.loss is not None]
    return sum(loss * n for loss, n in known) / sum(n for _, n in known) if known else None


def _mean(curves: list[Curve]) -> Curve:
    length = min(len(c.losses) for c in curves)
    energies = [c.energy_j for c in curves if c.energy_j is not None]
    return Curve(
        np.mean([c.losses[:length] for c in curves], axis=0),
        np.mean([c.times[:length] for c in curves], axis=0),
        float(np.mean([c.final for c in curves])),
        float(np.mean(energies)) if len(energies) == len(curves) else None,
    )


def _early(
    search: dict[str, str], tried: list[_Tried], share: float, keep: int | None
) -> list[EarlyRanking]:
    curves, words = [t.curve for t in tried], _words(tried)
    kept = check(len(curves), share, keep)
    scored = [scores(c.losses, share) for c in curves]
    rows = []
    for score in (name for name in SCORES if all(name in each for each in scored)):
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
                energy_saved_j=_energy(tried, found.energy_j),
                energy_saved_share=found.energy_share,
            )
        )
    return rows


def _energy(tried: list[_Tried], value: float | None) -> Reading:
    readings = [derive(r, "energy_j") for t in tried for r in t.runs]
    if value is None:
        return missing(next(r.how for r in readings if r.value is None))
    if any(r.status == "estimated" for r in readings):
        return Reading(
            value,
            "estimated",
            "the share of each run's energy that its rest took, which is an estimate",
        )
    return measured(value, "the share of each run's energy that its rest took")


def _in_the_end(search: dict[str, str], tried: list[_Tried], better: int) -> list[Configuration]:
    words = _words(tried)
    order = sorted(range(len(tried)), key=lambda i: tried[i].curve.final)
    return [
        Configuration(
            search=search, words=words[i], runs=len(tried[i].runs), value=-better * tried[i].curve.final, place=place
        )
        for place, i in enumerate(order, 1)
    ]  # fmt: skip


def _words(tried: list[_Tried]) -> list[str]:
    names = [
        n for n in differing(t.runs[0] for t in tried) if n not in ("nodes", "devices_per_node")
    ]
    rows = [factors(t.runs[0]) for t in tried]
    return [", ".join(f"{n} {_plain(row.get(n))}" for n in names) or "the setting" for row in rows]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)

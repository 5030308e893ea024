"""What a training found and cost as a whole: its metrics, its target, and its attempts where it was resumed.

A cost here is that of every step from the first on, warm-up included, pauses left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.setting import Target
from wattlaw.measuring.files.rank_files import Evaluated, Step, read_metrics
from wattlaw.measuring.reduce.attempt import Attempt, read_attempt, without
from wattlaw.measuring.reduce.device_use import BOUNDARIES
from wattlaw.measuring.reduce.summary import added, totals

COSTS = ("time_s", "steps", "samples", *(f"{b}_energy_j" for b in BOUNDARIES))


def metric_quantities(attempt: Path) -> dict[str, Reading]:
    """Return what the last evaluation found, as ``valid_<metric>``; nothing where there was none."""
    rows = read_metrics(attempt)
    if not rows:
        return {}
    how = f"{rows[-1].evaluated_samples} samples of the valid part, after step {rows[-1].step}"
    return {f"valid_{name}": measured(value, how) for name, value in rows[-1].metrics.items()}


def target_quantities(
    attempts: Sequence[Path], target: Target
) -> tuple[dict[str, Reading], list[Note]]:
    """Return what it cost to meet a target: ``target_time_s`` and the like, and a warning where it was not met.

    ``attempts`` are those that the training went through, the last one last.
    """
    rows = read_metrics(attempts[-1])
    met = next((r for r in rows if target.is_met(r.metrics[target.metric])), None)
    if met is None:
        why = f"the target {target} was not met{_nearest(rows, target)}"
        return {f"target_{n}": missing(why) for n in COSTS}, [Note("target_not_met", why)]
    return {f"target_{n}": r for n, r in cost(attempts, met.step).items()}, []


def resumed_quantities(
    attempts: Sequence[Path], step: int
) -> tuple[dict[str, Reading], list[Note]]:
    """Return what all attempts cost together, steps taken twice included, and the warning that names them.

    ``step`` is the first one that the last attempt took.
    """
    last = attempts[-1].name.removeprefix("attempt-")
    text = (
        f"attempt {last} went on at step {step} from a checkpoint; its figures are of its own steps alone, "
        f"all_attempts_… of its {len(attempts)} attempts together"
    )
    return {f"all_attempts_{n}": r for n, r in cost(attempts).items()}, [Note("resumed", text)]


def cost(attempts: Sequence[Path], last_step: int | None = None) -> dict[str, Reading]:
    """Return time, steps, samples and energies of some attempts, the last one up to ``last_step``.

    Raises DamagedRunError or RecordError naming the file.
    """
    ends = [None] * (len(attempts) - 1) + [last_step]
    parts = [_cost(read_attempt(path), end) for path, end in zip(attempts, ends, strict=True)]
    sums = {name: added([p[name] for p in parts]) for name in COSTS}
    how = "from the first step on, pauses left out" + (
        f", {len(parts)} attempts" if len(parts) > 1 else ""
    )
    return {
        n: r if r.value is None else msgspec.structs.replace(r, how=f"{r.how}; {how}".lstrip("; "))
        for n, r in sums.items()
    }


def _cost(attempt: Attempt, last_step: int | None) -> dict[str, Reading]:
    taken = _steps(attempt, last_step)
    if not taken:
        return {n: missing(f"{attempt.folder.name} left no step") for n in COSTS}
    whole = (max(s[0].start_s for s in taken), max(s[-1].end_s for s in taken))
    sums = totals(attempt.windows(whole), without(whole, attempt.pauses), attempt.base_s)
    samples = [s.samples for steps in taken for s in steps]
    known = [s for s in samples if s is not None]
    return {
        "time_s": sums["elapsed_s"],
        "steps": measured(float(max(len(steps) for steps in taken))),
        "samples": measured(sum(known))
        if len(known) == len(samples)
        else missing("a step's samples are unknown"),
        **{n: sums[n] for n in COSTS if n.endswith("_energy_j")},
    }


def _steps(attempt: Attempt, last_step: int | None) -> list[list[Step]]:
    ranks = attempt.ranks
    both = [ranks.warmup[rank] + ranks.measured[rank] for rank in ranks.measured]
    cut = [[s for s in steps if last_step is None or s.step <= last_step] for steps in both]
    return [steps for steps in cut if steps]


def _nearest(rows: Sequence[Evaluated], target: Target) -> str:
    known = [
        (r.metrics[target.metric], r.step)
        for r in rows
        if r.metrics[target.metric] == r.metrics[target.metric]
    ]
    if not known:
        return ": it was never evaluated"
    value, step = min(known) if target.below is not None else max(known)
    return f" in {rows[-1].step + 1} steps; the nearest was {value:.6g} after step {step}"

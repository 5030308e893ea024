"""Results and cost of a whole training: metrics, target, and all attempts if it was resumed.

A cost here is that of every step from the first on, warm-up included, without pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.setting import Target
from wattlaw.measuring.files.rank_files import Evaluated, Step, read_metrics
from wattlaw.measuring.reduce.attempt import Attempt, common_span, read_attempt, without_pauses
from wattlaw.measuring.reduce.device_use import BOUNDARIES
from wattlaw.measuring.reduce.summary import sum_readings, totals

COSTS = ("time_s", "steps", "samples", *(f"{b}_energy_j" for b in BOUNDARIES))


def metric_quantities(attempt: Path) -> dict[str, Reading]:
    """Return the metrics of the last evaluation as ``valid_<metric>``; none without one."""
    rows = read_metrics(attempt)
    if not rows:
        return {}
    how = f"{rows[-1].evaluated_samples} samples of the validation set, after step {rows[-1].step}"
    return {f"valid_{name}": measured(value, how) for name, value in rows[-1].metrics.items()}


def target_quantities(
    attempts: Sequence[Path], target: Target
) -> tuple[dict[str, Reading], list[Note]]:
    """Return the cost up to a target, ``target_time_s`` and so on, and a warning if it was not met.

    ``attempts`` are those of one training, in order.
    """
    rows = read_metrics(attempts[-1])
    for row in rows:
        if target.is_met(row.metrics[target.metric]):
            costs = cost(attempts, row.step)
            return {f"target_{name}": reading for name, reading in costs.items()}, []
    why = f"the target {target} was not met{_nearest(rows, target)}"
    return {f"target_{name}": missing(why) for name in COSTS}, [Note("target_not_met", why)]


def resumed_quantities(
    attempts: Sequence[Path], step: int
) -> tuple[dict[str, Reading], list[Note]]:
    """Return the cost of all attempts, repeated steps included, and the warning that names them.

    ``step`` is the first step of the last attempt.
    """
    last = attempts[-1].name.removeprefix("attempt-")
    text = (
        f"attempt {last} resumed at step {step} from a checkpoint; its figures count its own "
        f"steps, all_attempts_… those of its {len(attempts)} attempts"
    )
    costs = cost(attempts)
    return {f"all_attempts_{n}": reading for n, reading in costs.items()}, [Note("resumed", text)]


def cost(attempts: Sequence[Path], last_step: int | None = None) -> dict[str, Reading]:
    """Return time, steps, samples and energies of attempts, the last one up to ``last_step``.

    Raises DamagedRunError or RecordError naming the file.
    """
    ends = [None] * (len(attempts) - 1) + [last_step]
    parts = [_cost(read_attempt(path), end) for path, end in zip(attempts, ends, strict=True)]
    several = f", {len(parts)} attempts" if len(parts) > 1 else ""
    how = f"from the first step on, pauses left out{several}"
    found = {}
    for name in COSTS:
        total = sum_readings([part[name] for part in parts])
        if total.value is not None:
            total = msgspec.structs.replace(total, how=f"{total.how}; {how}".lstrip("; "))
        found[name] = total
    return found


def _cost(attempt: Attempt, last_step: int | None) -> dict[str, Reading]:
    by_rank = _steps(attempt, last_step)
    if not by_rank:
        return {name: missing(f"{attempt.folder.name} left no step") for name in COSTS}
    whole = common_span(by_rank)
    spans = without_pauses(whole, attempt.pauses)
    sums = totals(attempt.windows(whole), spans, attempt.base_s)
    samples = []
    for steps in by_rank:
        samples += [s.samples for s in steps]
    known = [s for s in samples if s is not None]
    is_complete = len(known) == len(samples)
    energies = {name: sums[name] for name in COSTS if name.endswith("_energy_j")}
    return {
        "time_s": sums["elapsed_s"],
        "steps": measured(float(max(map(len, by_rank)))),
        "samples": measured(sum(known)) if is_complete else missing("a step's samples are unknown"),
        **energies,
    }


def _steps(attempt: Attempt, last_step: int | None) -> list[list[Step]]:
    """Return the steps of each rank up to the last one; ranks without any are left out."""
    ranks, found = attempt.ranks, []
    for rank, measured_steps in ranks.measured.items():
        steps = ranks.warmup[rank] + measured_steps
        if last_step is not None:
            steps = [s for s in steps if s.step <= last_step]
        if steps:
            found.append(steps)
    return found


def _nearest(rows: Sequence[Evaluated], target: Target) -> str:
    values = [(row.metrics[target.metric], row.step) for row in rows]
    known = [(value, step) for value, step in values if value == value]  # NaN differs from itself
    if not known:
        return ": it was never evaluated"
    value, step = min(known) if target.below is not None else max(known)
    return f" in {rows[-1].step + 1} steps; the nearest was {value:.6g} after step {step}"

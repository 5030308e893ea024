"""Quantities and warnings from the steps of all ranks. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from wattlaw.core.reading import Note, Reading, measured, missing, quantile, spread
from wattlaw.core.units import counted
from wattlaw.measuring.files.rank_files import PHASES, Step
from wattlaw.measuring.reduce.attempt import Ranks

FEW_STEPS = 10
UNSTEADY_SPREAD = 0.10
UNSTEADY_DRIFT = 0.05
_LAST_LOSSES = 10


def step_times(ranks: Ranks) -> list[float]:
    """Return the time of each measured step in order, s: that of the slowest rank."""
    slowest: defaultdict[int, float] = defaultdict(float)
    for s in _measured_steps(ranks):
        slowest[s.step] = max(slowest[s.step], s.end_s - s.start_s)
    return [slowest[k] for k in sorted(slowest)]


def step_quantities(ranks: Ranks, elapsed_s: float) -> dict[str, Reading]:
    """Return step time, counts, rate, phases, losses and warm-up time."""
    times = step_times(ranks)
    samples = _samples(ranks)
    found = {
        "step_time_s": spread(times, "slowest rank of each step"),
        "steps": measured(float(len(times)), "step marks"),
        "samples": samples,
        "samples_per_s": _rate(samples, elapsed_s),
    }
    for phase in PHASES:
        phase_times = [getattr(s, phase) for s in _measured_steps(ranks)]
        values = [t for t in phase_times if t is not None]
        if values:
            found[phase] = spread(values, "step marks")
    rests = [_rest(s) for s in _measured_steps(ranks) if s.phases()]
    if rests:
        found["rest_s"] = spread(rests, "step marks")
    return found | _losses(ranks) | _warmup(ranks)


def step_notes(ranks: Ranks) -> list[Note]:
    """Return the warnings about steps: too few, or not steady."""
    times = step_times(ranks)
    if len(times) < FEW_STEPS:
        text = f"only {counted(len(times), 'step')} measured; medians need at least {FEW_STEPS}"
        return [Note("few_steps", text)]
    median = _median(times)
    if median <= 0:
        return []
    # 1.4826 × the median absolute deviation is the standard deviation of a normal distribution
    scatter = 1.4826 * _median([abs(t - median) for t in times]) / median
    if scatter > UNSTEADY_SPREAD:
        text = f"step times scatter by {scatter:.0%} (over {UNSTEADY_SPREAD:.0%})"
        return [Note("unstable_steps", text)]
    third = len(times) // 3
    drift = _median(times[-third:]) / _median(times[:third]) - 1
    if abs(drift) > UNSTEADY_DRIFT:
        text = (
            f"step times of the last third differ by {drift:+.0%} from the first "
            f"(over {UNSTEADY_DRIFT:.0%})"
        )
        return [Note("unstable_steps", text)]
    return []


def _measured_steps(ranks: Ranks) -> Iterator[Step]:
    for steps in ranks.measured.values():
        yield from steps


def _rest(step: Step) -> float:
    """Return the time of a step outside of its phases, s."""
    return max(step.end_s - step.start_s - sum(step.phases()), 0.0)


def _samples(ranks: Ranks) -> Reading:
    values = [s.samples for s in _measured_steps(ranks)]
    known = [v for v in values if v is not None]
    if not values or len(known) < len(values):
        return missing(
            'the number of samples of the steps is unknown; pass step(samples=…), or log "samples"'
        )
    return measured(sum(known), "step marks")


def _rate(samples: Reading, elapsed_s: float) -> Reading:
    if samples.value is None or elapsed_s <= 0:
        return missing(samples.how or "the window has no length")
    return measured(samples.value / elapsed_s, "samples of all ranks over the window")


def _losses(ranks: Ranks) -> dict[str, Reading]:
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for steps in [*ranks.warmup.values(), *ranks.measured.values()]:
        for s in steps:
            if s.loss is not None:
                by_step[s.step].append(s.loss)
    losses = [sum(by_step[k]) / len(by_step[k]) for k in sorted(by_step)]
    if not losses:
        return {}
    last = losses[-min(_LAST_LOSSES, max(1, len(losses) // 10)) :]
    how = "mean of the ranks"
    return {
        "loss_first": measured(losses[0], how),
        "loss_last": measured(sum(last) / len(last), how),
    }


def _warmup(ranks: Ranks) -> dict[str, Reading]:
    with_steps = [steps for steps in ranks.warmup.values() if steps]
    if not with_steps:
        return {"warmup_s": missing("no warm-up steps were marked")}
    start = min(steps[0].start_s for steps in with_steps)
    end = max(steps[-1].end_s for steps in with_steps)
    return {"warmup_s": measured(end - start, "step marks")}


def _median(values: list[float]) -> float:
    return quantile(sorted(values), 0.5)

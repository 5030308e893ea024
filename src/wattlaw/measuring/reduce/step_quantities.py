"""What the steps of all ranks say: step time, rate, phases, loss, steadiness. Pure functions."""

from __future__ import annotations

from collections import defaultdict

from wattlaw.core.reading import Note, Reading, measured, missing, quantile, spread
from wattlaw.core.units import counted
from wattlaw.measuring.files.rank_files import PHASES, Step
from wattlaw.measuring.reduce.attempt import Ranks

FEW_STEPS = 10


UNSTEADY_SPREAD = 0.10


UNSTEADY_DRIFT = 0.05


_LAST_LOSSES = 10


def step_times(ranks: Ranks) -> list[float]:
    """Return the time of each measured step, s: that of the slowest rank, in order."""
    slowest: defaultdict[int, float] = defaultdict(float)
    for steps in ranks.measured.values():
        for s in steps:
            slowest[s.step] = max(slowest[s.step], s.end_s - s.start_s)
    return [slowest[k] for k in sorted(slowest)]


def step_quantities(ranks: Ranks, elapsed_s: float) -> dict[str, Reading]:
    """Return what the steps say of time, rate, phases and loss."""
    times = step_times(ranks)
    samples = _samples(ranks)
    found = {
        "step_time_s": spread(times, "slowest rank of each step"),
        "steps": measured(float(len(times)), "step marks"),
        "samples": samples,
        "samples_per_s": _rate(samples, elapsed_s),
    }
    for phase in PHASES:
        values = [
            v
            for steps in ranks.measured.values()
            for s in steps
            if (v := getattr(s, phase)) is not None
        ]
        if values:
            found[phase] = spread(values, "step marks")
    rests = [r for steps in ranks.measured.values() for s in steps if (r := _rest(s)) is not None]
    if rests:
        found["rest_s"] = spread(rests, "step marks")
    return found | _losses(ranks) | _warmup(ranks)


def step_notes(ranks: Ranks) -> list[Note]:
    """Return the warnings about steps: too few, or not steady."""
    times = step_times(ranks)
    if len(times) < FEW_STEPS:
        return [
            Note(
                "few_steps",
                f"only {counted(len(times), 'step')} measured; medians want at least {FEW_STEPS}",
            )
        ]
    middle = _median(times)
    if middle <= 0:
        return []
    # 1.4826 × the median deviation is the standard deviation of normal scatter, deaf to single outliers
    scatter = 1.4826 * _median([abs(t - middle) for t in times]) / middle
    third = len(times) // 3
    drift = _median(times[-third:]) / _median(times[:third]) - 1
    if scatter > UNSTEADY_SPREAD:
        return [
            Note(
                "unstable_steps",
                f"step times scatter by {scatter:.0%} (over {UNSTEADY_SPREAD:.0%})",
            )
        ]
    if abs(drift) > UNSTEADY_DRIFT:
        text = f"the last third of the steps takes {drift:+.0%} against the first (over {UNSTEADY_DRIFT:.0%})"
        return [Note("unstable_steps", text)]
    return []


def _rest(step: Step) -> float | None:
    """Return the time of a step outside of its phases, s; None where no phase was marked."""
    phases = [v for name in PHASES if (v := getattr(step, name)) is not None]
    return max(step.end_s - step.start_s - sum(phases), 0.0) if phases else None


def _samples(ranks: Ranks) -> Reading:
    values = [s.samples for steps in ranks.measured.values() for s in steps]
    if not values or any(v is None for v in values):
        return missing(
            'the steps do not say how many samples they took: step(samples=…), or "samples" where values are logged'
        )
    return measured(sum(v for v in values if v is not None), "step marks")


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
    sets = [steps for steps in ranks.warmup.values() if steps]
    if not sets:
        return {"warmup_s": missing("no warm-up steps were marked")}
    return {
        "warmup_s": measured(
            max(s[-1].end_s for s in sets) - min(s[0].start_s for s in sets), "step marks"
        )
    }


def _median(values: list[float]) -> float:
    return quantile(sorted(values), 0.5)

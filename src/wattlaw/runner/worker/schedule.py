"""The optimiser's learning rate: the published one or the one asked for, scaled with the batch, on a schedule of steps
or of the valid part's metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.errors import SettingError, TrialError
from wattlaw.core.setting import OptionValue

RISING = frozenset({"top1", "top5", "accuracy"})
"""Metrics that are better the higher they are; others are to fall, unless ``schedule_metric`` says otherwise."""

THRESHOLD = 1e-4
"""A metric is better where it is so by more than this share, as torch's ReduceLROnPlateau has it."""


def scaling(kind: str, samples: int, published: int | None) -> float:
    """Return by how much the rate grows where a step has ``samples`` and the published one has ``published``.

    linear  samples / published (Goyal et al., arXiv 1706.02677)
    sqrt    its square root (Krizhevsky, arXiv 1404.5997)
    Raises SettingError where the workload names no batch of its own.
    """
    if kind == "none":
        return 1.0
    if not published:
        raise SettingError(
            "learning_rate_scaling needs the workload's own batch: give the class a `batch`"
        )
    return samples / published if kind == "linear" else math.sqrt(samples / published)


def set_rate(optimiser: Optimizer, rate: float, factor: float) -> None:
    """Give every group of an optimiser the rate, or its own where ``rate`` is 0, times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = (rate or group["lr"]) * factor


def scheduler(
    optimiser: Optimizer, options: Mapping[str, OptionValue], steps: int | None
) -> LambdaLR:
    """Return the schedule of an optimiser, to be stepped after each of its steps.

    ``steps`` are all that the trial takes, warm-up steps included, where that is known.
    """
    return LambdaLR(optimiser, factor_of(options, steps))


def factor_of(options: Mapping[str, OptionValue], steps: int | None) -> Callable[[int], float]:
    """Return the share of the full rate as a function of the steps that were taken.

    With w steps of warm-up and T steps in all, p = (k − w) / (T − w) up to 1 and e the share at the end:
    cosine  e + (1 − e)·(1 + cos πp) / 2 (Loshchilov and Hutter, arXiv 1608.03983, without restarts)
    linear  1 − (1 − e)·p
    step    schedule_factor^⌊(k − w) / schedule_every⌋
    """
    warmup, end = int(options["schedule_warmup"]), float(options["schedule_end"])
    whole = int(options["schedule_steps"]) or steps or 0
    every, fall, kind = (
        int(options["schedule_every"]),
        float(options["schedule_factor"]),
        options["schedule"],
    )

    def share(taken: int) -> float:
        if taken < warmup:
            return (taken + 1) / (warmup + 1)
        past = min(1.0, (taken - warmup) / max(1, whole - warmup))
        if kind == "cosine":
            return end + (1 - end) * (1 + math.cos(math.pi * past)) / 2
        if kind == "linear":
            return 1 - (1 - end) * past
        return float(fall ** ((taken - warmup) // every)) if kind == "step" else 1.0

    return share


class Plateau:
    """Multiplies the rate by ``schedule_factor`` once ``schedule_patience`` evaluations in a row, and one more, were no
    better than the best: torch's ReduceLROnPlateau, beside a schedule of steps. ``share`` is what is left of the rate.

    Every rank must be told the same metrics.
    """

    def __init__(
        self, optimiser: Optimizer, schedule: LambdaLR, options: Mapping[str, OptionValue]
    ) -> None:
        self.optimiser, self.schedule = optimiser, schedule
        self.factor, self.least = float(options["schedule_factor"]), float(options["schedule_end"])
        self.patience, self.metric = (
            int(options["schedule_patience"]),
            str(options["schedule_metric"]),
        )
        self.share, self.best, self.bad = 1.0, math.inf, 0
        schedule.lr_lambdas = [self._shared(by_step) for by_step in schedule.lr_lambdas]

    def look(self, metrics: Mapping[str, float]) -> None:
        """Take note of an evaluation. Raises TrialError where it lacks the metric."""
        value = self._value(metrics)
        is_better = (
            value < self.best - THRESHOLD * abs(self.best)
            if math.isfinite(self.best)
            else value < self.best
        )
        self.best, self.bad = (value, 0) if is_better else (self.best, self.bad + 1)
        if self.bad > self.patience:
            self.bad = 0
            self.share = max(self.share * self.factor, self.least)
            self._set()

    def state(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        best = {"best": self.best} if math.isfinite(self.best) else {}
        return {"share": self.share, "bad": self.bad, **best}

    def bring_back(self, state: Mapping[str, float]) -> None:
        """Go on from what ``state`` gave."""
        self.share, self.bad, self.best = (
            state["share"],
            int(state["bad"]),
            state.get("best", math.inf),
        )

    def _shared(self, by_step: Callable[[int], float]) -> Callable[[int], float]:
        return lambda taken: by_step(taken) * self.share

    def _value(self, metrics: Mapping[str, float]) -> float:
        name = self.metric.removeprefix("-") or next(iter(metrics))
        if name not in metrics:
            raise TrialError(
                f"the plateau's metric is {name}; this workload gives {', '.join(metrics)}"
            )
        return -metrics[name] if self.metric.startswith("-") or name in RISING else metrics[name]

    def _set(self) -> None:
        taken = self.schedule.last_epoch
        bases, shares = self.schedule.base_lrs, self.schedule.lr_lambdas
        for group, base, share in zip(self.optimiser.param_groups, bases, shares, strict=True):
            group["lr"] = base * share(taken)

"""The learning rate: published or chosen, scaled with the batch, scheduled by step or metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.errors import SettingError, TrialError
from wattlaw.core.setting import OptionValue

RISING = frozenset({"top1", "top5", "accuracy"})
"""Metrics for which higher is better; for others ``schedule_metric`` says so with a "-"."""

THRESHOLD = 1e-4
"""A metric has improved if it did by more than this share, as in torch's ReduceLROnPlateau."""


def scaling(kind: str, samples: int, published: int | None) -> float:
    """Return the factor of the rate if a step has ``samples`` instead of the ``published`` number.

    linear  samples / published (Goyal et al., arXiv 1706.02677)
    sqrt    its square root (Krizhevsky, arXiv 1404.5997)
    Raises SettingError if the workload has no batch size of its own.
    """
    if kind == "none":
        return 1.0
    if not published:
        raise SettingError(
            "learning_rate_scaling needs the workload's own batch size: give the class a `batch`"
        )
    ratio = samples / published
    return ratio if kind == "linear" else math.sqrt(ratio)


def set_rate(optimiser: Optimizer, rate: float, factor: float) -> None:
    """Set the rate of every group to ``rate``, or its own if that is 0, times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = (rate or group["lr"]) * factor


def scheduler(
    optimiser: Optimizer, options: Mapping[str, OptionValue], steps: int | None
) -> LambdaLR:
    """Return the schedule of an optimiser; call its ``step`` after each step of the optimiser.

    ``steps`` is the number of all steps of the trial, warm-up included; None if it is not known.
    """
    return LambdaLR(optimiser, factor_of(options, steps))


def factor_of(options: Mapping[str, OptionValue], steps: int | None) -> Callable[[int], float]:
    """Return the share of the full rate as a function of the steps taken.

    With w warm-up steps of T in total, p = (k − w) / (T − w) up to 1 and e the share at the end:
    cosine  e + (1 − e)·(1 + cos πp) / 2 (Loshchilov and Hutter, arXiv 1608.03983, no restarts)
    linear  1 − (1 − e)·p
    step    schedule_factor^⌊(k − w) / schedule_every⌋
    """
    kind, warmup = options["schedule"], int(options["schedule_warmup"])
    end, factor = float(options["schedule_end"]), float(options["schedule_factor"])
    whole, every = int(options["schedule_steps"]) or steps or 0, int(options["schedule_every"])

    def share(taken: int) -> float:
        if taken < warmup:
            return (taken + 1) / (warmup + 1)
        past = min(1.0, (taken - warmup) / max(1, whole - warmup))
        if kind == "cosine":
            return end + (1 - end) * (1 + math.cos(math.pi * past)) / 2
        if kind == "linear":
            return 1 - (1 - end) * past
        if kind == "step":
            return float(factor ** ((taken - warmup) // every))
        return 1.0

    return share


class Plateau:
    """Multiplies the rate by ``schedule_factor`` when a metric stops improving.

    As torch's ReduceLROnPlateau: after more than ``schedule_patience`` evaluations in a row without
    improvement. ``share`` is what is left of the rate. Every rank must pass the same metrics.
    """

    def __init__(
        self, optimiser: Optimizer, schedule: LambdaLR, options: Mapping[str, OptionValue]
    ) -> None:
        self.optimiser, self.schedule = optimiser, schedule
        self.factor, self.least = float(options["schedule_factor"]), float(options["schedule_end"])
        self.patience = int(options["schedule_patience"])
        self.metric = str(options["schedule_metric"])
        self.share, self.best, self.bad = 1.0, math.inf, 0
        schedule.lr_lambdas = [self._shared(by_step) for by_step in schedule.lr_lambdas]

    def look(self, metrics: Mapping[str, float]) -> None:
        """Take an evaluation into account. Raises TrialError if it lacks the metric."""
        value = self._value(metrics)
        margin = THRESHOLD * abs(self.best) if math.isfinite(self.best) else 0.0
        if value < self.best - margin:
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            self.bad = 0
            self.share = max(self.share * self.factor, self.least)
            self._set_rates()

    def state(self) -> dict[str, float]:
        """Return the state that a checkpoint keeps."""
        best = {"best": self.best} if math.isfinite(self.best) else {}
        return {"share": self.share, "bad": self.bad, **best}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Continue from a state that ``state`` returned."""
        self.share, self.bad = state["share"], int(state["bad"])
        self.best = state.get("best", math.inf)

    def _shared(self, by_step: Callable[[int], float]) -> Callable[[int], float]:
        return lambda taken: by_step(taken) * self.share

    def _value(self, metrics: Mapping[str, float]) -> float:
        """Return the metric with the sign with which it should fall."""
        name = self.metric.removeprefix("-") or next(iter(metrics))
        if name not in metrics:
            known = ", ".join(metrics)
            raise TrialError(f"the plateau's metric is {name}; this workload has {known}")
        is_rising = self.metric.startswith("-") or name in RISING
        return -metrics[name] if is_rising else metrics[name]

    def _set_rates(self) -> None:
        taken = self.schedule.last_epoch
        bases, shares = self.schedule.base_lrs, self.schedule.lr_lambdas
        for group, base, share in zip(self.optimiser.param_groups, bases, shares, strict=True):
            group["lr"] = base * share(taken)

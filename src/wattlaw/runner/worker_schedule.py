"""The optimiser's learning rate: the published one or the one asked for, scaled with the batch, on a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.errors import SettingError
from wattlaw.core.setting import OptionValue


def scaling(kind: str, samples: int, published: int | None) -> float:
    """Return by how much the rate grows where a step has ``samples`` and the published one has ``published``.

    linear  samples / published (Goyal et al., arXiv 1706.02677)
    sqrt    its square root (Krizhevsky, arXiv 1404.5997)
    Raises SettingError where the workload names no batch of its own.
    """
    if kind == "none":
        return 1.0
    if not published:
        raise SettingError("learning_rate_scaling needs the workload's own batch: give the class a `batch`")
    return samples / published if kind == "linear" else math.sqrt(samples / published)


def set_rate(optimiser: Optimizer, rate: float, factor: float) -> None:
    """Give every group of an optimiser the rate, or its own where ``rate`` is 0, times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = (rate or group["lr"]) * factor


def scheduler(optimiser: Optimizer, options: Mapping[str, OptionValue], steps: int | None) -> LambdaLR:
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
    every, fall, kind = int(options["schedule_every"]), float(options["schedule_factor"]), options["schedule"]

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

"""Speed-ups as laws give them, in the form that words and figures need."""

from __future__ import annotations

import math
from typing import NamedTuple

from wattlaw.core.findings import Fit, Interval
from wattlaw.report.context import Group, factor_words


class Speedup(NamedTuple):
    """How many times as many samples a second ``devices`` give as ``base`` do, with the interval's ends."""

    devices: float
    base: float
    value: float
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """The value with its interval: "1.70× [1.60, 1.80]"."""
        return times(Interval(self.value, self.low, self.high))

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 1."""
        return self.low is not None and self.high is not None and (self.low > 1 or self.high < 1)


def speedups(fit: Fit) -> list[Speedup]:
    """Return the speed-ups of a fit over devices, the base first; empty where it has none."""
    if fit.over != "devices" or not fit.points:
        return []
    base = min(p[0] for p in fit.points)
    found = [Speedup(base, base, 1.0, None, None)]
    for name, part in fit.parameters.items():
        number = name.removeprefix("speedup_")
        if name.startswith("speedup_") and number.replace(".", "", 1).isdigit() and math.isfinite(part.value):
            found.append(Speedup(float(number), base, part.value, part.low, part.high))
    return sorted(found) if len(found) > 1 else []


def series_name(fit: Fit, group: Group) -> str:
    """Return what tells a fit from the others of its workload: "batch 32, bf16"."""
    return group_words(fit.group, group)


def group_words(found: dict[str, str], group: Group) -> str:
    """Return what a finding's group says beyond its workload's own."""
    # a group of the laws is named by what tells it from those of other workloads, too
    shared = {k for k in found if len({str(row.factors.get(k)) for row in group.rows}) == 1}
    rest = {k: v for k, v in found.items() if k not in group.facts and k not in shared}
    words = [f"batch {v}" if k == "batch_per_device" else factor_words(k, v) for k, v in rest.items()]
    return ", ".join(w for w in words if w)


def times(interval: Interval) -> str:
    """Return a ratio as people read it: "1.7× [1.6, 1.8]"."""
    text = f"{ratio(interval.value)}×"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{ratio(interval.low)}, {ratio(interval.high)}]"


def ratio(value: float) -> str:
    """Return a ratio with as many digits as it deserves: 1.68, 13.4, 415."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"

"""Speed-ups as laws give them, in the form that words and figures need."""

from __future__ import annotations

import math
from typing import NamedTuple

from wattlaw.core.factors import Factor
from wattlaw.core.findings import Fit, Interval
from wattlaw.report.context import UNSET, Group, factor_words, unset_words


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
        if (
            name.startswith("speedup_")
            and number.replace(".", "", 1).isdigit()
            and math.isfinite(part.value)
        ):
            found.append(Speedup(float(number), base, part.value, part.low, part.high))
    return sorted(found) if len(found) > 1 else []


def series_name(fit: Fit, group: Group) -> str:
    """Return what tells a fit from the others of its workload: "batch 32, bf16"."""
    words = [group_words(fit.group, group)]
    words += [
        UNSET[n]
        for n in UNSET
        if n != fit.over
        and n not in fit.group
        and any(unset_words(row, n) for row in group.rows)
        and _varies(group, n)
    ]
    return ", ".join(w for w in words if w)


def group_words(found: dict[str, str], group: Group) -> str:
    """Return what a finding's group says beyond its workload's own."""
    # a group of the laws is named by what tells it from those of other workloads, too
    rest = {k: v for k, v in found.items() if k not in group.facts and _varies(group, k)}
    words = [
        f"batch {v}" if k == "batch_per_device" else factor_words(k, _own(group, k, v))
        for k, v in rest.items()
    ]
    return ", ".join(w for w in words if w)


def _varies(group: Group, name: str) -> bool:
    return len({str(row.factors.get(name)) for row in group.rows}) > 1


def _own(group: Group, name: str, word: str) -> Factor:
    """Return a factor as the group's settings have it, so that both are spelt alike: a finding says "yes" for True."""
    spelt = {True: "yes", False: "no"}
    for row in group.rows:
        value = row.factors.get(name)
        if isinstance(value, bool) and spelt[value] == word:
            return value
    return word


def times(interval: Interval) -> str:
    """Return a ratio as people read it: "1.7× [1.6, 1.8]"."""
    text = f"{ratio(interval.value)}×"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{ratio(interval.low)}, {ratio(interval.high)}]"


def ratio(value: float) -> str:
    """Return a ratio with as many digits as it deserves: 1.68, 13.4, 415."""
    return (
        f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
        if abs(value) < 100
        else f"{value:.0f}"
    )

"""Speedups from fits, for sentences and figures."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from wattlaw.core.factors import factor_label
from wattlaw.core.findings import Fit, Interval
from wattlaw.report.context import WorkloadGroup
from wattlaw.report.formatting import times
from wattlaw.report.setting_names import (
    factor_words,
    joined,
    shared_start,
    unset_words,
)

_PREFIX = "speedup_"


class SpeedupPoint(NamedTuple):
    """The rate of ``devices`` over the rate of ``base`` devices, with the ends of its interval."""

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
    def efficiency(self) -> str:
        """The share of the ideal speedup: "85 %"."""
        return f"{100 * self.value * self.base / self.devices:.0f} %"

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 1."""
        return self.low is not None and self.high is not None and (self.low > 1 or self.high < 1)


def speedups(fit: Fit) -> list[SpeedupPoint]:
    """Return the speedups of a fit over devices, the base first; empty if it has none."""
    if fit.over != "devices" or not fit.points:
        return []
    base = min(point[0] for point in fit.points)
    found = [SpeedupPoint(base, base, 1.0, None, None)]
    for name, part in fit.parameters.items():
        size = name.removeprefix(_PREFIX)
        is_size = name.startswith(_PREFIX) and size.replace(".", "", 1).isdigit()
        if is_size and isfinite(part.value):
            found.append(SpeedupPoint(float(size), base, part.value, part.low, part.high))
    return sorted(found) if len(found) > 1 else []


def series_name(fit: Fit, group: WorkloadGroup) -> str:
    """Return what differs between a fit and the others of its workload: "batch 32, bf16"."""
    return group_words(fit.group, group)


def group_words(finding: Mapping[str, str], group: WorkloadGroup) -> str:
    """Return what the group of a finding says beyond the facts of its workload."""
    start = shared_start(row.factors.get("command") for row in group.rows)
    words = []
    for name, label in finding.items():
        # a finding's group also has what differs between workloads
        if name not in group.facts and _varies(group, name):
            words.append(_factor_words(name, label, group, start))
    return joined(words)


def _factor_words(name: str, label: str, group: WorkloadGroup, start: str) -> str:
    """Return a factor of a finding as the settings of the group name it."""
    for row in group.rows:
        value = row.factors.get(name)
        if factor_label(name, value) == label:
            return factor_words(name, value, start) or unset_words(row.factors, row.runs[0], name)
    return factor_words(name, label, start)


def _varies(group: WorkloadGroup, name: str) -> bool:
    return len({str(row.factors.get(name)) for row in group.rows}) > 1

"""Runs as families: groups that differ in devices, nodes and batch only, one point a setting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

import numpy as np

from wattlaw.analysis.groups import grouped
from wattlaw.core.quantities import derive
from wattlaw.core.run import Run
from wattlaw.laws.priors import Family
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.checks import LEAST, MOST

VARIED = ("devices", "batch_per_device")


def families(
    runs: Iterable[Run], least_sizes: int = 2, target_samples: bool = True
) -> list[Family]:
    """Return the families with at least so many numbers of devices, each size at the median of its runs.

    Runs without a rate or a batch are left out. With ``target_samples`` the samples of a run's window are
    those that its target needed, as in MLPerf; without, they are unknown.
    """
    found = []
    for group in grouped(runs, VARIED, split_layouts=False)[0]:
        sizes: dict[int, list[Run]] = {}
        for run in group.runs:
            if rate_of(run) and batch_of(run):
                sizes.setdefault(run.setting.devices, []).append(run)
        if len(sizes) >= least_sizes:
            found.append(_family(group.runs[0], tuple(group.key.values()), sizes, target_samples))
    return found


def rate_of(run: Run) -> float | None:
    """Return samples per s of a run, where it is one that a clock could give: positive and not absurd."""
    value = derive(run, "samples_per_s").value
    return value if value is not None and LEAST <= value <= MOST else None


def batch_of(run: Run) -> float | None:
    """Return the global batch of a run: as recorded, or devices × batch a device."""
    recorded = run.reading("global_batch").value
    if recorded:
        return recorded
    share = run.setting.batch_per_device
    return float(share * run.setting.devices) if share else None


def share_of(run: Run) -> float:
    """Return the samples of a step that one device takes; of a run without a batch as if its batch were 1."""
    return (batch_of(run) or 1.0) / run.setting.devices


def _family(
    first: Run, name: tuple[str, ...], sizes: dict[int, list[Run]], target_samples: bool
) -> Family:
    devices = sorted(sizes)
    rows = [
        (
            median(batch_of(r) or 0.0 for r in sizes[n]),
            median(r.setting.nodes for r in sizes[n]),
            median(rate_of(r) or 0.0 for r in sizes[n]),
            median(r.reading("samples").value or math.nan for r in sizes[n])
            if target_samples
            else math.nan,
        )
        for n in devices
    ]
    batches, nodes, rates, samples = (np.array(column, float) for column in zip(*rows, strict=True))
    return Family(name, first.setting.workload, Points.of(devices, batches, nodes), rates, samples)

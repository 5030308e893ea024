"""The α–β scaling law fitted to a group of runs, with the prior of its task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattlaw.analysis.families import batch_of, rate_of
from wattlaw.analysis.groups import Group, Sample
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Fit
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.priors import shipped_prior
from wattlaw.laws.scaling import PARAMETERS, Points, ScalingLaw, fit_scaling

Array = NDArray[Any]

SPREAD_KNOWN = 0.2
"""Standard deviation of ln of a spread of step times that was measured: some 25 steps tell it so well."""


def scaling_of(
    runs: list[Run], step_spread: float = 0.0, prior: Array | None = None
) -> tuple[ScalingLaw, Points, list[float]]:
    """Fit the law to every run with a rate and a batch; return it with the runs' points and rates.

    ``step_spread`` is the relative spread of one device's step times, where it was measured; 0 leaves it to the prior.
    ``prior`` (8, 2) stands for the one that ships. Raises FitError where fewer than two settings give both.
    """
    rows = [
        (r.setting.devices, batch, r.setting.nodes, rate)
        for r in runs
        if (rate := rate_of(r)) and (batch := batch_of(r))
    ]
    if not rows:
        raise FitError(
            "no run gives both a rate and a batch; alpha-beta needs samples_per_s and batch_per_device"
        )
    devices, batches, nodes, rates = (list(column) for column in zip(*rows, strict=True))
    points = Points.of(devices, batches, nodes)
    prior = shipped_prior(runs[0].setting.workload) if prior is None else prior.copy()
    if step_spread:
        prior[PARAMETERS.index("spread")] = np.log(step_spread), SPREAD_KNOWN
    return fit_scaling(points, rates, prior), points, list(rates)


def fit_alpha_beta(group: Group, data: Sample) -> Fit:
    """Return the law of a group, drawn for its own settings from the fewest devices to the most."""
    law, points, rates = scaling_of(group.runs)
    order = np.lexsort((points.batches, points.devices))
    ordered = Points(*(values[order] for values in points))
    curve = [
        (float(n), 1 / rate.value, 1 / (rate.high or rate.value), 1 / (rate.low or rate.value))
        for n, rate in zip(ordered.devices, law.rate(ordered, of_a_run=False), strict=True)
    ]
    notes = (
        Note(
            "prior",
            "times of communication start from what published MLPerf runs teach; see laws/pooling.py",
        ),
    )
    return Fit(
        group=group.key,
        target="time_per_sample_s",
        over="devices",
        law="alpha-beta",
        parameters=law.parameters(),
        points=tuple(
            (float(n), 1 / r, 1 / r, 1 / r) for n, r in zip(points.devices, rates, strict=True)
        ),
        curve=tuple(dict.fromkeys(curve)),
        n=len(rates),
        sizes=len(set(points.devices.tolist())),
        held_out_error=_held_out(points, rates, group.runs[0].setting.workload),
        status=data.status,
        warnings=(*data.notes, *notes),
    )


def _held_out(points: Points, rates: list[float], task: str) -> float | None:
    sizes = sorted(set(points.devices.tolist()))
    errors = []
    for size in sizes if len(sizes) > 2 else []:
        keep = points.devices != size
        law = fit_scaling(
            Points(*(v[keep] for v in points)), np.array(rates)[keep], shipped_prior(task)
        )
        middle, _ = law.log_rate(Points(*(v[~keep] for v in points)))
        errors.append(float(np.abs(np.expm1(middle - np.log(np.array(rates)[~keep]))).mean()))
    return float(np.median(errors)) if errors else None

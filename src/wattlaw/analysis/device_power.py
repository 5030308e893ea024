"""The mean power of one device against the number of devices, with its uncertainty.

    ln W = a + b·(ln N − mean)      b ~ normal(0, 0.05)

Devices that wait for one another draw less, so W falls slowly with N; a slope needs evidence, since few sizes and
the noise of meters would otherwise send it anywhere. Noise is relative, its size unknown as in posterior.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattlaw.core.quantities import derive
from wattlaw.core.run import Run
from wattlaw.laws.statistics.posterior import NU, Noise, forecasts

Array = NDArray[Any]

SLOPE = 0.05
"""Standard deviation of the prior of b: devices draw a few percent less or more with each e-fold of their number."""

NOISE = 0.03
"""Scale of the relative noise of a run's mean power: meters, temperature, and boards that differ."""


class DevicePower(NamedTuple):
    """ln of a device's mean power in W: most probable (level, slope) around ``centre``, their covariance, the noise."""

    centre: float
    best: Array
    covariance: Array
    noise: float
    df: float

    def forecast(
        self, devices: float, count: int, of_run: bool = True, seed: int = 5
    ) -> tuple[float, Array]:
        """Return ln W at so many devices: the middle, and equally likely draws (count,), of one more run or the mean.

        Draws of all numbers of devices belong together.
        """
        x = np.array([1.0, np.log(devices) - self.centre])
        middle, variance = (
            float(x @ self.best),
            float(x @ self.covariance @ x) + of_run * self.noise**2,
        )
        draws = forecasts(
            np.array([middle]), np.ones(1), [Noise(np.array([variance**0.5]), self.df)], count, seed
        )
        return middle, draws


def fit_power_of(runs: Sequence[Run]) -> DevicePower | None:
    """Fit to runs; None unless every one measured its GPUs' power or energy."""
    powers = [device_power(run) for run in runs]
    known = [p for p in powers if p is not None]
    if not known or len(known) < len(powers):
        return None
    x, y = np.log([run.setting.devices for run in runs]), np.log(known)
    centre = float(x.mean())
    design = np.column_stack([np.ones_like(x), x - centre])
    # ridge in units of the noise: the slope has a prior, the level none
    inverse = np.linalg.inv(design.T @ design / NOISE**2 + np.diag([0.0, 1 / SLOPE**2]))
    best = inverse @ (design.T @ y) / NOISE**2
    squares = float(((y - design @ best) ** 2).sum())
    df = NU + len(y) - 1
    noise = ((NU * NOISE**2 + squares) / df) ** 0.5
    return DevicePower(centre, best, inverse * max(1.0, noise / NOISE) ** 2, noise, df)


_LEAST_W, _MOST_W = 1e-3, 1e6
"""What one device draws, be it a chip or a rack; anything else is no power."""


def device_power(run: Run) -> float | None:
    """Return the measured mean power of one device of a run, W; None where nothing measured one that a device draws."""
    watts = _device_power(run)
    return watts if watts is not None and _LEAST_W <= watts <= _MOST_W else None


def _device_power(run: Run) -> float | None:
    reading = derive(run, "gpu_mean_power_w")
    if reading.value is not None and reading.status == "measured":
        return reading.value / run.setting.devices
    joules, seconds = derive(run, "gpu_energy_j"), derive(run, "elapsed_s").value
    if joules.value is None or joules.status != "measured" or not seconds:
        return None
    return joules.value / seconds / run.setting.devices

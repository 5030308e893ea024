"""Caps tried on few devices, foretold on others, of simulated devices that obey the cap law: no one has measured it.

Three sizes were run without a lower cap, and one of them at three caps or four; asked are time and energy of another
size, inside or next to those run, at another cap. A part v of what is lost to communication, anywhere from 0 to 1, is
left alone by the cap. Beside it stands what takes the cap for equally hurtful on every number of devices (v = 0).
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import Pool as Workers
from typing import Any, NamedTuple

import numpy as np

from wattlaw.advice.advise import advise
from wattlaw.analysis.caps_on_devices import equal_work
from wattlaw.analysis.predict import PredictionRequest, predict
from wattlaw.core.errors import FitError
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.laws.caps import NOISE, PRIOR, response, with_work

SETS = 300
HIGHEST_W = 300.0
LIMITS = (0.6, 0.8, 1.0, 1.3, 2.0)
"""Limits of time, as multiples of that of the largest size run."""

SIZES = ((1, 2, 4, 8), (1, 2, 4), (2, 4, 8), (4, 8, 16))


class Truth(NamedTuple):
    """A simulated device (1, 8 parameters), the communication of many, and how far a cap leaves that alone."""

    z: Any
    sigma: float
    kappa: float
    v: float
    tried_on: int

    def lost(self, n: float) -> float:
        """Time over that of perfect scaling."""
        return 1 + self.sigma * (n - 1) + self.kappa * n * (n - 1)

    def at(self, n: int, cap: float) -> tuple[float, float]:
        """Time per sample, s, and energy of all devices, J."""
        work = np.log(self.lost(self.tried_on) / self.lost(n))
        time, power = response(
            with_work(self.z, np.array([self.v * work])), np.array([cap / HIGHEST_W, 1.0])
        )
        seconds = self.lost(n) / n * float(np.exp(time[0, 0] - time[0, 1]))
        return seconds, n * seconds * HIGHEST_W * float(np.exp(power[0, 0]))


def drawn(rng: np.random.Generator) -> tuple[Truth, tuple[int, ...]]:
    """A device from the prior of published ones, and the sizes that are run."""
    sizes = SIZES[rng.integers(len(SIZES))]
    z = rng.normal(0, 1, (1, len(PRIOR)))
    tried = sizes[rng.integers(2)]
    return Truth(
        z, 10 ** rng.uniform(-2.5, -0.8), 10 ** rng.uniform(-5, -2.5), rng.uniform(), tried
    ), sizes


def tried(
    rng: np.random.Generator, truth: Truth, sizes: tuple[int, ...]
) -> tuple[list[Run], list[float]]:
    """Runs at the highest cap on all sizes, and at lower ones on one of them; the lower caps."""

    def run(n: int, cap: float, repeat: int) -> Run:
        seconds, joules = truth.at(n, cap)
        noise = np.exp(rng.normal(0, NOISE))
        quantities = {"samples_per_s": measured(1 / (seconds * noise[0])), "samples": measured(1000.0),
                      "elapsed_s": measured(1000 * seconds * noise[0]),
                      "gpu_energy_j": measured(1000 * joules * noise[0] * noise[1])}  # fmt: skip
        setting = Setting("made", devices_per_node=n, batch_per_device=32, power_cap_w=cap)
        return Run(
            setting=setting, trial=f"{n}-{cap}-{repeat}", repeat=repeat, quantities=quantities
        )

    runs = [run(n, HIGHEST_W, r) for n in sizes for r in range(2)]
    caps = np.linspace(rng.uniform(0.35, 0.5), 1.0, rng.integers(3, 5))[:-1] * HIGHEST_W
    return runs + [run(truth.tried_on, float(cap), 0) for cap in caps], caps.tolist()


def one(seed: int) -> list[tuple[float, float, bool, bool]]:
    """Errors of what the cap does to time and energy, ln, and whether intervals of both hold a run; at two sizes."""
    rng = np.random.default_rng(seed)
    truth, sizes = drawn(rng)
    runs, caps = tried(rng, truth, sizes)
    cap = float(rng.uniform(caps[0], 0.9 * HIGHEST_W))
    found = []
    for n in (sizes[2], 2 * sizes[-1]):
        told, free = (
            predict(runs, PredictionRequest(devices=n, power_cap_w=c), extrapolate=True)[0]
            for c in (cap, HIGHEST_W)
        )
        (seconds, joules), at_highest = truth.at(n, cap), truth.at(n, HIGHEST_W)
        noise = np.exp(rng.normal(0, NOISE))
        time, energy = told.quantities["time_per_sample_s"], told.quantities["energy_j"]
        holds = [
            (i.low or 0) <= value <= (i.high or 0)
            for i, value in ((time, seconds * noise[0]), (energy, joules * noise[0] * noise[1]))
        ]
        slower = time.value / free.quantities["time_per_sample_s"].value / (seconds / at_highest[0])
        dearer = energy.value / free.quantities["energy_j"].value / (joules / at_highest[1])
        found.append((np.log(slower), np.log(dearer), *holds))
    return found


def advised(seed: int) -> list[tuple[float, bool] | None]:
    """Follow advice on the least energy within a time, joint and on what was run alone: regret, was the limit broken.

    None where the advice says that no setting keeps the limit.
    """
    rng = np.random.default_rng(seed)
    truth, sizes = drawn(rng)
    runs, caps = tried(rng, truth, sizes)
    limit = truth.at(sizes[-1], HIGHEST_W)[0] * rng.choice(LIMITS)
    places = [
        (n, c) for n in range(1, 2 * sizes[-1] + 1) for c in np.arange(caps[0], HIGHEST_W + 1, 5.0)
    ]
    kept = [
        joules for seconds, joules in (truth.at(n, float(c)) for n, c in places) if seconds <= limit
    ]
    followed: list[tuple[float, bool] | None] = []
    for unmeasured in (True, False):
        try:
            (advice,) = advise(runs, "energy", limits={"time": limit}, unmeasured=unmeasured)
        except FitError:
            followed.append(None)
            continue
        seconds, joules = truth.at(advice.setting.devices, advice.setting.power_cap_w or HIGHEST_W)
        regret = joules / min(kept) - 1 if kept else np.nan
        followed.append((max(0.0, regret), bool(seconds > 1.015 * limit)))
    return followed


def main(sets: int = SETS) -> dict[str, Any]:
    """Coverage of 90 % intervals, mean errors of what the cap does; ``ratio`` is that of time over that with v = 0."""
    with Workers(2) as pool:
        ours = np.array(pool.map(one, range(sets)), float)
        plain = np.array(pool.map(_unshared, range(sets)), float)
        cases = pool.map(advised, range(sets))
    places = {"inside": 0, "next": 1}
    error = {name: [_percent(ours[:, i, k]) for k in (0, 1)] for name, i in places.items()}
    same = {name: [_percent(plain[:, i, k]) for k in (0, 1)] for name, i in places.items()}
    return {
        "sets": sets,
        "coverage_time_energy": {
            n: [round(float(ours[:, i, k].mean()), 3) for k in (2, 3)] for n, i in places.items()
        },
        "coverage_with_the_same_ratio": {
            n: [round(float(plain[:, i, k].mean()), 3) for k in (2, 3)] for n, i in places.items()
        },
        "mean_error_of_ratio_percent_time_energy": error,
        "mean_error_of_ratio_percent_with_the_same_ratio": same,
        "advice": {
            name: _followed([c[i] for c in cases]) for i, name in enumerate(("joint", "runs_alone"))
        },
        "ratio": round(error["next"][0] / same["next"][0], 3),
    }


def _followed(cases: list[tuple[float, bool] | None]) -> dict[str, float]:
    given = [case for case in cases if case]
    regrets = [regret for regret, is_broken in given if not is_broken]
    return {
        "advised": len(given),
        "mean_regret_percent": round(100 * float(np.mean(regrets)), 2),
        "limit_broken_percent": round(
            100 * float(np.mean([is_broken for _, is_broken in given])), 2
        ),
    }


def _unshared(seed: int) -> list[tuple[float, float, bool, bool]]:
    import wattlaw.analysis.predict as module

    shared: Callable[..., Any] = module.work_share
    try:
        module.work_share = lambda *_: equal_work()
        return one(seed)
    finally:
        module.work_share = shared


def _percent(errors: Any) -> float:
    return round(100 * float(np.expm1(np.abs(errors)).mean()), 2)

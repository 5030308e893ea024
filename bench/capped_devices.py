"""Predict power caps on numbers of devices where no cap was run, on 300 simulated clusters.

The devices obey the cap law. Three or four sizes are run at the highest cap, and one of them also
at two or three lower caps. Time and energy are predicted at another cap on two other sizes: one
within the range of sizes run ("inside") and one above it ("next"). A random part v of the
communication, from 0 to 1, does not respond to the cap. The rival assumes that a cap has the same
effect on every number of devices (v = 0). ``ratio`` is our mean error of the effect on time at the
next size, over the rival's.

Run with `make bench NAME=capped_devices`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
"""Limits on time, as multiples of the time of the largest size run."""

SIZES = ((1, 2, 4, 8), (1, 2, 4), (2, 4, 8), (4, 8, 16))


class Truth(NamedTuple):
    """A simulated cluster.

    z             parameters of the cap law, (1, 8)
    sigma, kappa  parameters of the universal scaling law
    v             part of the communication that does not respond to a cap
    tried_on      number of devices run at lower caps
    """

    z: Any
    sigma: float
    kappa: float
    v: float
    tried_on: int

    def lost(self, n: float) -> float:
        """Return the time over that of perfect scaling."""
        return 1 + self.sigma * (n - 1) + self.kappa * n * (n - 1)

    def at(self, n: int, cap: float) -> tuple[float, float]:
        """Return the time per sample, s, and the energy of all devices per sample, J."""
        work = np.log(self.lost(self.tried_on) / self.lost(n))
        time, power = response(
            with_work(self.z, np.array([self.v * work])), np.array([cap / HIGHEST_W, 1.0])
        )
        seconds = self.lost(n) / n * float(np.exp(time[0, 0] - time[0, 1]))
        return seconds, n * seconds * HIGHEST_W * float(np.exp(power[0, 0]))


def drawn(rng: np.random.Generator) -> tuple[Truth, tuple[int, ...]]:
    """Return a device drawn from the prior of published ones, and the sizes to run."""
    sizes = SIZES[rng.integers(len(SIZES))]
    z = rng.normal(0, 1, (1, len(PRIOR)))
    tried = sizes[rng.integers(2)]
    sigma, kappa = 10 ** rng.uniform(-2.5, -0.8), 10 ** rng.uniform(-5, -2.5)
    return Truth(z, sigma, kappa, rng.uniform(), tried), sizes


def tried(
    rng: np.random.Generator, truth: Truth, sizes: tuple[int, ...]
) -> tuple[list[Run], list[float]]:
    """Return runs at the highest cap on all sizes and at lower caps on one, and the lower caps."""

    def run(n: int, cap: float, repeat: int) -> Run:
        seconds, joules = truth.at(n, cap)
        noise = np.exp(rng.normal(0, NOISE))
        quantities = {
            "samples_per_s": measured(1 / (seconds * noise[0])),
            "samples": measured(1000.0),
            "elapsed_s": measured(1000 * seconds * noise[0]),
            "gpu_energy_j": measured(1000 * joules * noise[0] * noise[1]),
        }
        setting = Setting("made", devices_per_node=n, batch_per_device=32, power_cap_w=cap)
        return Run(
            setting=setting, trial=f"{n}-{cap}-{repeat}", repeat=repeat, quantities=quantities
        )

    runs = [run(n, HIGHEST_W, r) for n in sizes for r in range(2)]
    caps = np.linspace(rng.uniform(0.35, 0.5), 1.0, rng.integers(3, 5))[:-1] * HIGHEST_W
    return runs + [run(truth.tried_on, float(cap), 0) for cap in caps], caps.tolist()


def one(seed: int) -> list[tuple[float, float, bool, bool]]:
    """Return errors and coverage of time and energy at two sizes.

    The errors are ln of the predicted over the true effect of the cap. Coverage is whether the
    interval holds the value of one more run.
    """
    rng = np.random.default_rng(seed)
    truth, sizes = drawn(rng)
    runs, caps = tried(rng, truth, sizes)
    cap = float(rng.uniform(caps[0], 0.9 * HIGHEST_W))
    found = []
    for n in (sizes[2], 2 * sizes[-1]):
        capped, free = (
            predict(runs, PredictionRequest(devices=n, power_cap_w=c), extrapolate=True)[0]
            for c in (cap, HIGHEST_W)
        )
        (seconds, joules), at_highest = truth.at(n, cap), truth.at(n, HIGHEST_W)
        noise = np.exp(rng.normal(0, NOISE))
        time, energy = capped.quantities["time_per_sample_s"], capped.quantities["energy_j"]
        holds = [
            (i.low or 0) <= value <= (i.high or 0)
            for i, value in ((time, seconds * noise[0]), (energy, joules * noise[0] * noise[1]))
        ]
        slower = time.value / free.quantities["time_per_sample_s"].value / (seconds / at_highest[0])
        dearer = energy.value / free.quantities["energy_j"].value / (joules / at_highest[1])
        found.append((np.log(slower), np.log(dearer), *holds))
    return found


def advised(seed: int) -> list[tuple[float, bool] | None]:
    """Return the regret of advice on the least energy within a time, and if its limit broke.

    First for advice that includes settings that were not run, then for advice on runs alone. None
    where the advice finds no setting that keeps the limit.
    """
    rng = np.random.default_rng(seed)
    truth, sizes = drawn(rng)
    runs, caps = tried(rng, truth, sizes)
    limit = truth.at(sizes[-1], HIGHEST_W)[0] * rng.choice(LIMITS)
    kept = []
    for n in range(1, 2 * sizes[-1] + 1):
        for cap in np.arange(caps[0], HIGHEST_W + 1, 5.0):
            seconds, joules = truth.at(n, float(cap))
            if seconds <= limit:
                kept.append(joules)
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
    """Return the coverage of 90 % intervals, mean errors of the effect of a cap, and regrets."""
    with Workers(2) as pool:
        ours = np.array(pool.map(one, range(sets)), float)
        plain = np.array(pool.map(_unshared, range(sets)), float)
        cases = pool.map(advised, range(sets))
    joint, runs_alone = zip(*cases, strict=True)
    error, same = _errors(ours), _errors(plain)
    return {
        "sets": sets,
        "coverage_time_energy": _coverage(ours),
        "coverage_with_the_same_ratio": _coverage(plain),
        "mean_error_of_ratio_percent_time_energy": error,
        "mean_error_of_ratio_percent_with_the_same_ratio": same,
        "advice": {"joint": _followed(joint), "runs_alone": _followed(runs_alone)},
        "ratio": round(error["next"][0] / same["next"][0], 3),
    }


def _errors(results: np.ndarray) -> dict[str, list[float]]:
    """Return the mean errors of time and energy by size, %; results are (sets, 2 sizes, 4)."""
    means = 100 * np.expm1(np.abs(results[:, :, :2])).mean(axis=0)
    return {"inside": np.round(means[0], 2).tolist(), "next": np.round(means[1], 2).tolist()}


def _coverage(results: np.ndarray) -> dict[str, list[float]]:
    """Return the coverage of time and energy by size; results are (sets, 2 sizes, 4)."""
    shares = results[:, :, 2:].mean(axis=0)
    return {"inside": np.round(shares[0], 3).tolist(), "next": np.round(shares[1], 3).tolist()}


def _followed(cases: Sequence[tuple[float, bool] | None]) -> dict[str, float]:
    advised = [case for case in cases if case]
    regrets = [regret for regret, is_broken in advised if not is_broken]
    broken = len(advised) - len(regrets)
    return {
        "advised": len(advised),
        "mean_regret_percent": round(100 * float(np.mean(regrets)), 2),
        "limit_broken_percent": round(100 * broken / len(advised), 2),
    }


def _unshared(seed: int) -> list[tuple[float, float, bool, bool]]:
    import wattlaw.analysis.predict as module

    shared: Callable[..., Any] = module.work_share
    try:
        module.work_share = lambda *_: equal_work()
        return one(seed)
    finally:
        module.work_share = shared

"""Forecasts of published MLPerf families: the largest size hidden, and every next size from those before it.

Time to the target is samples needed ÷ rate, each with its own law. Beside them stand the plain power law and,
where it is installed (EXTRAP_PYTHON names its interpreter), Extra-P on the same points. No family informs its
own prior: the pool is learnt anew without it, and for "rounds" without its whole round of MLPerf, which is the harder
test: it is how rounds fare that taught nothing.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from multiprocessing import Pool as Workers
from pathlib import Path
from typing import Any

import numpy as np

from _scaling_prior import published
from wattlaw.analysis.run_laws import time_to_target
from wattlaw.core.findings import Interval
from wattlaw.laws.averaging import time_per_sample
from wattlaw.laws.priors import PRIOR_ROUNDS, Family, learn_priors
from wattlaw.laws.priors import PriorPool as Lessons
from wattlaw.laws.samples import fit_samples
from wattlaw.laws.scaling import Points, fit_scaling, log_step, scale_prior

EXTRAP = os.environ.get("EXTRAP_PYTHON", "")


def upto(family: Family, n: int) -> Family:
    """The first n sizes."""
    points = Points(*(values[:n] for values in family.points))
    return family._replace(points=points, rates=family.rates[:n], samples=family.samples[:n])


def power(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The plain power law's forecast."""
    return float(np.exp(np.polyval(np.polyfit(np.log(x), np.log(y), 1), np.log(at))))


def forecast(family: Family, lessons: Lessons, n: int) -> dict[str, float]:
    """Forecast size n (0-based) of a family from the sizes before it."""
    known, target = upto(family, n), Points(*(values[n : n + 1] for values in family.points))
    law = fit_scaling(known.points, known.rates, lessons.prior(family.task, [family.name]))
    time = time_per_sample(law, known.rates, target)
    rate = Interval(1 / time.value, 1 / time.high, 1 / time.low)
    found = {"devices": float(target.devices[0]), "rate_error": rate.value / family.rates[n] - 1}
    found["rate_covered"] = float(rate.low <= family.rates[n] <= rate.high)
    found["rate_power"] = (
        power(known.points.devices, known.rates, target.devices[0]) / family.rates[n] - 1
    )
    times = family.samples / family.rates
    if np.isfinite(times[: n + 1]).all():
        needed = fit_samples(
            known.points.batches, known.samples, lessons.critical(family.task, [family.name])
        )
        time = time_to_target(law, needed, target)[0]
        found["time_error"] = time.value / times[n] - 1
        found["time_covered"] = float(time.low <= times[n] <= time.high)
        found["time_power"] = (
            power(known.points.devices, times[:n], target.devices[0]) / times[n] - 1
        )
    return found


def judged(work: tuple[list[Family], int]) -> dict[str, Any]:
    """Forecast each next size of one family with a prior learnt from all others."""
    data, index = work
    family = data[index]
    lessons = learn_priors([f for f in data if f.name != family.name])
    sizes = len(family.rates)
    return {
        "name": family.name,
        "sizes": sizes,
        "forecasts": [forecast(family, lessons, n) for n in range(2, sizes)],
    }


def other_rounds(work: tuple[list[Family], str]) -> list[dict[str, Any]]:
    """Forecast each next size of the families of one round with a prior learnt from the other rounds."""
    data, name = work
    lessons = learn_priors([f for f in data if name not in f.name])
    found = []
    for family in (f for f in data if name in f.name and len(f.rates) >= 3):
        sizes = len(family.rates)
        found.append(
            {"sizes": sizes, "forecasts": [forecast(family, lessons, n) for n in range(2, sizes)]}
        )
    return found


def of_rounds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors at the largest and at every next size, and coverage, where whole rounds are held out."""
    large = [r["forecasts"][-1] for r in results if r["sizes"] >= 4]
    nexts = [f for r in results for f in r["forecasts"]]
    names = ("time_error", "time_power", "rate_error", "rate_power")
    hits = [f[k] for f in nexts for k in ("rate_covered", "time_covered") if k in f]
    return {
        "largest": {k: middle([f.get(k) for f in large]) for k in names},
        "next": {k: middle([f.get(k) for f in nexts]) for k in names},
        "coverage": {"n": len(hits), "percent": round(100 * sum(hits) / len(hits), 1),
                     "wilson": wilson(int(sum(hits)), len(hits))},
    }  # fmt: skip


def simulated(lessons: Lessons, count: int = 200, seed: int = 11) -> float:
    """Share of made-up families whose last of four sizes lies within the 90 % interval of its forecast."""
    rng = np.random.default_rng(seed)
    prior, hits = lessons.prior(""), 0
    for _ in range(count):
        devices = 8.0 * 2.0 ** np.sort(rng.choice(9, 4, replace=False))
        batches = devices * 2.0 ** rng.integers(1, 7, 4)
        points = Points.of(devices, batches, devices / 8)
        z, true = rng.normal(size=len(prior)), scale_prior(prior, 0.002 * math.exp(rng.normal()))
        noise = 0.04 * np.sqrt(3 / rng.chisquare(3)) * rng.normal(size=4)
        rates = batches / np.exp(log_step(z[None], points, true)[0] + noise)
        law = fit_scaling(Points(*(v[:3] for v in points)), rates[:3], prior)
        found = law.rate(Points(*(v[3:] for v in points)))[0]
        hits += found.low <= rates[3] <= found.high
    return hits / count


def extrap(families: list[tuple[list[float], list[float], float]]) -> list[float | None]:
    """Extra-P's forecasts of (sizes, values, next size); None without it."""
    if not EXTRAP:
        return [None] * len(families)
    script = Path(__file__).with_name("_extrap_peer.py")
    done = subprocess.run(
        [EXTRAP, str(script)],
        input=json.dumps(families),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.96, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return round(100 * (middle - half), 1), round(100 * (middle + half), 1)


def main() -> dict[str, Any]:
    """Errors in percent, ratios to the power law and to Extra-P, coverage with Wilson's interval."""
    data = published()
    tried = [i for i, f in enumerate(data) if len(f.rates) >= 3]
    with Workers(2) as workers:
        results = workers.map(judged, [(data, i) for i in tried], chunksize=1)
        rounds = workers.map(other_rounds, [(data, name) for name in PRIOR_ROUNDS], chunksize=1)
    large = [
        (data[i], r["forecasts"][-1])
        for i, r in zip(tried, results, strict=True)
        if r["sizes"] >= 4
    ]
    nexts = [f for r in results for f in r["forecasts"]]
    made = simulated(learn_priors(data), 200)
    result: dict[str, Any] = {
        "bench": "mlperf_scaling",
        "families": len(large),
        "next_sizes": len(nexts),
    }
    result["rounds"] = of_rounds([r for found in rounds for r in found])
    result["next"] = {
        k: middle([f.get(k) for f in nexts])
        for k in ("time_error", "time_power", "rate_error", "rate_power")
    }
    result["largest"] = {
        k: middle([f.get(k) for _, f in large])
        for k in ("time_error", "time_power", "rate_error", "rate_power")
    }
    for name in ("time", "rate"):
        values = [f.samples / f.rates if name == "time" else f.rates for f, _ in large]
        sizes = [f.points.devices.tolist() for f, _ in large]
        peer = extrap(
            [(s[:-1], v[:-1].tolist(), s[-1]) for s, v in zip(sizes, values, strict=True)]
        )
        if None not in peer:
            result["largest"][f"{name}_extrap"] = middle(
                [p / v[-1] - 1 for p, v in zip(peer, values, strict=True)]
            )
    for name in ("time", "rate"):
        error = result["largest"][f"{name}_error"]["median"]
        result[f"{name}_ratio"] = {
            rival: round(error / found["median"], 2)
            for rival in ("power", "extrap")
            if (found := result["largest"].get(f"{name}_{rival}"))
        }
    hits = [f[k] for f in nexts for k in ("rate_covered", "time_covered") if k in f]
    for label, covered, n in (
        ("published", sum(hits), len(hits)),
        ("pooled", sum(hits) + 200 * made, len(hits) + 200),
    ):
        result[f"coverage_{label}"] = {
            "n": n,
            "percent": round(100 * covered / n, 1),
            "wilson": wilson(round(covered), n),
        }
    return result


def middle(errors: list[float | None]) -> dict[str, float]:
    """Median and mean of the absolute errors, in percent."""
    known = np.abs([e for e in errors if e is not None])
    return {
        "median": round(100 * float(np.median(known)), 1),
        "mean": round(100 * float(known.mean()), 1),
    }


if __name__ == "__main__":
    print(json.dumps(main()))

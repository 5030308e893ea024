"""Predict hidden sizes of published MLPerf families from the smaller sizes.

For each family, every size from the third on is predicted from the sizes before it; "largest" holds
the results for the largest size of families with at least four. Time to target is the number of
samples over the rate, with one law for each. The rivals are the plain power law and, if
EXTRAP_PYTHON names a Python with `extrap`, Extra-P on the same points. A family never informs its
own prior. For "rounds" the prior is fitted without the whole MLPerf round of the family, which is
the harder test. Errors are absolute relative errors, %; a ratio is our median error over the
rival's. Run with `make bench NAME=mlperf_scaling`.
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
from wattlaw.laws.priors import PRIOR_ROUNDS, Family, PriorPool, learn_priors
from wattlaw.laws.samples import fit_samples
from wattlaw.laws.scaling import Points, fit_scaling, log_step, scale_prior

EXTRAP = os.environ.get("EXTRAP_PYTHON", "")


def upto(family: Family, n: int) -> Family:
    """Return the family with its first n sizes."""
    points = Points(*(values[:n] for values in family.points))
    return family._replace(points=points, rates=family.rates[:n], samples=family.samples[:n])


def power(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Return the prediction of the plain power law."""
    return float(np.exp(np.polyval(np.polyfit(np.log(x), np.log(y), 1), np.log(at))))


def forecast(family: Family, pool: PriorPool, n: int) -> dict[str, float]:
    """Predict size n (0-based) of a family from the sizes before it."""
    known, target = upto(family, n), Points(*(values[n : n + 1] for values in family.points))
    law = fit_scaling(known.points, known.rates, pool.prior(family.task, [family.name]))
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
            known.points.batches, known.samples, pool.critical(family.task, [family.name])
        )
        time = time_to_target(law, needed, target)[0]
        found["time_error"] = time.value / times[n] - 1
        found["time_covered"] = float(time.low <= times[n] <= time.high)
        found["time_power"] = (
            power(known.points.devices, times[:n], target.devices[0]) / times[n] - 1
        )
    return found


def judged(work: tuple[list[Family], int]) -> dict[str, Any]:
    """Predict each next size of one family with a prior fitted to all others."""
    data, index = work
    family = data[index]
    pool = learn_priors([f for f in data if f.name != family.name])
    sizes = len(family.rates)
    return {
        "name": family.name,
        "sizes": sizes,
        "forecasts": [forecast(family, pool, n) for n in range(2, sizes)],
    }


def other_rounds(work: tuple[list[Family], str]) -> list[dict[str, Any]]:
    """Predict each next size of the families of one round with a prior fitted to other rounds."""
    data, name = work
    pool = learn_priors([f for f in data if name not in f.name])
    found = []
    for family in (f for f in data if name in f.name and len(f.rates) >= 3):
        sizes = len(family.rates)
        forecasts = [forecast(family, pool, n) for n in range(2, sizes)]
        found.append({"sizes": sizes, "forecasts": forecasts})
    return found


def of_rounds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return errors and coverage where the prior excludes the whole round."""
    large = [r["forecasts"][-1] for r in results if r["sizes"] >= 4]
    nexts = [f for r in results for f in r["forecasts"]]
    hits = covered(nexts)
    return {
        "largest": errors(large),
        "next": errors(nexts),
        "coverage": coverage(sum(hits), len(hits)),
    }


def errors(forecasts: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the errors of time and rate, of our laws and of the power law, %."""
    names = ("time_error", "time_power", "rate_error", "rate_power")
    return {name: middle([f.get(name) for f in forecasts]) for name in names}


def covered(forecasts: list[dict[str, float]]) -> list[float]:
    """Return 1 for each interval of a rate or a time that holds the true value, else 0."""
    found = []
    for each in forecasts:
        found += [each[name] for name in ("rate_covered", "time_covered") if name in each]
    return found


def coverage(hits: float, n: int) -> dict[str, Any]:
    """Return the share of hits, %, with Wilson's interval."""
    return {"n": n, "percent": round(100 * hits / n, 1), "wilson": wilson(round(hits), n)}


def simulated(pool: PriorPool, count: int = 200, seed: int = 11) -> float:
    """Return the share of simulated families whose fourth size is in its 90 % interval."""
    rng = np.random.default_rng(seed)
    prior, hits = pool.prior(""), 0
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
    """Return Extra-P's predictions for (sizes, values, next size), or None without `extrap`."""
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
    """Return Wilson's 95 % interval of a share, %."""
    z, p = 1.96, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return round(100 * (middle - half), 1), round(100 * (middle + half), 1)


def main() -> dict[str, Any]:
    """Return errors, ratios to the power law and to Extra-P, and coverage, %."""
    data = published()
    tried = [i for i, f in enumerate(data) if len(f.rates) >= 3]
    with Workers(2) as workers:
        results = workers.map(judged, [(data, i) for i in tried], chunksize=1)
        rounds = workers.map(other_rounds, [(data, name) for name in PRIOR_ROUNDS], chunksize=1)
    large = []
    for index, each in zip(tried, results, strict=True):
        if each["sizes"] >= 4:
            large.append((data[index], each["forecasts"][-1]))
    nexts = [f for r in results for f in r["forecasts"]]
    count = 200
    simulated_hits = count * simulated(learn_priors(data), count)
    result: dict[str, Any] = {
        "bench": "mlperf_scaling",
        "families": len(large),
        "next_sizes": len(nexts),
    }
    result["rounds"] = of_rounds([r for found in rounds for r in found])
    result["next"] = errors(nexts)
    result["largest"] = errors([f for _, f in large])
    for name in ("time", "rate"):
        values, cases = [], []
        for family, _ in large:
            value = family.samples / family.rates if name == "time" else family.rates
            sizes = family.points.devices.tolist()
            values.append(value)
            cases.append((sizes[:-1], value[:-1].tolist(), sizes[-1]))
        peer = extrap(cases)
        if None not in peer:
            peer_errors = [p / v[-1] - 1 for p, v in zip(peer, values, strict=True)]
            result["largest"][f"{name}_extrap"] = middle(peer_errors)
    for name in ("time", "rate"):
        error = result["largest"][f"{name}_error"]["median"]
        result[f"{name}_ratio"] = {
            rival: round(error / found["median"], 2)
            for rival in ("power", "extrap")
            if (found := result["largest"].get(f"{name}_{rival}"))
        }
    hits = covered(nexts)
    result["coverage_published"] = coverage(sum(hits), len(hits))
    result["coverage_pooled"] = coverage(sum(hits) + simulated_hits, len(hits) + count)
    return result


def middle(errors: list[float | None]) -> dict[str, float]:
    """Return the median and the mean of the absolute errors, %."""
    known = np.abs([e for e in errors if e is not None])
    return {
        "median": round(100 * float(np.median(known)), 1),
        "mean": round(100 * float(known.mean()), 1),
    }


if __name__ == "__main__":
    print(json.dumps(main()))

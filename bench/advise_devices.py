"""Advice on the number of devices, judged on published MLPerf families of at least three sizes.

The largest size is hidden; the others and the law over devices, whose prior no family informs itself, say which size
to take: the fastest within a limit on device-time, or the one of least device-time that meets a deadline. Limits are
multiples of the least device-time, deadlines of the time of the fastest size, hidden ones counted. Regret is what the
choice takes above the best size that truly holds the limit; a limit missed by more than 1.5 % counts as broken, and
such a choice has no regret. Beside it stand the plain power law, and choosing among what was run alone. A hidden size
whose forecast is too wide to be given (predict.WIDEST) cannot be advised, only run; those cases are counted apart.
Where the advice names the hidden size as worth a run, it is also judged with that run made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from _scaling_prior import published
from _simulated_devices import calibration, simulated
from wattlaw.advice.device_count_candidates import device_candidates
from wattlaw.advice.device_counts import choose, next_run, weigh
from wattlaw.analysis.prices import NO_PRICES
from wattlaw.analysis.run_laws import run_noise
from wattlaw.core.quantities import DEVICE_TIME, TIME
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.laws.priors import Family, PriorPool, learn_priors

LIMITS = (1.05, 1.1, 1.2, 1.4, 1.7, 2.0)
DEADLINES = (1.05, 1.2, 1.5, 2.0)
FOLDS = 5


def runs_of(family: Family) -> list[Run]:
    """One run a size, at the medians of the family."""
    found = []
    for n, batch, nodes, rate in zip(*family.points, family.rates, strict=True):
        setting = Setting(family.task, nodes=int(nodes), devices_per_node=int(n // nodes))
        quantities = {
            "samples_per_s": measured(float(rate)),
            "global_batch": measured(float(batch)),
        }
        found.append(Run(setting=setting, trial=f"{n:g}", quantities=quantities))
    return found


def cases(family: Family) -> list[tuple[str, str, float, float]]:
    """What is asked: the quantity to be small, the one that is limited, its limit, and the multiple it is."""
    times = 1 / family.rates
    device_times = times * family.points.devices
    found = [(TIME, DEVICE_TIME, x * float(device_times.min()), x) for x in LIMITS]
    return found + [(DEVICE_TIME, TIME, x * float(times.min()), x) for x in DEADLINES]


def judged(family: Family, pool: PriorPool) -> list[dict[str, Any]]:
    """Follow the advice of the law, of the power law and of the runs alone in every case."""
    times, devices = 1 / family.rates, family.points.devices
    truth = {TIME: times, DEVICE_TIME: times * devices}
    runs = runs_of(family)
    sizes = devices.tolist()
    if [r.setting.devices for r in runs] != sizes:
        return []
    prior = pool.prior(family.task, [family.name])
    share = float(family.points.batches[-1] / devices[-1])
    options = device_candidates(runs[:-1], [(runs[-1].setting.devices, share)], prior)
    noise = float(run_noise(runs[:-1]).scale[0])
    line = np.polyfit(np.log(devices[:-1]), np.log(times[:-1]), 1)
    plain = np.append(times[:-1], np.exp(np.polyval(line, np.log(devices[-1]))))
    found = []
    for what, limited, most, multiple in cases(family):
        best = _best(truth[what], truth[limited], most)
        if best is None:
            continue
        weighed = weigh(options, what, None, {limited: most}, NO_PRICES)
        chosen = choose(weighed, 0.5)
        law = None if chosen is None else sizes.index(options[chosen].devices)
        guess = {TIME: plain, DEVICE_TIME: plain * devices}
        telling, saves = next_run(weighed)
        asked = saves > noise and not options[telling].is_measured
        rivals = {"law": law, "law_and_the_run_it_names": best if asked else law,
                  "power": _best(guess[what], guess[limited], most),
                  "run": _best(truth[what][:-1], truth[limited][:-1], most)}  # fmt: skip
        row = {"what": what, "multiple": multiple, "hidden_is_best": best == len(sizes) - 1, "asked": asked,
               "chance": float(weighed.chances[-1]) if options[-1].is_advisable else None,
               "hidden_holds": bool(truth[limited][-1] <= most)}  # fmt: skip
        for name, index in rivals.items():
            row[name] = _regret(truth[what], truth[limited], most, index, best)
        found.append(row)
    return found


def _best(costs: np.ndarray, limited: np.ndarray, most: float) -> int | None:
    kept = np.flatnonzero(limited <= most)
    return int(kept[np.argmin(costs[kept])]) if len(kept) else None


def _regret(
    costs: np.ndarray, limited: np.ndarray, most: float, index: int | None, best: int
) -> float | str:
    if index is None:
        return "none"
    if limited[index] > 1.015 * most:
        return "broken"
    return max(0.0, float(costs[index] / costs[best] - 1))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Cases, mean regret, and shares with a broken limit or no choice at all, in percent, for each adviser."""
    found: dict[str, Any] = {
        name: sum(r[name] for r in rows) for name in ("hidden_is_best", "asked")
    }
    found["cases"] = len(rows)
    for name in ("law", "law_and_the_run_it_names", "power", "run"):
        regrets = [r[name] for r in rows if isinstance(r[name], float)]
        found[name] = {
            "mean_regret": round(100 * float(np.mean(regrets)), 2),
            "best_chosen": round(100 * float(np.mean([r[name] == 0.0 for r in rows])), 1),
            "broken": round(100 * float(np.mean([r[name] == "broken" for r in rows])), 1),
            "no_choice": round(100 * float(np.mean([r[name] == "none" for r in rows])), 1),
        }
    return found


def main() -> dict[str, Any]:
    """Regret of advice on sizes that nobody had run, and whether limits hold as often as was said."""
    data = published()
    tried = [f for f in data if len(f.rates) >= 3]
    rows = []
    for fold in range(FOLDS):
        pool = learn_priors([f for i, f in enumerate(data) if i % FOLDS != fold])
        rows += [
            r
            for i, f in enumerate(data)
            if i % FOLDS == fold and len(f.rates) >= 3
            for r in judged(f, pool)
        ]
    told = [r for r in rows if r["chance"] is not None]
    return {
        "families": len(tried),
        "cases_refused": len(rows) - len(told),
        "time_within_device_time": summary([r for r in told if r["what"] == TIME]),
        "device_time_within_time": summary([r for r in told if r["what"] == DEVICE_TIME]),
        "refused": summary([r for r in rows if r["chance"] is None]),
        "calibration": calibration([(r["chance"], r["hidden_holds"]) for r in told]),
        "simulated": simulated(),
    }

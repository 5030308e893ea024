"""Judge the advice on the number of devices on published MLPerf families of at least three sizes.

The largest size of each family is hidden. The advice is fitted to the other sizes, with a prior
learned without this family. There are two kinds of objective: the least time within a limit on
device time, and the least device time within a deadline. Limits are multiples of the smallest
device time, and deadlines are multiples of the shortest time, over all sizes including the hidden
one. Regret is the relative excess of the chosen size over the best size that keeps the limit. A
limit counts as broken when it is exceeded by more than 1.5 %; such a choice has no regret.

The advice is compared with the plain power law ("power") and with the best of the measured sizes
("run"). A hidden size whose predictive interval is too wide (predict.WIDEST) cannot be recommended;
these cases are reported separately. Where the advice names the hidden size as the next run,
"law_and_the_run_it_names" judges the choice after that run.

Run with `make bench NAME=advise_devices`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from _scaling_prior import published
from _simulated_devices import calibration, simulated
from wattlaw.advice.device_count_candidates import device_candidates
from wattlaw.advice.device_counts import choose, evaluate, next_run
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
    """Return one run for each size, at the medians of the family."""
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
    """Return the cases: objective, limited quantity, limit, and the limit as a multiple."""
    times = 1 / family.rates
    device_times = times * family.points.devices
    found = [(TIME, DEVICE_TIME, x * float(device_times.min()), x) for x in LIMITS]
    return found + [(DEVICE_TIME, TIME, x * float(times.min()), x) for x in DEADLINES]


def judged(family: Family, pool: PriorPool) -> list[dict[str, Any]]:
    """Return the regret of the law, of the power law and of the measured sizes in every case."""
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
        evaluated = evaluate(options, what, None, {limited: most}, NO_PRICES)
        chosen = choose(evaluated, 0.5)
        law = None if chosen is None else sizes.index(options[chosen].devices)
        guess = {TIME: plain, DEVICE_TIME: plain * devices}
        proposed, saves = next_run(evaluated)
        proposes_hidden = saves > noise and not options[proposed].is_measured
        rivals = {
            "law": law,
            "law_and_the_run_it_names": best if proposes_hidden else law,
            "power": _best(guess[what], guess[limited], most),
            "run": _best(truth[what][:-1], truth[limited][:-1], most),
        }
        row = {
            "what": what,
            "multiple": multiple,
            "hidden_is_best": best == len(sizes) - 1,
            "asked": proposes_hidden,
            "chance": float(evaluated.probabilities[-1]) if options[-1].is_advisable else None,
            "hidden_holds": bool(truth[limited][-1] <= most),
        }
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
    """Return mean regret and the shares of best, broken and missing choices by adviser, %."""
    found: dict[str, Any] = {
        "hidden_is_best": sum(row["hidden_is_best"] for row in rows),
        "asked": sum(row["asked"] for row in rows),
        "cases": len(rows),
    }
    for name in ("law", "law_and_the_run_it_names", "power", "run"):
        outcomes = [row[name] for row in rows]
        regrets = [outcome for outcome in outcomes if isinstance(outcome, float)]
        found[name] = {
            "mean_regret": round(100 * float(np.mean(regrets)), 2),
            "best_chosen": round(100 * outcomes.count(0.0) / len(rows), 1),
            "broken": round(100 * outcomes.count("broken") / len(rows), 1),
            "no_choice": round(100 * outcomes.count("none") / len(rows), 1),
        }
    return found


def main() -> dict[str, Any]:
    """Return the regret on hidden sizes, and how often limits hold for each stated probability."""
    data = published()
    tried = [f for f in data if len(f.rates) >= 3]
    rows = []
    for fold in range(FOLDS):
        pool = learn_priors([f for i, f in enumerate(data) if i % FOLDS != fold])
        for family in data[fold::FOLDS]:
            if len(family.rates) >= 3:
                rows += judged(family, pool)
    advisable = [row for row in rows if row["chance"] is not None]
    refused = [row for row in rows if row["chance"] is None]
    return {
        "families": len(tried),
        "cases_refused": len(refused),
        "time_within_device_time": summary([r for r in advisable if r["what"] == TIME]),
        "device_time_within_time": summary([r for r in advisable if r["what"] == DEVICE_TIME]),
        "refused": summary(refused),
        "calibration": calibration([(r["chance"], r["hidden_holds"]) for r in advisable]),
        "simulated": simulated(),
    }

"""Back-tests: fits and advice compared with hidden sizes and caps."""

from __future__ import annotations

import numpy as np
import pytest
from tests.factory import law_run as run
from tests.factory import scaled

from wattlaw.advice.advise import advise
from wattlaw.advice.backtest import backtest_advise, backtest_fit, summary, summary_of_advice
from wattlaw.analysis.cap_curves import (
    candidate_caps,
    choose_cap,
    evaluate_curve,
    find_cap_curves,
    most_informative_cap,
)
from wattlaw.analysis.fit import fit
from wattlaw.core.errors import FitError, UsageError
from wattlaw.importers.importer import import_runs
from wattlaw.laws.caps import response

CAPS = np.array([100.0, 125, 150, 175, 200, 225, 250])


def capped(caps=CAPS, noise=0.004, repeats=1, seed=0):
    """Return runs of a job that the cap slows."""
    time, power = response(np.array([[-1, 0.8, 0, 0, 0, 0, 0, 0]]), np.asarray(caps) / 250)
    rng = np.random.default_rng(seed)
    made = []
    for cap, t, p in zip(caps, np.exp(time[0]), 250 * np.exp(power[0]), strict=True):
        for r in range(repeats):
            t_r, p_r = t * np.exp(rng.normal(0, noise)), p * np.exp(rng.normal(0, noise))
            made.append(run(float(t_r), 1, r, energy=float(t_r * p_r), power_cap_w=float(cap)))
    return made


@pytest.mark.parametrize(("hide", "count"), [("largest", 1), ("next", 3), ("random", 1)])
def test_hidden_sizes_are_predicted_and_compared_with_the_power_law(hide, count):
    found = backtest_fit(
        scaled({n: (1 + 0.02 * (n - 1)) / n for n in (1, 2, 4, 8, 16)}, noise=0.01), hide
    )
    overall = summary(found)
    assert overall["n"] == count
    assert overall["median_error"] < 0.1
    assert set(overall) == {
        "n",
        "median_error",
        "mean_error",
        "coverage_90",
        "baseline_median_error",
    }


def test_advice_from_three_caps_is_judged_by_the_hidden_ones():
    found = backtest_advise(capped(), 3, 0.1)
    assert summary_of_advice(found)["mean_regret"] < 0.02
    assert not found[0].broken
    assert found[0].probes == [100, 175, 250]


def test_back_tests_with_too_few_sizes_or_caps_are_refused():
    with pytest.raises(FitError, match="three sizes"):
        backtest_fit(scaled({1: 1.0, 2: 0.6}))
    with pytest.raises(UsageError, match="cannot hide 'smallest'"):
        backtest_fit(scaled({1: 1.0, 2: 0.6}), "smallest")
    with pytest.raises(FitError, match="more than 3 power caps"):
        backtest_advise(scaled({1: 1.0, 2: 0.6}))
    with pytest.raises(UsageError, match="at least 3"):
        backtest_advise(capped(), 2)


def test_runs_at_several_caps_are_fitted_by_the_cap_law():
    (found,) = fit(capped(), over="power_cap_w", target="gpu_energy_per_sample_j")
    assert found.law == "cap"
    assert found.parameters["exponent"].low < 3.2 < found.parameters["exponent"].high * 1.2
    assert (min(x for x, *_ in found.curve), max(x for x, *_ in found.curve)) == (100, 250)


def test_an_unmeasured_cap_can_be_recommended_and_is_marked():
    runs = capped(CAPS[[0, 3, 6]])
    (found,) = advise(runs, max_slowdown=0.2, unmeasured=True)
    assert not found.is_measured
    assert "not run" in found.words
    assert found.probability_bound_holds >= 0.6
    (measured,) = advise(runs, max_slowdown=0.2)
    assert measured.is_measured


def test_the_most_informative_run_is_near_the_bound_and_there_is_none_without_doubt():
    ((_, curve),) = find_cap_curves(capped(CAPS[[0, 3, 6]]))[0]
    options = evaluate_curve(curve, 0.08)
    informative = most_informative_cap(options, choose_cap(options))
    assert informative is not None
    assert 0.05 < informative.probability < 0.95
    flat = [
        run(1.0, 1, 0, energy=e, power_cap_w=c)
        for c, e in ((100.0, 40.0), (175.0, 40.0), (250.0, 40.0))
    ]
    ((_, still),) = find_cap_curves(flat)[0]
    assert len(candidate_caps(still)) == 31


def test_advice_on_the_published_zeus_curves_has_little_regret(published):
    runs = import_runs("zeus", published / "zeus" / "summary_power_p100.csv").runs
    overall = summary_of_advice(backtest_advise(runs, 3, 0.05))
    assert overall["curves"] == 45
    assert overall["mean_regret"] < 0.01
    assert overall["bound_broken"] < 0.05

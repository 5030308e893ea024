"""Time and energy against a power cap."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.analysis.cap_curves import choose_cap, evaluate_caps
from wattlaw.core.errors import FitError
from wattlaw.laws.caps import PRIOR, fit_caps, response

CAPS = np.array([100.0, 125, 150, 175, 200, 225, 250])


def curve(z, noise=0.0, seed=0):
    """Return times, s, and powers, W, at CAPS for standardised parameters z."""
    time, power = response(np.array([z]), CAPS / 250)
    rng = np.random.default_rng(seed)
    return (np.exp(v[0] + rng.normal(0, noise, len(CAPS))) for v in (time, power + np.log(250)))


def test_three_measured_caps_predict_those_between_within_two_percent():
    times, powers = curve([-1, 0.8, 0, 0, 0, 0, 0, 0])
    law = fit_caps(CAPS[[0, 3, 6]], times[[0, 3, 6]], powers[[0, 3, 6]])
    guess = np.exp(law.log_time(CAPS)[0])
    assert np.abs(guess / times - 1).max() < 0.02
    energies = np.exp(law.log_energy(CAPS)[0])
    assert np.abs(energies / (times * powers) - 1).max() < 0.03


def test_a_cap_above_what_the_job_draws_changes_nothing():
    law = fit_caps([100, 175, 250], [10.0, 10.0, 10.0], [40.0, 40.0, 40.0])
    assert law.time(140, of_a_run=False).value == pytest.approx(10.0, rel=0.005)
    assert law.energy(220, of_a_run=False).value == pytest.approx(400.0, rel=0.01)


def test_time_never_falls_and_power_never_rises_as_the_cap_is_lowered():
    rng = np.random.default_rng(3)
    time, power = response(rng.normal(size=(300, 8)), np.linspace(0.3, 1.0, 30))
    assert (np.diff(time, axis=1) <= 1e-12).all()
    assert (np.diff(power, axis=1) >= -1e-9).all()


def test_intervals_cover_hidden_values_nine_times_in_ten():
    rng = np.random.default_rng(5)
    hits = []
    for seed in range(60):
        times, powers = curve(rng.normal(size=len(PRIOR)), noise=0.012, seed=seed)
        law = fit_caps(CAPS[[0, 3, 6]], times[[0, 3, 6]], powers[[0, 3, 6]])
        for i in (1, 2, 4, 5):
            interval = law.time(CAPS[i])
            hits.append(interval.low <= times[i] <= interval.high)
    assert 0.83 < np.mean(hits) < 0.97


def test_the_recommended_cap_saves_energy_within_the_bound():
    times, powers = curve([-1, 0.8, 0, 0, 0, 0, 0, 0])
    probes = [0, 3, 6]
    law = fit_caps(CAPS[probes], times[probes], powers[probes])
    measured = {CAPS[i]: (times[i], times[i] * powers[i]) for i in probes}
    chosen = choose_cap(evaluate_caps(law, CAPS.tolist(), 0.1, measured))
    i = CAPS.tolist().index(chosen.cap_w)
    assert times[i] / times[-1] - 1 <= 0.1
    assert chosen.energy.value < 0.97
    assert choose_cap(evaluate_caps(law, CAPS.tolist(), 0.0, measured)).cap_w == 250


def test_without_powers_the_law_predicts_times_and_refuses_energy():
    times, _ = curve([-1, 0.8, 0, 0, 0, 0, 0, 0])
    law = fit_caps(CAPS[[0, 3, 6]], times[[0, 3, 6]])
    assert law.time(150).value == pytest.approx(times[2], rel=0.1)
    with pytest.raises(FitError, match="cannot predict energy"):
        law.energy(150)


@pytest.mark.parametrize(
    ("caps", "times", "message"),
    [
        ([200, 250], [1, 1], "three caps; there are 2"),
        ([200, 200, 200], [1, 1, 1], "three caps; there are 1"),
        ([100, 200, 250], [1, -1, 1], "a time is -1"),
        ([100, math.nan, 250], [1, 1, 1], "a cap is nan"),
        ([100, 200, 250], [1, 1], "differ in length"),
        ([], [], "there are 0"),
    ],
)
def test_points_without_a_law_are_refused_in_one_line(caps, times, message):
    with pytest.raises(FitError, match=message):
        fit_caps(caps, times)


@given(st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 3), max_size=6))
def test_any_measurements_give_finite_times_or_a_one_line_error(points):
    try:
        law = fit_caps(*np.array(points, float).reshape(-1, 3).T)
    except FitError as error:
        line = str(error)
    else:
        line, found = "", law.time(law.scale_w)
        assert 0 < found.low <= found.value <= found.high
    assert "\n" not in line


def test_published_curves_of_p100_are_predicted_from_three_caps(published):
    rows = {}
    with open(published / "zeus" / "summary_power_p100.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["network"] == "resnet50":
                point = [float(row[n]) for n in ("power_limit", "time_per_epoch", "average_power")]
                rows.setdefault((row["batch_size"], row["optimizer"]), []).append(point)
    errors = []
    for points in rows.values():
        caps, times, powers = np.array(sorted(points)).T
        law = fit_caps(caps[[0, 2, 5]], times[[0, 2, 5]], powers[[0, 2, 5]])
        errors += list(np.abs(np.exp(law.log_time(caps)[0]) / times - 1)[[1, 3, 4]])
    assert np.mean(errors) < 0.012

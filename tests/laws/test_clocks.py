"""Time and energy against a clock limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import FitError
from wattlaw.laws.clocks import fit_clocks, response

CLOCKS = np.array([600.0, 800, 1000, 1200, 1400])


def job(z=(0.0, 0.0, 0.0, 0.0)):
    """Return times, s, and powers, W, of a job with standardised parameters z."""
    time, power = response(np.array([[*z, 0.0, np.log(250.0)]]), CLOCKS / 1400)
    return np.exp(time[0]), np.exp(power[0])


def test_three_measured_clocks_predict_those_between():
    times, powers = job((-0.5, 0.3, 0.2, 0.0))
    law = fit_clocks(CLOCKS[[0, 2, 4]], times[[0, 2, 4]], powers[[0, 2, 4]])
    for i in (1, 3):
        assert law.time(CLOCKS[i]).value == pytest.approx(times[i], rel=0.01)
        energy = law.energy(CLOCKS[i])
        assert energy.value == pytest.approx(times[i] * powers[i], rel=0.03)
        assert energy.low < times[i] * powers[i] < energy.high


def test_a_job_that_waits_for_memory_does_not_slow_with_the_clock():
    law = fit_clocks([600, 1000, 1400], [10.0, 10.0, 10.0], [100.0, 150.0, 220.0])
    assert law.time(800, of_a_run=False).value == pytest.approx(10.0, rel=0.03)
    assert law.parameters()["waiting_share"].value > 0.8


def test_time_falls_and_power_rises_with_the_clock():
    z = np.column_stack([np.random.default_rng(1).normal(size=(200, 4)), np.zeros((200, 2))])
    time, power = response(z, np.linspace(0.2, 1.0, 20))
    assert (np.diff(time, axis=1) <= 0).all()
    assert (np.diff(power, axis=1) >= -1e-9).all()


@given(st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 3), max_size=5))
def test_any_measurements_give_finite_times_or_a_one_line_error(points):
    try:
        law = fit_clocks(*np.array(points, float).reshape(-1, 3).T)
    except FitError as error:
        line = str(error)
    else:
        line, found = "", law.time(law.scale_mhz)
        assert 0 < found.low <= found.value <= found.high
    assert "\n" not in line

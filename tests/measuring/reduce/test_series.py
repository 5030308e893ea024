"""Totals between two times, on columns with known totals."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.measuring.files.host_files import TelemetryColumn
from wattlaw.measuring.reduce.series import (
    counter_total,
    growth,
    highest_sum,
    integral,
    mean,
    peak,
)


def column(times: list[float], values: list[float]) -> TelemetryColumn:
    made = TelemetryColumn()
    made.times, made.values = array("d", times), array("d", values)
    return made


def sampled(energy, hz: float, update_s: float, until_s: float) -> TelemetryColumn:
    """Return a counter of energy(t), updated every update_s and read hz times per second."""
    times = [i / hz for i in range(int(until_s * hz) + 1)]
    return column(times, [energy(math.floor(t / update_s + 1e-9) * update_s) for t in times])


@given(st.floats(0.02, 1.0), st.floats(2, 50), st.floats(1.0, 5.0), st.floats(12, 25))
def test_a_steady_load_is_exact_whatever_the_update_period(
    update: float, hz: float, start: float, end: float
) -> None:
    found = counter_total(sampled(lambda t: 250 * t, hz, update, 30), start, end)
    # at each edge, a reading is at most one update period or one sampling period old
    assert found.value == pytest.approx(250 * (end - start), abs=250 * 1.01 * max(update, 1 / hz))


def test_energy_of_a_burst_is_not_spread_over_idle_time() -> None:
    burst = column(
        [i / 10 for i in range(201)], [100.0 * max(0.0, min(i / 10 - 10, 2)) for i in range(201)]
    )
    assert counter_total(burst, 2, 9).value == pytest.approx(0, abs=1e-9)
    assert counter_total(burst, 2, 18).value == pytest.approx(200)


def test_a_fall_of_the_counter_is_bridged_and_counted() -> None:
    values = [10.0 * i if i < 500 else 10.0 * (i - 500) for i in range(1001)]
    found = counter_total(column([i / 10 for i in range(1001)], values), 10, 90)
    assert found.value == pytest.approx(8000, rel=1e-3)
    assert found.steps_back == 1


def test_a_fall_of_the_counter_over_much_of_the_window_gives_no_energy() -> None:
    found = counter_total(column([0, 1, 2, 10, 11], [0, 10, 20, 3, 13]), 0, 11)
    assert (found.value, found.why) == (None, "its counter went backwards")


def test_readings_that_end_before_the_window_give_no_energy() -> None:
    steady = column([i / 10 for i in range(100)], [float(i) for i in range(100)])
    assert counter_total(steady, 1, 20).value is None
    assert integral(steady, 1, 20).value is None


def test_a_gap_in_the_readings_is_not_integrated() -> None:
    times = [i / 10 for i in range(100)] + [30 + i / 10 for i in range(100)]
    found = integral(column(times, [100.0] * 200), 0, 39)
    assert found.value is None
    assert "20." in found.why


def test_a_ramp_is_integrated_exactly_between_readings() -> None:
    ramp = column([float(i) for i in range(11)], [10.0 * i for i in range(11)])
    assert integral(ramp, 2.5, 7.5).value == pytest.approx(5 * (7.5**2 - 2.5**2))
    assert mean(ramp, 2.5, 7.5) == pytest.approx(50)
    assert peak(ramp, 2.5, 7.5) == 70
    assert growth(ramp, 2.5, 7.5) == pytest.approx(50)


def test_the_highest_power_of_two_devices_is_the_highest_at_one_time() -> None:
    one = column([0, 1, 2, 3], [100, 300, 100, 100])
    other = column([0, 1, 2, 3], [300, 100, 100, 200])
    assert highest_sum([one, other], 0, 3) == 400

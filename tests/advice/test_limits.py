"""The interpretation of a limit: per sample, or in the unit of its quantity."""

from __future__ import annotations

import pytest
from tests.factory import scaled

from wattlaw.advice.advise import advise
from wattlaw.advice.pareto import pareto
from wattlaw.advice.request import parse_limits, parse_request
from wattlaw.analysis.prices import NO_PRICES
from wattlaw.core.errors import UnknownNameError, UsageError

SIZES = {1: 1.0, 2: 0.6, 4: 0.4}


def constraint(name: str, value: float, samples: float | None = None):
    (found,) = parse_request(None, None, 0.5, {name: value}, samples, NO_PRICES).constraints
    return found


@pytest.mark.parametrize(
    ("name", "value", "per_sample", "si_value"),
    [
        ("device_hours", 2.0, "device_time_per_sample_s", 72.0),
        ("elapsed_s", 500.0, "time_per_sample_s", 5.0),
        ("gpu_energy_j", 300.0, "gpu_energy_per_sample_j", 3.0),
        ("cpu_energy_j", 300.0, "cpu_energy_per_sample_j", 3.0),
        ("node_energy_j", 300.0, "node_energy_per_sample_j", 3.0),
        ("energy_j", 300.0, "energy_per_sample_j", 3.0),
    ],
)
def test_a_limit_on_a_total_is_converted_to_one_per_sample(name, value, per_sample, si_value):
    found = constraint(name, value, samples=100)
    assert found.quantity == per_sample
    assert found.limit.value == pytest.approx(si_value)
    with pytest.raises(UsageError, match=f"{name}, a total, needs .* or limit {per_sample}"):
        constraint(name, value)


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("time", "time_per_sample_s"),
        ("device_time", "device_time_per_sample_s"),
        ("energy", "energy_per_sample_j"),
        ("step_time_s", "step_time_s"),
        ("gpu_memory_peak_bytes", "gpu_memory_peak_bytes"),
    ],
)
def test_other_limits_have_the_unit_of_their_quantity(name, quantity):
    found = constraint(name, 0.5)
    assert (found.quantity, found.limit.value) == (quantity, 0.5)
    with pytest.raises(UsageError, match="samples is used only by a limit on a total"):
        constraint(name, 0.5, samples=100)


def test_the_answer_shows_the_interpretation_of_a_limit():
    (found,) = advise(scaled(SIZES), "time", limits={"device_hours": 1.3}, samples=3600)
    assert found.setting.devices == 2
    expected = "device_time_per_sample_s ≤ 1.3 s (device_hours ≤ 1.3 h for 3600 samples)"
    assert f"Limit: {expected}." in found.words


def test_a_limit_on_a_rate_is_a_minimum():
    (found,) = advise(scaled(SIZES), "device_time", limits={"samples_per_s": 2.0})
    assert found.setting.devices == 4
    assert "Limit: samples_per_s ≥ 2/s." in found.words


def test_of_several_limits_on_one_quantity_the_tightest_applies():
    limits = {"device_hours": 1.3, "device_time": 1.1, "device_time_per_sample_s": 1.7}
    found = parse_request(None, None, 0.5, limits, 3600, NO_PRICES).limit_values()
    assert found == {"device_time_per_sample_s": 1.1}


def test_limits_are_read_with_units():
    assert parse_limits(["time=20 ms", "gpu_energy_j=3 kWh"]) == {
        "time_per_sample_s": 0.02,
        "gpu_energy_j": 1.08e7,
    }
    with pytest.raises(UsageError, match="kg is not a unit of it; valid: s, ms"):
        parse_limits(["time=20 kg"])
    with pytest.raises(UnknownNameError, match="unknown quantity 'tyme'"):
        parse_limits(["tyme=1"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda runs: advise(runs, minimise="samples_per_s"),
        lambda runs: pareto(runs, x="samples_per_s"),
    ],
)
def test_a_quantity_of_which_more_is_better_is_not_minimised(ask):
    with pytest.raises(UsageError, match="more samples_per_s is better"):
        ask(scaled(SIZES))

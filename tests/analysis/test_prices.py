"""Cost of settings at given prices, and advice that minimises it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.factory import law_run as run

from wattlaw.advice.advise import advise
from wattlaw.advice.pareto import pareto_points
from wattlaw.analysis.cap_curves import cap_curve
from wattlaw.analysis.prices import COST, Prices, priced
from wattlaw.core.errors import FitError, UsageError
from wattlaw.laws.caps import response


def sized(energies=(100.0, 130.0, 200.0)):
    """Return runs on 1, 2 and 4 devices, faster and more expensive with each."""
    times = {1: 1.0, 2: 0.55, 4: 0.35}
    return [
        run(t * (1 + 0.002 * r), n, r, energy=e)
        for (n, t), e in zip(times.items(), energies, strict=True)
        for r in range(3)
    ]


def capped():
    """Return runs of one device at five caps."""
    time, power = response(
        np.array([[-1, 0.8, 0, 0, 0, 0, 0, 0]]), np.array([0.4, 0.55, 0.7, 0.85, 1.0])
    )
    rows = zip(
        (100.0, 137.5, 175.0, 212.5, 250.0), np.exp(time[0]), 250 * np.exp(power[0]), strict=True
    )
    return [run(float(t), 1, 0, energy=float(t * p), power_cap_w=cap) for cap, t, p in rows]


def test_a_cost_is_device_hours_plus_measured_energy_times_pue():
    one = run(0.5, 4, energy=3600.0)
    reading = priced(one, COST, Prices(per_device_hour=1.8, per_kwh=0.2, pue=1.5))
    assert reading.value == pytest.approx(4 * 0.5 * 1.8 / 3600 + 0.001 * 0.2 * 1.5)


def test_the_cheapest_setting_follows_the_prices():
    by_time, by_energy = Prices(per_device_hour=2.0), Prices(per_kwh=0.3, pue=1.2)
    runs = sized(energies=(200.0, 130.0, 150.0))
    assert advise(runs, "cost", prices=by_time)[0].setting.devices == 1
    (advice,) = advise(runs, "cost", prices=by_energy)
    assert advice.setting.devices == 2
    assert advice.predicted[COST].value == pytest.approx(1.2 * 0.3 * 130 / 3.6e6, rel=0.01)


def test_a_limit_on_the_cost_bounds_the_fastest_setting():
    prices = Prices(per_device_hour=3600.0)
    (advice,) = advise(sized(), "time", limits={"cost": 1.2}, prices=prices)
    assert advice.setting.devices == 2
    with pytest.raises(FitError, match="no setting satisfies cost_per_sample"):
        advise(sized(), "time", limits={"cost": 0.5}, prices=prices)


def test_unmeasured_caps_are_compared_by_cost():
    runs = capped()
    dear_energy = advise(runs, "cost", unmeasured=True, prices=Prices(0.01, 1.0))[0]
    dear_time = advise(runs, "cost", unmeasured=True, prices=Prices(10.0, 0.01))[0]
    assert dear_energy.setting.power_cap_w < 200 < dear_time.setting.power_cap_w
    assert dear_energy.gain.low <= dear_energy.gain.value <= dear_energy.gain.high
    assert "less cost" in dear_energy.words
    (bounded,) = advise(runs, "energy", unmeasured=True, limits={"time": 1.05 * 1 / 1})
    assert bounded.predicted["time_per_sample_s"].value <= 1.05


def test_the_front_of_time_and_cost_has_the_undominated_settings():
    runs = [*sized(), *[run(2.0, 8, r, energy=500.0) for r in range(3)]]
    found = pareto_points(runs, "time", "cost", Prices(per_device_hour=1.0))
    assert [p.setting.devices for p in found] == [4, 2, 1]
    assert [p.n for p in found] == [3, 3, 3]
    assert found[0].values[COST] > found[1].values[COST] > found[2].values[COST]


def test_energy_with_a_price_must_have_been_measured():
    with pytest.raises(FitError, match="is an estimate"):
        advise(
            [run(1.0, n, energy=100.0, estimate=True) for n in (1, 2)],
            "cost",
            prices=Prices(per_kwh=0.3),
        )


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (Prices(), "a cost needs a price"),
        (Prices(-1.0), "price per device-hour is -1"),
        (Prices(1.0, float("nan")), "price per kWh is nan"),
        (Prices(0.0, 0.3, 0.5), "PUE is 0.5"),
        (Prices(1.0, 0.0, 1.3), "give a price per kWh with it"),
    ],
)
def test_invalid_prices_are_refused(prices, message):
    with pytest.raises(UsageError, match=message):
        advise(sized(), "cost", prices=prices)


def test_a_front_has_one_workload_and_comparable_energies():
    runs = [
        run(t, n, energy=e, workload=w)
        for w in ("bert", "schnet")
        for n, t, e in ((1, 1.0, 1.0), (2, 0.6, 1.2))
    ]
    found = pareto_points(runs, "time", "energy")
    assert [(p.group["workload"], p.words) for p in found] == [
        (w, words) for w in ("bert", "schnet") for words in ("2 processes", "1 process")
    ]
    guessed = [*runs[:2], *(run(t, n, energy=1.0, estimate=True) for n, t in ((1, 1.0), (2, 0.6)))]
    assert {p.setting.workload for p in pareto_points(guessed, "time", "energy")} == {"bert"}
    with pytest.raises(FitError, match="every energy_per_sample_j is an estimate"):
        pareto_points(guessed[2:], "time", "energy")


@pytest.mark.parametrize(
    ("prices", "fault"),
    [(Prices(1e308), "price per device-hour is 1e\\+308; give a number from 0 to")],
)
def test_an_unrealistic_price_is_refused(prices, fault):
    with pytest.raises(UsageError, match=fault):
        advise([run(1.0)], "cost", prices=prices)


def test_impossible_readings_are_not_points_of_a_cap_curve():
    runs = [
        run(1.0 + 10 / cap, energy=cap, power_cap_w=cap) for cap in (100.0, 150.0, 200.0, 250.0)
    ]
    for bad in (run(1.0, energy=-1.0, power_cap_w=300.0), run(-1.0, energy=1.0, power_cap_w=300.0)):
        curve = cap_curve([*runs, bad])
        assert curve is not None
        assert curve.caps.tolist() == [100.0, 150.0, 200.0, 250.0]


def test_an_impossible_time_or_energy_has_no_cost():
    for bad in (run(1e200), run(1.0, energy=-1.0), run(1.0, energy=1e200)):
        assert priced(bad, COST, Prices(1.0, 1.0)).value is None

"""Speedups, power laws and advice from runs."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factory import law_run as run
from tests.factory import power_law, scaled

from wattlaw.advice.advise import advise
from wattlaw.advice.pareto import pareto
from wattlaw.analysis.fit import fit, fit_groups
from wattlaw.analysis.groups import group_title
from wattlaw.core.errors import FitError, UnknownNameError, UsageError, WattlawError
from wattlaw.core.reading import Note, Reading
from wattlaw.laws.power import fit_power


def test_two_sizes_give_a_speedup_per_sample_with_an_interval():
    (found,) = fit(scaled({1: 1.0, 2: 0.6}, repeats=5), target="step_time_s")
    speedup = found.parameters["speedup_2"]
    assert found.law == "speedup"
    assert speedup.low < 1 / 0.6 < speedup.high
    assert speedup.high / speedup.low < 1.2


def test_a_speedup_without_repeats_has_a_warning_and_no_interval():
    (found,) = fit(scaled({1: 1.0, 2: 0.6}, repeats=1))
    assert found.parameters["speedup_2"].low is None
    assert [n.name for n in found.warnings] == ["few_repeats"]


def test_three_sizes_give_back_the_exponent_of_60_times_at_416_devices():
    exact = power_law(1.0, math.log(60) / math.log(416), [1, 8, 64, 416])
    (found,) = fit(scaled(exact, noise=0))
    assert found.parameters["beta"].value == pytest.approx(0.679, abs=5e-4)
    (from_two,) = fit(scaled(power_law(1.0, math.log(60) / math.log(208), [2, 16, 416]), noise=0))
    assert from_two.parameters["beta"].value == pytest.approx(0.767, abs=5e-4)


@pytest.mark.parametrize(
    ("sizes", "repeats"), [([1, 2, 4], 3), ([1, 2, 4, 8, 16], 1), ([2, 8, 64, 416], 2)]
)
def test_nine_of_ten_intervals_cover_the_true_exponent(sizes, repeats):
    rng = np.random.default_rng(7)
    x = np.repeat(np.array(sizes, float), repeats)
    hits = 0
    for _ in range(600):
        beta = fit_power(x, 3.0 * x**-0.8 * np.exp(rng.normal(0, 0.05, len(x)))).parameters()[
            "beta"
        ]
        hits += beta.low <= 0.8 <= beta.high
    assert 0.86 < hits / 600 < 0.945


def test_one_outlier_does_not_change_the_law():
    runs = scaled(power_law(1.0, 0.9, [1, 2, 4, 8]), repeats=5)
    (found,) = fit([*runs, run(5.0, 8, 9)], law="power")
    assert found.parameters["beta"].value == pytest.approx(0.9, abs=0.05)
    assert fit([*runs, run(5.0, 8, 9)])[0].held_out_error < 0.05


def test_the_law_with_the_least_held_out_error_is_chosen():
    (power,) = fit(scaled(power_law(1.0, 0.8, [1, 2, 4, 8, 16]), noise=0.005))
    (amdahl,) = fit(scaled({n: (1 + 0.05 * (n - 1)) / n for n in (1, 2, 4, 8, 16)}, noise=0.005))
    assert power.law == "power"
    assert amdahl.law in ("amdahl", "usl")
    assert amdahl.parameters["sigma"].low < 0.05 < amdahl.parameters["sigma"].high


def test_alpha_beta_takes_runs_of_several_batches_as_one_family():
    runs = scaled({1: 1.0, 2: 0.52}, batch_per_device=16) + scaled(
        {4: 0.27, 8: 0.14}, batch_per_device=32
    )
    (found,) = fit(runs, law="alpha-beta")
    assert found.sizes == 4
    assert found.parameters["sample_s"].value == pytest.approx(1.0, rel=0.1)


def test_runs_are_grouped_by_everything_but_devices_and_seed():
    runs = scaled({1: 1.0, 2: 0.6}, batch_per_device=16) + scaled(
        {1: 0.8, 2: 0.5}, batch_per_device=32, seed=3
    )
    found = fit(runs)
    assert [f.group for f in found] == [
        {"workload": "schnet", "batch_per_device": "16"},
        {"workload": "schnet", "batch_per_device": "32"},
    ]


def test_no_law_is_fitted_to_estimated_energies():
    runs = [run(1.0 / n, n, r, energy=2.0, estimate=True) for n in (1, 2, 4) for r in range(3)]
    with pytest.raises(FitError, match="only repeat the time"):
        fit(runs, target="gpu_energy_per_sample_j")


def test_warnings_of_runs_and_failed_runs_are_shown_with_the_fit():
    unstable = Note("unstable_steps", "the step time varies by 20 %")
    runs = [run(1.0 / n, n, r, warnings=(unstable,)) for n in (1, 2) for r in range(3)]
    fits, notes = fit_groups([*runs, run(1.0, 2, 7, state="failed")])
    assert unstable in fits[0].warnings
    assert [n.name for n in notes] == ["failed_runs"]


def test_advice_saves_energy_within_the_bound_with_a_stated_probability():
    runs = []
    rng = np.random.default_rng(1)
    for cap, time, joules in [(250, 1.0, 10.0), (200, 1.02, 8.5), (150, 1.2, 7.0)]:
        for r in range(4):
            t, e = (float(np.exp(rng.normal(0, 0.005))) for _ in range(2))
            runs.append(run(time * t, 1, r, energy=joules * e, power_cap_w=float(cap)))
    (found,) = advise(runs, max_slowdown=0.05)
    assert (found.setting.power_cap_w, found.baseline.power_cap_w) == (200, 250)
    assert found.gain.low < 0.15 < found.gain.high
    assert found.probability_bound_holds > 0.95
    assert "200 W" in found.words
    assert advise(runs, minimise="gpu_energy_j", max_slowdown=0.5)[0].setting.power_cap_w == 150


def test_a_limit_on_another_quantity_is_kept_or_reported_as_impossible():
    runs = scaled({1: 1.0, 2: 0.6, 4: 0.4})
    (found,) = advise(runs, minimise="time", limits={"device_time_per_sample_s": 1.3})
    assert found.setting.devices == 2
    with pytest.raises(FitError, match="no setting satisfies"):
        advise(runs, limits={"device_time_per_sample_s": 0.1})


def test_without_measured_energy_advice_minimises_device_time():
    (found,) = advise(scaled({1: 1.0, 2: 0.6}))
    assert found.minimise == "device_time_per_sample_s"
    assert found.setting.devices == 1
    with pytest.raises(FitError, match="estimate"):
        advise(
            [run(1.0, 1, r, energy=2.0, estimate=True) for r in range(3)], minimise="gpu_energy_j"
        )


def test_a_different_global_batch_has_a_warning_on_optimisation():
    (found,) = advise(scaled({1: 1.0, 2: 0.6}))
    assert "changes the optimisation" in found.words


def test_no_setting_on_the_front_is_dominated():
    runs = scaled({1: 1.0, 2: 0.6, 4: 0.59, 8: 0.65}, noise=0.0)
    assert [rs[0].setting.devices for rs in pareto(runs)] == [4, 2, 1]


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 4, 8]), st.floats(allow_nan=True, allow_infinity=True)),
        max_size=8,
    )
)
def test_any_points_give_finite_intervals_or_a_one_line_error(points):
    runs = [run(1.0, n, i) for i, (n, _) in enumerate(points)]
    runs = [_with_time(r, t) for r, (_, t) in zip(runs, points, strict=True)]
    try:
        fits = fit(runs)
    except WattlawError as error:
        line = str(error)
        fits = []
    else:
        line = ""
    assert "\n" not in line
    assert bool(line) != bool(fits)
    for found in fits:
        for value in found.parameters.values():
            assert math.isfinite(value.value)
            assert value.low is None or value.low <= value.value <= value.high


def _with_time(made, time):
    return msgspec.structs.replace(
        made, quantities={"samples_per_s": Reading(1 / time if time else 0.0)}
    )


def test_wrong_requests_list_the_valid_values():
    runs = scaled({1: 1.0, 2: 0.6})
    with pytest.raises(UnknownNameError, match="did you mean"):
        fit(runs, target="stepp_time_s")
    with pytest.raises(UsageError, match="no run has a number for 'powr_cap_w'"):
        fit(runs, over="powr_cap_w")
    with pytest.raises(UnknownNameError, match="law"):
        fit(runs, law="powr")
    with pytest.raises(UsageError, match="max_slowdown"):
        advise(runs, max_slowdown=-1)
    with pytest.raises(FitError, match="one value of devices"):
        fit(scaled({1: 1.0}))
    with pytest.raises(FitError, match="no run"):
        fit([])


def test_other_differences_between_runs_are_reported_once():
    with pytest.raises(FitError) as refused:
        fit([run(0.1, repeat=r, batch_per_device=batch) for batch in (8, 16, 32) for r in range(2)])
    assert str(refused.value).count("one value of devices") == 1
    assert "(and 2 more similar groups)" in str(refused.value)
    assert "(--over batch_per_device)" in str(refused.value)


def test_a_speedup_has_a_warning_if_its_whole_interval_exceeds_the_ideal():
    names = [[n.name for n in fit(scaled({1: 1.0, 2: t}))[0].warnings] for t in (0.2, 0.45, 0.6)]
    assert ["faster_than_ideal" in n for n in names] == [True, True, False]
    (note,) = [
        n
        for n in fit(scaled({2: 1.0, 4: 0.2}, noise=0))[0].warnings
        if n.name == "faster_than_ideal"
    ]
    assert note.message == "4 devices are 5× [5, 5] as fast as 2, more than the ideal 2×"


def test_groups_with_and_without_a_cap_are_both_labelled():
    times = {1: 1.0, 2: 0.6}
    found = fit(scaled(times) + scaled(times, power_cap_w=150.0))
    assert [group_title(f.group) for f in found] == ["schnet, no cap", "schnet, power_cap_w 150"]


def test_a_law_of_whole_runs_is_plotted_in_their_units():
    runs = []
    for cap, time, watts in [(250, 1.0, 180.0), (200, 1.01, 178.0), (150, 1.1, 145.0)]:
        runs += [run(time, 1, r, energy=watts * time, power_cap_w=float(cap)) for r in range(2)]
    (found,) = fit(runs, target="gpu_energy_j", over="power_cap_w")
    drawn = {x: value for x, value, _, _ in found.curve}
    for x, value, _, _ in found.points:
        assert drawn[x] == pytest.approx(value, rel=0.05)

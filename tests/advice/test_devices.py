"""Advice on device counts that were not run, and on what to run next."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factory import law_run as run
from tests.factory import scaled

from wattlaw.advice.advise import advise
from wattlaw.advice.device_count_candidates import (
    candidate_batches,
    device_candidates,
    device_counts,
)
from wattlaw.analysis.predict import PredictionRequest, predict
from wattlaw.analysis.prices import Prices
from wattlaw.analysis.run_laws import fit_scaling_to_runs
from wattlaw.cli.main import main
from wattlaw.core.errors import FitError
from wattlaw.core.reading import measured
from wattlaw.core.run_folder import write_run
from wattlaw.laws.averaging import DRAWS, forecast
from wattlaw.laws.caps import response
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.value_of_information import costs_with_fallback, expected_savings


def shared(n: float) -> float:
    """Return the time per sample on n devices, s, with a serial share of 5 % and some crosstalk."""
    return (1 + 0.05 * (n - 1) + 0.001 * n * (n - 1)) / n


def tried(sizes=(1, 2, 8), noise=0.01, **setting):
    return scaled({n: shared(n) for n in sizes}, noise=noise, **setting)


def metered(sizes=(1, 2, 8)):
    return [
        run(shared(n) * (1 + 0.01 * r), n, r, energy=100 * n * shared(n))
        for n in sizes
        for r in range(2)
    ]


def test_an_unmeasured_number_of_devices_is_recommended_within_a_limit_on_device_hours():
    # 1.2 device-hours for 3600 samples are 1.2 device-seconds per sample
    request = {"limits": {"device_hours": 1.2}, "samples": 3600}
    (advice,) = advise(tried(), "time", **request, unmeasured=True)
    assert advice.setting.devices == 4  # 1.162 device-seconds; 6 devices take 1.28
    assert not advice.is_measured
    assert advice.extrapolated == ""
    assert (
        advice.predicted["time_per_sample_s"].low
        < shared(4)
        < advice.predicted["time_per_sample_s"].high
    )
    assert advice.probability_bound_holds > 0.5
    assert "take 4 processes (not run)" in advice.words
    (measured,) = advise(tried(), "time", **request)
    assert measured.setting.devices == 2


def test_an_extrapolated_number_is_marked_and_an_unpredictable_one_is_not_recommended():
    runs = tried((1, 2, 4), noise=0.002)
    (advice,) = advise(runs, "time", unmeasured=True)
    assert advice.setting.devices > 4
    assert "extrapolated" in advice.words
    assert advice.extrapolated
    time = advice.predicted["time_per_sample_s"]
    assert time.high / time.low < 2
    with pytest.raises(FitError, match="spans a factor of"):
        predict(runs, PredictionRequest(devices=64 * advice.setting.devices))


def test_a_higher_confidence_takes_more_devices_to_meet_a_deadline():
    bold, careful = (
        advise(
            tried((1, 2, 4, 8)),
            "device_hours",
            limits={"time": 0.15},
            confidence=c,
            unmeasured=True,
        )[0]
        for c in (0.5, 0.95)
    )
    assert careful.setting.devices >= bold.setting.devices > 8
    assert careful.probability_bound_holds >= 0.95
    with pytest.raises(
        FitError, match=r"no setting satisfies time_per_sample_s ≤ 1 ms with probability 0.5"
    ):
        advise(tried(), "device_hours", limits={"time": 0.001}, unmeasured=True)


def test_energy_and_cost_of_unmeasured_numbers_follow_from_the_power_of_a_device():
    (advice,) = advise(metered(), "energy", max_slowdown=0.5, unmeasured=True)
    assert advice.minimise == "gpu_energy_per_sample_j"
    assert advice.setting.devices == 6
    energy = advice.predicted["gpu_energy_per_sample_j"]
    assert energy.low < 600 * shared(6) < energy.high
    (cost,) = advise(
        metered(), "cost", limits={"time": 0.3}, unmeasured=True, prices=Prices(2.0, 0.3, 1.2)
    )
    value = (2.0 * 4 * shared(4) + 1.2 * 0.3 * 400 * shared(4) / 1000) / 3600
    assert cost.predicted["cost_per_sample"].value == pytest.approx(value, rel=0.05)


def test_the_ratio_of_two_options_is_more_certain_than_each():
    options = {o.devices: o for o in device_candidates(tried((1, 2)))}
    near, far = options[16].of_mean, options[32].of_mean
    assert len(near) == DRAWS
    assert np.std(far - near) < 0.7 * np.std(far)


def test_a_constant_global_batch_is_kept():
    runs = [run(shared(n), n, r, batch_per_device=64 // n) for n in (1, 2, 8) for r in range(2)]
    found = {o.devices: o.run.setting.batch_per_device for o in device_candidates(runs)}
    assert found[4] == 16
    assert 3 not in found
    assert all(n * batch == 64 for n, batch in found.items())


@given(
    st.lists(st.tuples(st.integers(1, 512), st.integers(1, 256)), min_size=1, max_size=8),
    st.integers(1, 16),
)
def test_candidates_are_whole_nodes_and_measured_batches(seen, per_node):
    found = device_counts(per_node, 1024)
    assert found == sorted(set(found))
    assert all(1 <= n <= 1024 and (n <= per_node or n % per_node == 0) for n in found)
    totals = {n * b for n, b in seen}
    for n in found:
        for batch in candidate_batches(n, sorted(set(seen))):
            assert batch in {b for _, b in seen} or (len(totals) == 1 and n * batch in totals)


def test_the_value_of_a_run_is_the_expected_saving_of_the_choice_after_it():
    rng = np.random.default_rng(0)
    doubtful = rng.normal(1.0, 0.2, 20_000)
    costs = np.array([np.full(20_000, 1.0), doubtful])
    shown = [[doubtful], [rng.normal(size=20_000)]]
    savings, nothing = expected_savings(costs, [shown[1], shown[0]], np.array([True, True]))[::-1]
    # E[max(1 − c, 0)] of a normal is σ/√(2π)
    assert savings == pytest.approx(0.2 / np.sqrt(2 * np.pi), rel=0.05)
    assert nothing < 0.002
    flat = np.array([np.full(100, 1.0), np.full(100, 1.5)])
    assert expected_savings(
        flat, [[rng.normal(size=100)]] * 2, np.array([True, True])
    ) == pytest.approx([0, 0], abs=1e-12)


def test_the_value_of_an_option_that_needs_a_run_comes_only_from_that_run():
    rng = np.random.default_rng(0)
    doubtful = rng.normal(0.8, 0.2, 20_000)
    costs = np.array([np.full(20_000, 1.0), doubtful])
    shown = [[doubtful], [doubtful]]
    other, own = expected_savings(costs, shown, np.array([True, False]))
    assert other == pytest.approx(0, abs=1e-9)
    # E[max(1 − c, 0)] with c normal: σφ(1) + σΦ(1)
    assert own == pytest.approx(0.2 * (0.2420 + 0.8413), rel=0.03)


def test_a_run_of_a_setting_that_always_costs_more_has_no_value():
    rng = np.random.default_rng(0)
    costs = np.abs(rng.normal(1.0, 0.1, (3, 1000)))
    shown = [[c] for c in costs]
    savings = expected_savings(costs, shown, np.array([True] * 3))
    more = np.concatenate([costs, costs + 1e-9])
    assert expected_savings(more, [*shown, *shown], np.array([True] * 6))[:3] == pytest.approx(
        savings
    )


def test_a_broken_bound_costs_the_fallback_setting():
    found = costs_with_fallback(
        np.array([[2.0, 2.0], [1.0, 1.0]]), np.array([[True, True], [True, False]]), 0
    )
    assert found.tolist() == [[2.0, 2.0], [1.0, 2.0]]


def test_the_next_run_is_named_only_if_it_saves_enough():
    (open_one,) = advise(tried((1, 2)), "time", limits={"device_time": 1.3}, unmeasured=True)
    assert open_one.next_run is not None
    assert open_one.next_run_saves > 0.02
    assert "Next run: " in open_one.words
    (settled,) = advise(tried(), unmeasured=True)
    assert settled.next_run is None
    assert settled.next_run_saves < 0.01
    assert "No further run is worthwhile" in settled.words


def test_caps_of_several_devices_are_compared_by_the_energy_of_all():
    time, power = response(np.array([[-1, 0.8, 0, 0, 0, 0, 0, 0]]), np.array([0.4, 0.7, 1.0]))
    rows = list(zip((100.0, 175.0, 250.0), np.exp(time[0]), 250 * np.exp(power[0]), strict=True))
    gains = []
    for n in (1, 4):
        runs = [run(float(t), n, 0, energy=float(n * t * p), power_cap_w=cap) for cap, t, p in rows]
        gains.append(advise(runs, max_slowdown=0.2, unmeasured=True)[0].gain.value)
    assert gains[1] == pytest.approx(gains[0])


@pytest.mark.parametrize("seed", range(8))
def test_a_prediction_of_many_forms_has_as_many_draws_as_a_cap_law(seed):
    law, _, rates = fit_scaling_to_runs(
        scaled({n: shared(n) for n in (1, 2, 4)}, noise=0.03, seed=seed)
    )
    (found,) = forecast(law, np.array(rates), Points.of([8], [256]))
    assert len(found.shares) > 2
    assert len(found.draws) == len(found.of_law) == DRAWS


def test_without_a_law_advice_recommends_a_measured_setting_with_the_reason():
    (advice,) = advise(scaled({2: 1.0}), unmeasured=True)
    assert "only_settings_run" in {n.name for n in advice.warnings}
    with_memory = [
        msgspec.structs.replace(
            run, quantities={**run.quantities, "memory_peak_bytes": measured(1e9, "sampled")}
        )
        for run in tried()
    ]
    (advice,) = advise(with_memory, "memory_peak_bytes", unmeasured=True)
    assert advice.is_measured


def test_the_command_gives_a_sentence_and_json(tmp_path, capsysbinary):
    for index, made in enumerate(tried()):
        write_run(tmp_path / "runs" / "demo" / f"t{index}", made)
    words = [
        "advise",
        str(tmp_path / "runs"),
        "--unmeasured",
        "--minimise",
        "time",
        "--limit",
        "device_time=1.2 s",
    ]
    for extra in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            main([*words, *extra])
        assert stop.value.code == 0
    first, _, rest = capsysbinary.readouterr().out.decode().partition("\n")
    assert first.startswith("schnet: take 4 processes (not run). 8 processes, ")
    (item,) = json.loads(rest)["items"]
    assert item["setting"]["devices_per_node"] == 4
    assert {"next_run", "next_run_saves", "extrapolated", "is_measured"} <= set(item)


def test_repeats_that_differ_a_millionfold_give_no_advice():
    runs = [
        run(t, n, r)
        for n, times in ((1, (1.0, 1e-6, 1e6)), (2, (0.5, 1e6, 1e-6)))
        for r, t in enumerate(times)
    ]
    with pytest.raises(FitError, match="some runs are outliers"):
        advise(runs, "device_hours", unmeasured=True, limits={"time": 1e3})

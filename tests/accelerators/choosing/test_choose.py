"""The roofline fitted to measured devices, and its ranking of candidates."""

from __future__ import annotations

import math
from statistics import median

import pytest
from tests.accelerators.runs import run_on

from wattlaw.accelerators.catalogue.catalogue import built_in
from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP
from wattlaw.accelerators.catalogue.peaks import sixteen_bit
from wattlaw.accelerators.choosing.choose import MIN_STEP_S, choose
from wattlaw.accelerators.choosing.roofline import (
    PCIE_4,
    DeviceLimits,
    MeasuredDevice,
    calibrated,
    coverage,
    fit_roofline,
    leave_one_out,
    limits_of,
    measured_devices,
)
from wattlaw.core.errors import FitError, UnknownNameError, UsageError
from wattlaw.workloads.counts import preset_counts


def test_a_roofline_is_recovered_despite_one_outlier() -> None:
    def point(k: int, slow: float = 1.0) -> MeasuredDevice:
        promise = DeviceLimits(
            1e14 * (k + 1), 1e12 * (1 + k % 3), 200.0 + 50 * (k % 4), 6.4e10 * (1 + 9 * (k % 2))
        )
        batch, devices = 16.0 * (1 + k % 5), 2 + k % 3
        peak, bandwidth, power, link = promise
        per_step = 1e10 / bandwidth + 3e9 * 2 * (devices - 1) / devices / (link / 2)
        time_s = 1e12 / peak + 2e9 / bandwidth + 0.1 / power + per_step / batch
        return MeasuredDevice(f"d{k}", slow * time_s, promise, batch, devices)

    points = [point(k) for k in range(14)]
    for given in (points, [*points, point(14, slow=3)]):
        costs = fit_roofline(given, min_op=1e11).costs
        assert costs == pytest.approx((1e12, 2e9, 0.1, 1e10, 3e9), rel=1e-5)
        held = leave_one_out(given, 1e11)
        assert sorted(abs(h.error) for h in held)[len(points) - 1] < 1e-5
    with pytest.raises(FitError, match="at least three known devices"):
        fit_roofline(points[:2], 1e11)


@pytest.mark.parametrize(
    ("benchmark", "devices", "error"), [("resnet", 12, 0.05), ("bert", 15, 0.15)]
)
def test_a_device_left_out_is_predicted_within_the_documented_error(
    benchmark: str, devices: int, error: float
) -> None:
    held = leave_one_out(measured_devices(benchmark), BENCHMARK_FLOP[benchmark])
    assert len(held) == devices
    assert calibrated(benchmark).median_error <= error
    assert calibrated(benchmark).median_error == pytest.approx(median(abs(h.error) for h in held))


@pytest.mark.full
@pytest.mark.parametrize(("benchmark", "held"), [("resnet", 10 / 12), ("bert", 14 / 15)])
def test_the_intervals_have_the_documented_coverage_of_devices_left_out(
    benchmark: str, held: float
) -> None:
    assert coverage(measured_devices(benchmark), BENCHMARK_FLOP[benchmark]) == pytest.approx(held)


def test_an_unknown_link_is_assumed_to_be_pcie_and_named() -> None:
    tpu = sixteen_bit("google-tpu-v4")
    assert tpu
    assert limits_of(tpu).link_bytes_per_s == PCIE_4
    found = choose("mlperf-bert", built_in().entries)
    assert {c.accelerator for c in found.candidates if c.link_taken} >= {"google-tpu-v4"}
    assert "link_taken" in {n.name for n in found.warnings}


def test_choosing_ranks_within_the_budget_and_states_its_error() -> None:
    found = choose("mlperf-bert", built_in().entries, budget_kw=10, samples=1e6, by="energy")
    energies = [c.energy_j.value for c in found.candidates]
    assert energies == sorted(energies)
    assert all(c.devices * c.power_w <= 10_000 for c in found.candidates)
    assert all(c.time_s.low <= c.time_s.value <= c.time_s.high for c in found.candidates)
    assert found.median_error == calibrated("bert").median_error
    assert any(c.measured for c in found.candidates)
    assert all(
        c.energy_j.value == pytest.approx(c.time_s.value * c.devices * c.power_w)
        for c in found.candidates
    )


def test_a_small_network_is_predicted_with_whole_steps_of_at_least_the_minimum_time() -> None:
    found = choose("schnet", built_in().entries, budget_kw=100, samples=1e6)
    batch = preset_counts("schnet", "base").batch
    for c in found.candidates:
        assert c.time_s.value >= math.ceil(1e6 / (c.devices * batch)) * MIN_STEP_S * (1 - 1e-9)
    assert any(c.held_at_floor for c in found.candidates)
    assert "step_floor" in {n.name for n in found.warnings}
    (one,) = choose("schnet", [e for e in built_in().entries if e.accelerator == "nvidia-a100-sxm4-80-gb"],
                    budget_kw=0.4, samples=1).candidates  # fmt: skip
    assert one.time_s.value >= MIN_STEP_S


def test_only_networks_like_bert_and_resnet_get_an_interval() -> None:
    for workload, is_like in (
        ("schnet", False),
        ("dimenet++", False),
        ("gpt2", True),
        ("vgg16", True),
    ):
        found = choose(workload, built_in().entries)
        assert (found.median_error is not None) == is_like
        assert all(
            (c.time_s.low is not None) == (c.energy_j.high is not None) == is_like
            for c in found.candidates
        )


def test_own_runs_correct_the_predictions_for_candidates() -> None:
    entries = [e for e in built_in().entries if e.accelerator == "nvidia-a100-sxm4-80-gb"]
    own = [run_on(workload="gpt2", rate=100.0)]
    (found,) = choose("gpt2", entries, budget_kw=1, samples=1e5, runs=own).candidates
    assert found.devices == 2
    assert found.time_s.value == pytest.approx(1e5 / 100.0)


def test_an_impossible_choice_lists_the_valid_values() -> None:
    with pytest.raises(UnknownNameError, match="mlperf-bert"):
        choose("mlperf-bertt", built_in().entries)
    with pytest.raises(UsageError, match="raise the budget"):
        choose("mlperf-bert", built_in().entries, budget_kw=0.001)
    with pytest.raises(UsageError, match="above 0"):
        choose("mlperf-bert", built_in().entries, budget_kw=0)

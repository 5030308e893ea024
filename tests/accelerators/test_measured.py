"""Peaks, what runs achieve of them, the roofline fitted to measured devices, and what it chooses."""

from __future__ import annotations

import math
from statistics import median

import msgspec
import pytest

from wattlaw.accelerators.catalogue.achieved import achieved, mlperf_achieved
from wattlaw.accelerators.catalogue.catalogue import built_in
from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP
from wattlaw.accelerators.catalogue.peaks import peak_op_per_s, sixteen_bit
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
from wattlaw.core.reading import estimated, measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.workloads.counts import preset_counts

A100 = "NVIDIA A100-SXM4-80GB"


def run(device: str = A100, rate: float = 800.0, source: str = "wattlaw", **setting: object) -> Run:
    chosen = setting_from(
        {"workload": "resnet50", "preset": "base", "precision": "bf16", "devices": 2, **setting}
    )
    quantities = {
        "samples_per_s": measured(rate),
        "gpu_mean_power_w": measured(600.0),
        "samples": measured(8000.0),
    }
    quantities |= {"gpu_energy_j": measured(6000.0), "cpu_energy_j": estimated(1000.0, "a model")}
    machine = Machine(device_type="cuda", device_name=device)
    return Run(setting=chosen, trial="t", source=source, machine=machine, quantities=quantities)


def test_a_peak_is_dense_and_names_its_device() -> None:
    peak = peak_op_per_s(A100, "bf16")
    assert (peak.value, peak.status) == (312e12, "estimated")
    assert "A100 SXM4 80 GB" in peak.how
    assert "dense" in peak.how
    assert peak_op_per_s("nvidia  a100-sxm4-80GB", "tf32").value == 156e12


@pytest.mark.parametrize(
    ("device", "precision", "why"),
    [
        ("TPU", "bf16", "unknown device 'TPU'"),
        ("N/A", "bf16", "unknown device 'N/A'"),
        ("NVIDIA A100", "bf16", "unknown device"),
        ("", "bf16", "unknown device"),
        ("Tesla V100-SXM2-16GB", "bf16", "no peak at precision 'bf16'"),
        (A100, "", "no peak at precision 'unknown'"),
        ("nvidia-dgx-h100", "fp16", "counts structured sparsity"),
    ],
)
def test_a_peak_is_never_guessed(device: str, precision: str, why: str) -> None:
    peak = peak_op_per_s(device, precision)
    assert peak.value is None
    assert why in peak.how


def test_a_runs_share_of_peak_is_counted_work_over_promised_peak() -> None:
    counted = preset_counts("resnet50", "base")
    assert counted is not None
    row = achieved(run())
    assert row.samples_per_s.value == 400
    assert row.share_of_peak.value == pytest.approx(400 * counted.flop_per_sample / 312e12)
    assert row.flop_per_joule.value == pytest.approx(400 * counted.flop_per_sample / 300)
    assert row.share_of_peak.status == "estimated"
    assert "gpu energy" in row.flop_per_joule.how


def test_without_a_measured_energy_no_operations_a_joule_are_told() -> None:
    bare = run()
    only_guessed = {k: v for k, v in bare.quantities.items() if k != "gpu_energy_j"}
    row = achieved(msgspec.structs.replace(bare, quantities=only_guessed))
    assert row.flop_per_joule.value is None
    assert row.flop_per_joule.how == "no energy was measured"
    node = achieved(
        msgspec.structs.replace(bare, quantities=only_guessed | {"node_energy_j": measured(9000.0)})
    )
    assert node.flop_per_joule.value == pytest.approx(
        (row.achieved_flop_per_s.value or 0) / 400 * 8000 / 9000
    )
    assert "node energy" in node.flop_per_joule.how


def test_what_is_not_known_of_a_run_makes_its_share_missing_with_the_reason() -> None:
    assert "unknown device 'Tesla X'" in achieved(run("Tesla X")).share_of_peak.how
    assert "does not name its device" in achieved(run("")).share_of_peak.how
    assert "have not been counted" in achieved(run(workload="mine")).share_of_peak.how
    imported = achieved(run(source="somebody"))
    assert imported.precision == "unknown"
    assert "does not record its precision" in imported.share_of_peak.how
    assert achieved(run(source="somebody"), precision="bf16").share_of_peak.value is not None


def test_no_mlperf_result_exceeds_its_devices_promise() -> None:
    shares = [r.share_of_peak.value for r in mlperf_achieved() if r.share_of_peak.value is not None]
    assert len(shares) > 60
    assert all(0.02 < s < 0.9 for s in shares)


def test_a_roofline_is_found_again_and_one_odd_device_does_not_move_it() -> None:
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
def test_a_device_left_out_is_predicted_as_well_as_the_docs_say(
    benchmark: str, devices: int, error: float
) -> None:
    held = leave_one_out(measured_devices(benchmark), BENCHMARK_FLOP[benchmark])
    assert len(held) == devices
    assert calibrated(benchmark).median_error <= error
    assert calibrated(benchmark).median_error == pytest.approx(median(abs(h.error) for h in held))


@pytest.mark.full
@pytest.mark.parametrize(("benchmark", "held"), [("resnet", 10 / 12), ("bert", 14 / 15)])
def test_the_intervals_hold_as_many_devices_left_out_as_the_docs_say(
    benchmark: str, held: float
) -> None:
    assert coverage(measured_devices(benchmark), BENCHMARK_FLOP[benchmark]) == pytest.approx(held)


def test_berts_operations_lie_within_what_its_own_model_counts() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from wattlaw.workloads.language.bert import MASKED_SHARE, Bert, BertSize

    def counted(tokens: int) -> int:
        with torch.device("meta"):
            model = Bert(BertSize(24, 1024, 16, 30522, 512, 512, 2, 0.1), 0)
            text, asked = (
                torch.zeros(1, tokens, dtype=torch.long),
                torch.zeros(1, round(MASKED_SHARE * tokens)).long(),
            )
        with FlopCounterMode(display=False) as counter:
            model(text, asked).sum().backward()
        return counter.get_total_flops()

    # of a mean of 256 tokens: least where all sequences are as long, most where half are of 512 and half empty
    least, most = counted(256), counted(512) / 2
    assert least < BENCHMARK_FLOP["bert"] < most < 1.05 * least


def test_the_half_of_an_mi250x_that_a_driver_shows_promises_half_of_it() -> None:
    half, whole = sixteen_bit("amd-mi250x-die"), sixteen_bit("amd-radeon-instinct-mi250x")
    assert half
    assert whole
    assert whole.peak_op_per_s == 2 * half.peak_op_per_s
    assert peak_op_per_s("AMD Instinct MI250X", "bf16").value == half.peak_op_per_s


def test_a_link_that_is_not_known_is_taken_as_pcie_and_named() -> None:
    tpu = sixteen_bit("google-tpu-v4")
    assert tpu
    assert limits_of(tpu).link_bytes_per_s == PCIE_4
    found = choose("mlperf-bert", built_in().entries)
    assert {c.accelerator for c in found.candidates if c.link_taken} >= {"google-tpu-v4"}
    assert "link_taken" in {n.name for n in found.warnings}


def test_choosing_ranks_within_the_budget_and_says_how_far_it_errs() -> None:
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


def test_a_small_network_is_predicted_in_whole_steps_of_no_less_than_the_floor() -> None:
    found = choose("schnet", built_in().entries, budget_kw=100, samples=1e6)
    batch = preset_counts("schnet", "base").batch
    for c in found.candidates:
        assert c.time_s.value >= math.ceil(1e6 / (c.devices * batch)) * MIN_STEP_S * (1 - 1e-9)
    assert any(c.held_at_floor for c in found.candidates)
    assert "step_floor" in {n.name for n in found.warnings}
    (one,) = choose("schnet", [e for e in built_in().entries if e.accelerator == "nvidia-a100-sxm4-80-gb"],
                    budget_kw=0.4, samples=1).candidates  # fmt: skip
    assert one.time_s.value >= MIN_STEP_S


def test_errors_of_bert_and_resnet_are_told_for_networks_like_them_only() -> None:
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


def test_own_runs_correct_what_is_chosen() -> None:
    entries = [e for e in built_in().entries if e.accelerator == "nvidia-a100-sxm4-80-gb"]
    own = [run(workload="gpt2", rate=100.0)]
    (found,) = choose("gpt2", entries, budget_kw=1, samples=1e5, runs=own).candidates
    assert found.devices == 2
    assert found.time_s.value == pytest.approx(1e5 / 100.0)


def test_what_cannot_be_chosen_says_what_would_be() -> None:
    with pytest.raises(UnknownNameError, match="mlperf-bert"):
        choose("mlperf-bertt", built_in().entries)
    with pytest.raises(UsageError, match="raise the budget"):
        choose("mlperf-bert", built_in().entries, budget_kw=0.001)
    with pytest.raises(UsageError, match="above 0"):
        choose("mlperf-bert", built_in().entries, budget_kw=0)

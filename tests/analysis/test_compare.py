"""Comparison of two sets of runs by setting."""

from __future__ import annotations

import random

import pytest
from tests.factory import make_run

from wattlaw.analysis.compare import Comparison, compare
from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Reading
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting


def runs(
    factor: float, noise: float, seed: int, repeats: int = 5, devices: tuple[int, ...] = (1, 2)
) -> list[Run]:
    rng = random.Random(seed)
    return [
        make_run(d, r, factor * rng.lognormvariate(0, noise) / d)
        for d in devices
        for r in range(repeats)
    ]


def verdicts(found: Comparison) -> list[str]:
    return [d.verdict for d in found.differences]


def test_a_difference_is_clear_only_if_it_exceeds_the_noise():
    found = compare(runs(0.1, 0.01, 1), runs(0.12, 0.01, 2), ["step_time_s"])
    assert verdicts(found) == ["worse", "worse"]
    assert all(d.ratio.low < 1.2 < d.ratio.high for d in found.differences)
    assert verdicts(compare(runs(0.12, 0.01, 1), runs(0.1, 0.01, 2), ["samples_per_s"])) == [
        "better",
        "better",
    ]
    assert (
        verdicts(compare(runs(0.1, 0.2, 1), runs(0.1, 0.2, 2), ["step_time_s"]))
        == ["no difference"] * 2
    )


def test_nine_of_ten_intervals_cover_the_true_ratio():
    held = 0
    for seed in range(400):
        found = compare(
            runs(0.1, 0.05, seed, 3, (1,)), runs(0.11, 0.02, 1000 + seed, 3, (1,)), ["step_time_s"]
        )
        interval = found.differences[0].ratio
        held += interval.low <= 1.1 <= interval.high
    assert 345 <= held <= 392  # Welch's t is a little wide where three repeats differ in noise


def test_one_run_per_side_gives_a_ratio_without_a_verdict():
    (found,) = compare([make_run(1, 0, 0.1)], [make_run(1, 0, 0.2)], ["step_time_s"]).differences
    assert found.ratio.value == pytest.approx(2)
    assert (found.ratio.low, found.larger_than_noise, found.verdict) == (
        None,
        None,
        "too few repeats",
    )


def test_settings_in_only_one_set_are_counted_and_failed_runs_left_out():
    a = [*runs(0.1, 0.01, 1, devices=(1, 2)), make_run(4, state="failed")]
    b = [*runs(0.1, 0.01, 2, devices=(2, 8)), make_run(4)]
    found = compare(a, b, ["step_time_s"])
    assert (found.matched, found.only_a, found.only_b) == (1, 1, 2)
    assert [d.group["devices"] for d in found.differences] == [2]


def test_machines_may_differ_but_not_the_requested_kind_of_device():
    other = Machine("cuda", "H100", 1, 8, "EPYC")
    b = [make_run(1, r, 0.01, machine=other) for r in range(3)]
    assert compare(runs(0.1, 0.01, 1), b).matched == 1
    requested = [
        make_run(1, r, setting=Setting("schnet", "tiny", batch_per_device=32, device_type="cpu"))
        for r in range(3)
    ]
    assert compare(runs(0.1, 0.01, 1), requested).matched == 0
    mixed = compare(runs(0.1, 0.01, 1), [*b, *runs(0.1, 0.01, 2)])
    assert "several_machines" in [note.name for note in mixed.warnings]


def test_energies_of_different_boundaries_are_not_compared():
    def measured(repeat: int, **energies: float) -> Run:
        readings = {name: Reading(value) for name, value in energies.items()}
        return make_run(1, repeat, quantities={"samples": Reading(10.0), **readings})

    a = [measured(r, gpu_energy_j=10.0 + r, cpu_energy_j=5.0) for r in range(3)]
    b = [measured(r, gpu_energy_j=10.0 + r) for r in range(3)]
    found = compare(a, b, ["energy_per_sample_j", "gpu_energy_j"])
    assert [d.quantity for d in found.differences] == ["gpu_energy_j"]
    assert "gpu+cpu, measured in a and gpu, measured in b" in found.warnings[0].message
    assert len(compare(a, a, ["energy_per_sample_j"]).differences) == 1


def test_an_estimate_stays_an_estimate_and_a_misspelt_quantity_is_refused():
    (found,) = compare([make_run(1)], [make_run(1)], ["cpu_energy_j"]).differences
    assert found.status == "estimated"
    with pytest.raises(UnknownNameError, match="step_time_s"):
        compare([], [], ["step_times_s"])


def test_a_requested_quantity_that_a_set_lacks_is_named():
    runs = [make_run(repeat=r) for r in range(2)]
    (note,) = compare(runs, runs, ["samples_per_s", "gpu_energy_j"]).warnings
    assert note.name == "not_compared"
    assert note.message.startswith("gpu_energy_j is missing in one or both sets: no GPU on")
    assert compare(runs, runs, ["samples_per_s"]).warnings == ()

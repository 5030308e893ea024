"""Derived quantities, the identity of repeats, errors and the snapshot of a machine."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core import errors
from wattlaw.core import run_environment as environment
from wattlaw.core.errors import UnknownNameError, UsageError, WattlawError, nearest
from wattlaw.core.factors import factors, repeats
from wattlaw.core.quantities import (
    all_quantities,
    derive,
    energy,
    find_quantity,
    parse_limit,
    quantity,
)
from wattlaw.core.reading import Reading, estimated, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting
from wattlaw.core.units import units_like


def run_with(devices: int = 1, **quantities: Reading) -> Run:
    return Run(
        setting=Setting("w", devices_per_node=devices), trial="w-0-r0", quantities=quantities
    )


def test_the_measured_energy_with_the_widest_boundary_is_used():
    gpu, cpu, node = Reading(10.0, how="nvml"), Reading(5.0, how="rapl"), Reading(20.0, how="bmc")
    assert energy(run_with(gpu_energy_j=gpu, cpu_energy_j=cpu, node_energy_j=node)) == (
        node,
        "node",
    )
    added, boundary = energy(run_with(gpu_energy_j=gpu, cpu_energy_j=cpu))
    assert (added.value, added.status, boundary, added.how) == (
        15.0,
        "measured",
        "gpu+cpu",
        "nvml; rapl",
    )


def test_an_estimate_is_never_added_to_a_measurement():
    total, boundary = energy(
        run_with(gpu_energy_j=Reading(10.0), cpu_energy_j=estimated(5.0, "model"))
    )
    assert (total.value, total.status, boundary) == (10.0, "measured", "gpu")
    total, boundary = energy(
        run_with(cpu_energy_j=estimated(5.0, "model"), node_energy_j=missing("no meter"))
    )
    assert (total.value, total.status, boundary, total.how) == (5.0, "estimated", "cpu", "model")


def test_what_was_not_measured_stays_missing_with_its_reason():
    assert energy(run_with(gpu_energy_j=missing("no driver")))[0] == missing("no driver")
    assert derive(run_with(), "energy_per_sample_j").value is None
    assert derive(run_with(cpu_energy_j=Reading(1.0)), "energy_per_sample_j").how == (
        "the number of samples was not recorded"
    )
    assert derive(run_with(samples_per_s=missing("no steps")), "time_per_sample_s") == missing(
        "no steps"
    )
    with pytest.raises(UnknownNameError, match="did you mean 'device_hours'"):
        derive(run_with(), "device_hour")


def test_a_missing_energy_gives_the_reason_of_the_devices_that_trained():
    parts = {"gpu_energy_j": missing("no GPU is used"), "cpu_energy_j": missing("below the tick")}
    on_cpu = msgspec.structs.replace(run_with(**parts), machine=Machine("cpu", "X"))
    assert derive(on_cpu, "energy_j") == missing("below the tick")
    on_gpu = msgspec.structs.replace(run_with(**parts), machine=Machine("cuda", "Y"))
    assert derive(on_gpu, "energy_j") == missing("no GPU is used")
    assert derive(run_with(node_energy_j=missing("shared")), "energy_j") == missing("shared")


def test_an_energy_names_its_boundary():
    run = run_with(
        gpu_energy_j=Reading(10.0, how="nvml counter"),
        cpu_energy_j=Reading(5.0),
        samples=Reading(3.0),
    )
    assert derive(run, "energy_j") == Reading(15.0, how="gpu+cpu: nvml counter")
    assert derive(run, "energy_per_sample_j") == Reading(5.0, how="gpu+cpu: nvml counter")
    assert derive(run_with(node_energy_j=Reading(1.0, how="bmc")), "energy_j").how == "node: bmc"


def test_an_infinite_rate_gives_no_time_of_0():
    endless = run_with(samples_per_s=Reading(math.inf))
    assert derive(endless, "time_per_sample_s") == missing("the recorded rate is not finite")
    assert (
        derive(
            run_with(samples_per_s=Reading(2.0, low=1.0, high=math.inf)), "time_per_sample_s"
        ).low
        is None
    )


def test_derived_quantities_follow_from_the_recorded_ones():
    run = run_with(
        4,
        samples_per_s=Reading(50.0, low=40.0, high=100.0, n=9),
        samples=Reading(1000.0),
        gpu_energy_j=Reading(500.0),
        elapsed_s=Reading(20.0),
    )
    assert derive(run, "time_per_sample_s") == Reading(0.02, low=0.01, high=0.025, n=9)
    assert derive(run, "device_time_per_sample_s").value == pytest.approx(0.08)
    assert derive(run, "device_hours").value == pytest.approx(4 * 20 / 3600)
    assert derive(run, "gpu_energy_per_sample_j").value == 0.5
    assert derive(run, "energy_delay_product_js").value == pytest.approx(0.5 * 0.02)


options = st.dictionaries(st.sampled_from("abc"), st.integers(0, 1), max_size=2)
some_runs = st.builds(
    lambda o, d, seed, kind, name, label: Run(
        setting=Setting("w", devices_per_node=d, seed=seed, options=o),
        trial="t",
        machine=Machine(kind, name),
        labels={"site": label} if label else {},
    ),
    options, st.integers(1, 2), st.integers(0, 9), st.sampled_from(["", "cpu"]), st.sampled_from(["", "X"]),
    st.sampled_from(["", "here"]),
)  # fmt: skip


@given(st.lists(some_runs, max_size=12))
def test_runs_are_repeats_if_and_only_if_they_share_every_factor(runs: list[Run]):
    groups = repeats(runs)
    combinations = [factors(members[0]) for members in groups]
    assert sorted(id(run) for members in groups for run in members) == sorted(map(id, runs))
    assert all(
        factors(run) == combinations[i] for i, members in enumerate(groups) for run in members
    )
    assert all(
        combinations[i] != combinations[j] for i in range(len(combinations)) for j in range(i)
    )


def test_quantities_documented_as_derived_are_derived():
    page = (Path(__file__).parents[2] / "docs" / "record.md").read_text()
    names = re.findall(r"`(\w+)`", page.split("Others are derived")[1].split("In Python")[0])
    given = (
        "elapsed_s",
        "samples",
        "samples_per_s",
        "gpu_energy_j",
        "cpu_energy_j",
        "node_energy_j",
    )
    whole = run_with(**{n: Reading(2.0) for n in given})
    assert len(names) > 5
    assert [n for n in names if derive(whole, n).status != "measured"] == []


def test_a_missing_achieved_rate_names_the_command_that_computes_it():
    assert "accelerators measured" in derive(run_with(), "achieved_flop_per_s").how


def test_every_error_is_in_the_one_tree_that_its_file_lists():
    found = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert all(issubclass(e, WattlawError) for e in found)
    assert all(e.__name__ in (errors.__doc__ or "") for e in found)
    assert all(e.exit_code == (2 if issubclass(e, UsageError) else 1) for e in found)


@given(st.text(max_size=9), st.lists(st.text(max_size=9), max_size=20))
def test_an_unknown_name_always_gets_a_suggestion_or_a_list(name: str, known: list[str]):
    assert nearest(name, known)


def test_a_name_close_to_a_part_of_a_longer_one_suggests_it():
    assert (
        nearest("h1000", ["nvidia-h100-pcie", "nvidia-v100", "amd-mi210"])
        == "did you mean 'nvidia-h100-pcie'?"
    )
    assert nearest("device", ["device_hours", "devices"]).startswith("did you mean 'devices'")


def test_the_snapshot_of_a_machine_records_what_a_run_depends_on():
    found = environment.capture()
    assert found.cores >= 1
    assert found.cores <= found.cores_of_machine
    assert found.memory_bytes > 2**20
    assert found.libraries["msgspec" if "msgspec" in found.libraries else "psutil"]
    assert datetime.fromisoformat(found.clock[1]).tzinfo is not None
    assert msgspec.json.decode(msgspec.json.encode(found), type=environment.Environment) == found


def test_the_snapshot_is_taken_without_git_and_outside_a_repository(tmp_path):
    script = "from wattlaw.core.run_environment import capture; print(repr(capture().git_commit))"
    variables = {**os.environ, "PATH": str(tmp_path)}
    words = [sys.executable, "-c", script]
    done = subprocess.run(
        words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "''"


def test_a_limit_is_read_with_its_unit_and_shows_its_interpretation():
    limit = parse_limit("gpu_energy_j=3 kWh")
    assert (limit.quantity, limit.value) == ("gpu_energy_j", 1.08e7)
    assert str(limit) == "gpu_energy_j ≤ 10.8 MJ"
    assert str(parse_limit("samples_per_s = 100")) == "samples_per_s ≥ 100/s"


def test_a_limit_on_a_total_becomes_one_per_sample():
    assert parse_limit("device_hours=2").per_sample(3600) == ("device_time_per_sample_s", 2.0)
    assert parse_limit("elapsed_s=1 h").per_sample(1000) == ("time_per_sample_s", 3.6)
    assert parse_limit("time_per_sample_s=20 ms").per_sample(1000) == ("time_per_sample_s", 0.02)
    with pytest.raises(UsageError, match="a limit on gpu_temperature_c cannot be turned"):
        parse_limit("gpu_temperature_c=80").per_sample(10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu_energy_j", "write NAME=VALUE"),
        ("gpu_energi_j=3", "did you mean 'gpu_energy_j'"),
        ("gpu_energy_j=-3 J", "it must be a positive number"),
        ("gpu_energy_j=nan", "it must be a positive number"),
        ("gpu_energy_j=3 s", "s is not a unit of it; valid: J"),
    ],
)
def test_a_wrong_limit_is_refused_in_one_line(text: str, message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_limit(text)


def test_every_total_measures_the_same_as_its_quantity_per_sample():
    for name, known in all_quantities().items():
        if known.per_sample:
            assert known.basis == "total", name
            assert quantity(known.per_sample).basis == "sample"
            assert quantity(known.per_sample).unit in units_like(known.unit)


def test_the_metrics_of_workloads_are_quantities_of_the_validation_set():
    assert quantity("valid_top1").better == 1
    assert quantity("valid_mae_mev") == find_quantity("valid_mae_mev")
    known = quantity("valid_force_mae_mev_per_angstrom")
    assert (known.unit, known.better, known.heading) == ("meV/Å", -1, "validation force MAE")
    assert find_quantity("valid_of_my_own_class") is None

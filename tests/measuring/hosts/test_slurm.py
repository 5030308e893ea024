"""Measuring inside allocations of a real Slurm: two nodes, both on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.real_slurm import running

import wattlaw
from wattlaw.measuring.files.host_files import read_host
from wattlaw.slurm.job_environment import gpus_of_job, why_shared

TRAIN = """
import time, wattlaw
with wattlaw.measure("inner", name="train") as m:
    for _ in range(12):
        end = time.monotonic() + 0.1
        while time.monotonic() < end: pass
        m.step(samples=2)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path], str]]:
    """Run a batch script on two nodes and return its output: slurm(script, folder)."""
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster.run


MEASURE = f"{sys.executable} -m wattlaw measure"


def check_clock_of_second_node(attempt: Path) -> None:
    """Check that measured offsets contain 0, because both nodes are this machine."""
    first, second = read_host(attempt / "host-a.json"), read_host(attempt / "host-b.json")
    assert not first.against
    assert [a.host for a in second.against] == ["a", "a"]
    for found in second.against:
        assert abs(found.offset_s) <= found.uncertainty_s < 0.05
    assert not (attempt / ".clock.json").exists()


@pytest.mark.full
def test_measuring_srun_samples_each_node_once(slurm, tmp_path: Path) -> None:
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 3: pass'"
    printed = slurm(f"{MEASURE} -o outer --name burn -- srun {burn}\necho code $?\n", tmp_path)
    assert "code 0" in printed
    (run,) = wattlaw.load_runs(tmp_path / "outer")
    (attempt,) = (tmp_path / "outer").glob("*/attempt-1")
    assert sorted(p.name for p in attempt.glob("host-*.json")) == ["host-a.json", "host-b.json"]
    assert run.machine.hosts == 2
    # both nodes are this machine, and each counts its own tasks: four use three seconds each
    assert run.reading("cpu_time_s").value == pytest.approx(12, rel=0.4)
    assert not list(tmp_path.glob("**/.samplers.json"))
    check_clock_of_second_node(attempt)


@pytest.mark.full
def test_measuring_inside_srun_makes_one_record_of_all_nodes(slurm, tmp_path: Path) -> None:
    printed = slurm(f"srun {MEASURE} -o outer --name nap -- sleep 2\necho code $?\n", tmp_path)
    assert "code 0" in printed
    assert printed.count("elapsed") == 1
    (run,) = wattlaw.load_runs(tmp_path / "outer")
    assert (run.setting.nodes, run.machine.hosts) == (2, 2)
    assert 1.5 < run.reading("elapsed_s").value < 4
    assert not {n.name for n in run.warnings} & {"sampler_lost", "clocks_not_compared"}
    check_clock_of_second_node(next((tmp_path / "outer").glob("*/attempt-1")))


@pytest.mark.full
def test_windows_of_all_ranks_under_srun_make_one_record(slurm, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    printed = slurm(f"srun {sys.executable} train.py\necho code $?\n", tmp_path)
    assert "code 0" in printed
    (run,) = wattlaw.load_runs(tmp_path / "inner")
    assert run.reading("samples").value == 12 * 2 * 4
    assert run.setting.devices == 4
    assert run.machine.hosts == 2
    check_clock_of_second_node(next((tmp_path / "inner").glob("*/attempt-1")))


@pytest.mark.full
def test_a_failing_srun_passes_its_exit_code_on(slurm, tmp_path: Path) -> None:
    printed = slurm(f"{MEASURE} -q --to cost.json -- srun sh -c 'exit 3'\necho code $?\n", tmp_path)
    assert "code 3" in printed
    assert json.loads((tmp_path / "cost.json").read_text())["overall"]["exit_code"] == 3
    assert not list(tmp_path.glob(".wattlaw-*"))


@pytest.mark.full
def test_nodes_without_a_sampler_are_named(slurm, tmp_path: Path) -> None:
    slurm(f"{MEASURE} -q --to cost.json -- sh -c 'srun true'\n", tmp_path)
    (note,) = [
        w
        for w in json.loads((tmp_path / "cost.json").read_text())["warnings"]
        if w["name"] == "nodes_unmeasured"
    ]
    assert note["message"].startswith("only 1 of the job's 2 nodes were measured")


def test_on_a_shared_node_node_energy_is_not_counted_for_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert why_shared() == "Slurm job 7 has 8 of the 64 CPUs of this node"
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert why_shared() == ""


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, [0, 1, 2, 3]),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "64"}, [0, 1, 2, 3]),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "8"}, []),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "8", "SLURM_JOB_GPUS": "2,3"}, [2, 3]),
        (
            {
                "SLURM_JOB_ID": "7",
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_JOB_GPUS": "0",
                "SLURM_STEP_GPUS": "1",
            },
            [1],
        ),
        # a control group hides the other GPUs and renumbers the rest
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "4,5,6,7"}, [0, 1, 2, 3]),
    ],
)
def test_only_the_gpus_of_the_job_are_measured(
    monkeypatch: pytest.MonkeyPatch, variables, gpus
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gpus_of_job(4) == gpus

"""Measuring inside allocations of a real Slurm: two nodes, both on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wattlaw
from wattlaw.measuring.slurm import why_shared

CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d-%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=a NodeHostname=localhost NodeAddr=127.0.0.1 Port={a} CPUs=2 State=UNKNOWN
NodeName=b NodeHostname=localhost NodeAddr=127.0.0.1 Port={b} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=a,b Default=YES MaxTime=INFINITE State=UP
"""

TRAIN = """
import time, wattlaw
with wattlaw.measure("inner", name="train") as m:
    for _ in range(12):
        end = time.monotonic() + 0.1
        while time.monotonic() < end: pass
        m.step(samples=2)
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path], str]]:
    """Run a batch script on two nodes and return its output: slurm(script, folder)."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))) or os.geteuid() != 0:
        pytest.skip("needs root and Slurm: apt install slurmctld slurmd slurm-client munge")
    folder = tmp_path_factory.mktemp("slurm")
    base = 20000 + os.getpid() % 20000
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, port=base, a=base + 1, b=base + 2))
    (folder / "state").mkdir()
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    start_munge()
    daemons = [
        subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in (["slurmctld", "-i", "-D"], ["slurmd", "-D", "-N", "a"], ["slurmd", "-D", "-N", "b"])
    ]
    wait_until(
        lambda: subprocess.run(["sinfo", "-ho", "%D%t"], env=environment, capture_output=True).stdout == b"2idle\n"
    )

    def run(script: str, where: Path) -> str:
        path = where / "job.sh"
        path.write_text(
            f"#!/bin/bash\n#SBATCH -N2 -n4 -o out.txt\nexport PYTHONPATH={os.environ.get('PYTHONPATH', '')}\n{script}"
        )
        subprocess.run(["sbatch", "--wait", str(path)], env=environment, cwd=where, check=False, timeout=120)
        return (where / "out.txt").read_text()

    yield run
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        daemon.wait(20)


def start_munge() -> None:
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged --force"], check=True)


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "Slurm did not come up"
        time.sleep(0.2)


MEASURE = f"{sys.executable} -m wattlaw measure"


@pytest.mark.full
def test_measuring_srun_samples_each_node_once(slurm, tmp_path: Path) -> None:
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 3: pass'"
    said = slurm(f"{MEASURE} -o outer --name burn -- srun {burn}\necho code $?\n", tmp_path)
    assert "code 0" in said
    (run,) = wattlaw.load_runs(tmp_path / "outer")
    (attempt,) = (tmp_path / "outer").glob("*/attempt-1")
    assert sorted(p.name for p in attempt.glob("host-*.json")) == ["host-a.json", "host-b.json"]
    assert run.machine.hosts == 2
    # both nodes are this machine, and each counts its own tasks: four burn three seconds each
    assert run.reading("cpu_time_s").value == pytest.approx(12, rel=0.4)
    assert not list(tmp_path.glob("**/.samplers.json"))


@pytest.mark.full
def test_measuring_inside_srun_makes_one_record_of_all_nodes(slurm, tmp_path: Path) -> None:
    said = slurm(f"srun {MEASURE} -o outer --name nap -- sleep 2\necho code $?\n", tmp_path)
    assert "code 0" in said
    assert said.count("elapsed") == 1
    (run,) = wattlaw.load_runs(tmp_path / "outer")
    assert (run.setting.nodes, run.machine.hosts) == (2, 2)
    assert 1.5 < run.reading("elapsed_s").value < 4
    assert "sampler_lost" not in {n.name for n in run.warnings}


@pytest.mark.full
def test_windows_of_all_ranks_under_srun_make_one_record(slurm, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    said = slurm(f"srun {sys.executable} train.py\necho code $?\n", tmp_path)
    assert "code 0" in said
    (run,) = wattlaw.load_runs(tmp_path / "inner")
    assert run.reading("samples").value == 12 * 2 * 4
    assert run.setting.devices == 4
    assert run.machine.hosts == 2


@pytest.mark.full
def test_a_failing_srun_passes_its_exit_code_on(slurm, tmp_path: Path) -> None:
    said = slurm(f"{MEASURE} -q --to cost.json -- srun sh -c 'exit 3'\necho code $?\n", tmp_path)
    assert "code 3" in said
    assert json.loads((tmp_path / "cost.json").read_text())["overall"]["exit_code"] == 3
    assert not list(tmp_path.glob(".wattlaw-*"))


@pytest.mark.full
def test_nodes_that_nobody_measures_are_named(slurm, tmp_path: Path) -> None:
    slurm(f"{MEASURE} -q --to cost.json -- sh -c 'srun true'\n", tmp_path)
    (note,) = [
        w for w in json.loads((tmp_path / "cost.json").read_text())["warnings"] if w["name"] == "nodes_unmeasured"
    ]
    assert note["message"].startswith("only 1 of the job's 2 nodes are measured")


def test_on_a_shared_node_the_nodes_own_energy_is_not_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert why_shared() == "Slurm job 7 holds 8 of the 64 CPUs of this node"
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert why_shared() == ""

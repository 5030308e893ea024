"""Limits in a real Slurm allocation of two nodes with fake GPUs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml
from tests.real_slurm import Cluster, running, wait_until

import wattlaw

pytestmark = pytest.mark.full

WATTLAW = f"{sys.executable} -m wattlaw"
TWO_GPUS = "-N2 -n2 --gres=gpu:2"
NAMES = ("a", "b")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


class Nodes:
    """The GPUs of both nodes, and the environment in which a job finds those of its node."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.gpus = {name: FakeNvml(library, folder / f"state-{name}") for name in NAMES}
        first = self.gpus["a"].environment
        self.state = str(folder / "state")
        self.variables = {
            "LD_LIBRARY_PATH": first["LD_LIBRARY_PATH"],
            "WATTLAW_STATE": first["WATTLAW_STATE"],
            "FAKE_NVML_STATE": self.state,
        }

    def all(self, value: str) -> list[float]:
        return [gpu.get(i, value) for gpu in self.gpus.values() for i in (0, 1)]

    def set(self, **values: float) -> None:
        for gpu in self.gpus.values():
            for i in (0, 1):
                gpu.set(i, **values)

    def kill_all_but_guards(self) -> None:
        """SIGKILL the sruns and all wattlaw processes on these GPUs, except the guards."""
        guards = {pid for pid, words in self.processes().items() if is_guard(pid, words)}
        assert len(guards) == 2
        # stop all before killing any; otherwise the watcher of srun has Slurm kill the guards
        stopped: set[int] = set()
        while new := self.processes().keys() - guards - stopped:
            send(signal.SIGSTOP, new)
            stopped |= new
        send(signal.SIGKILL, stopped)

    def processes(self) -> dict[int, list[bytes]]:
        """Return the command lines of the sruns and of all wattlaw processes on these GPUs."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                if self.state.encode() in (path / "environ").read_bytes() and any(
                    b"wattlaw" in w for w in words
                ):
                    found[int(path.name)] = words
        return found

    def kill_srun_of_samplers(self) -> None:
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes()
                if self.state.encode() in (path / "environ").read_bytes() and words.startswith(
                    b"srun\0--overlap"
                ):
                    os.kill(int(path.name), signal.SIGKILL)
                    return


def send(number: int, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def is_guard(pid: int, words: list[bytes]) -> bool:
    """Return whether a process is a guard: a task of a step, but no sampler or srun."""
    if words[0] == b"srun":
        return False
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    daemon = Path(f"/proc/{parent}/cmdline").read_bytes()
    return daemon.startswith(b"slurmstepd: [") and b"batch" not in daemon


@pytest.fixture
def nodes(library: Path, tmp_path: Path) -> Nodes:
    return Nodes(library, tmp_path)


def limits(folder: Path) -> dict[str, list[dict]]:
    return {
        path.stem.removeprefix("limits-"): json.loads(path.read_text())
        for path in folder.glob("*/attempt-1/limits-*")
    }


@pytest.mark.parametrize("form", ["{measure} -- srun sleep 3", "srun {measure} -- sleep 3"])
def test_each_node_sets_records_and_restores_its_own_limits(
    cluster, nodes, tmp_path, form: str
) -> None:
    script = form.format(measure=f"{WATTLAW} measure -q -o runs --power-cap-w 200")
    cluster.start(script + "\necho code $?\n", tmp_path, nodes.variables, TWO_GPUS)
    wait_until(lambda: nodes.all("limit_w") == [200] * 4, "the caps were never set")
    wait_until(lambda: "code 0" in (tmp_path / "out.txt").read_text(), "the job did not end")
    assert nodes.all("limit_w") == [380] * 4
    found = limits(tmp_path / "runs")
    assert sorted(found) == ["a", "b"]
    for name, held in found.items():
        uuids = [nodes.gpus[name].uuid(i, name) for i in (0, 1)]
        assert [(h["device"], h["now"], h["previous"]) for h in held] == [
            (u, 200, 380) for u in uuids
        ]
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert (run.setting.power_cap_w, run.machine.hosts) == (200, 2)


def test_a_new_step_restores_the_caps_if_slurm_kills_the_guards(cluster, nodes, tmp_path) -> None:
    script = f"{WATTLAW} measure -q --power-cap-w 200 -- srun sh -c 'touch runs; sleep 4'\necho code $?\n"
    cluster.start(script, tmp_path, nodes.variables, TWO_GPUS)
    wait_until((tmp_path / "runs").exists, "the command was never run")
    assert nodes.all("limit_w") == [200] * 4
    nodes.kill_srun_of_samplers()
    wait_until(lambda: "code 0" in (tmp_path / "out.txt").read_text(), "the job did not end")
    assert nodes.all("limit_w") == [380] * 4


def test_a_cancelled_job_restores_every_cap(cluster, nodes, tmp_path) -> None:
    script = f"{WATTLAW} measure -q --power-cap-w 200 -- srun sleep 60"
    job = cluster.start(script, tmp_path, nodes.variables, TWO_GPUS)
    wait_until(lambda: nodes.all("limit_w") == [200] * 4, "the caps were never set")
    cluster.ask("scancel", job)
    wait_until(lambda: nodes.all("limit_w") == [380] * 4, "the caps were never restored")


def test_only_the_jobs_own_devices_are_limited(cluster, nodes, tmp_path) -> None:
    script = f"{WATTLAW} measure -q -o runs --power-cap-w 150 -- srun sleep 1\necho code $?\n"
    assert "code 0" in cluster.run(script, tmp_path, nodes.variables, "-N2 -n2 --gres=gpu:1")
    assert [len(held) for held in limits(tmp_path / "runs").values()] == [1, 1]
    assert nodes.all("sets") == [2, 0, 2, 0]


def test_a_limit_refused_by_one_node_is_removed_from_all(cluster, nodes, tmp_path) -> None:
    for i in (0, 1):
        nodes.gpus["b"].set(i, may_set=0)
    output = cluster.run(
        f"{WATTLAW} measure -q --power-cap-w 150 -- srun sleep 1\necho code $?\n",
        tmp_path,
        nodes.variables,
        TWO_GPUS,
    )
    assert "code 1" in output
    assert "is not permitted to this user; root may" in output
    assert "(node b)" in output
    assert nodes.all("limit_w") == [380] * 4


CLOCK = f"{WATTLAW} measure -q -o runs --to cost.json --sm-clock-mhz 900 --memory-clock-mhz 800 -- srun sleep 3\n"


def notes(folder: Path) -> dict[str, str]:
    result = json.loads((folder / "cost.json").read_text())
    return {w["name"]: w["message"] for w in result["warnings"]}


def test_clocks_that_nvml_refuses_are_requested_from_slurm_and_read_back(
    cluster, nodes, tmp_path
) -> None:
    nodes.set(may_set=0, sm_application=900, memory_application=800, load=1)
    output = cluster.run(CLOCK, tmp_path, nodes.variables, TWO_GPUS)
    assert "GpuFreq=" in output  # Slurm confirms the request
    for held in limits(tmp_path / "runs").values():
        assert {(h["control"], h["asked"], h["now"], h["by"]) for h in held} == {
            ("sm_clock_mhz", 900, 900, "slurm"),
            ("memory_clock_mhz", 800, 800, "slurm"),
        }
    assert not [name for name in notes(tmp_path) if name.startswith("clock_")]


def test_a_clock_that_slurm_did_not_set_is_a_warning(cluster, nodes, tmp_path) -> None:
    nodes.set(may_set=0, sm_application=1410, memory_application=800)
    cluster.run(CLOCK, tmp_path, nodes.variables, TWO_GPUS)
    message = notes(tmp_path)["clock_not_as_asked"]
    assert "its sm clock was set to 1410 MHz; 900 MHz were requested" in message


def test_a_clock_that_no_device_reports_is_not_read_back(cluster, nodes, tmp_path) -> None:
    nodes.set(may_set=0)
    cluster.run(CLOCK, tmp_path, nodes.variables, TWO_GPUS)
    assert (
        "was requested from Slurm but not read back; it was never above 300 MHz"
        in notes(tmp_path)["clock_not_read_back"]
    )


def test_clocks_that_nvml_may_set_are_not_requested_from_slurm(cluster, nodes, tmp_path) -> None:
    assert "GpuFreq=" not in cluster.run(CLOCK, tmp_path, nodes.variables, TWO_GPUS)
    assert nodes.all("sm_lock") == [0] * 4
    assert {h["control"] for held in limits(tmp_path / "runs").values() for h in held} == {
        "sm_clock_mhz",
        "memory_clock_mhz",
    }


def test_two_sources_of_clock_limits_are_refused(cluster, nodes, tmp_path) -> None:
    script = (
        f"{WATTLAW} measure -q --sm-clock-mhz 900 -- srun --gpu-freq=low sleep 1\necho code $?\n"
    )
    output = cluster.run(script, tmp_path, nodes.variables, TWO_GPUS)
    assert "--gpu-freq=low already requests GPU clocks from Slurm" in output
    assert "code 2" in output


SWEEP = """
name = "caps"
repeats = 1
[setting]
command = "srun sleep 1"
[over]
{over}
"""


def test_a_sweep_of_sruns_limits_and_measures_every_node(cluster, nodes, tmp_path) -> None:
    (tmp_path / "caps.toml").write_text(SWEEP.format(over="power_cap_w = [150, 250]"))
    output = cluster.run(
        f"{WATTLAW} sweep start caps.toml -o .\necho code $?\n", tmp_path, nodes.variables, TWO_GPUS
    )
    assert "code 0" in output
    for run in wattlaw.load_runs(tmp_path / "caps"):
        held = limits(tmp_path / "caps")
        assert run.setting.power_cap_w in (150, 250)
        assert sorted(held) == ["a", "b"]
    assert nodes.all("limit_w") == [380] * 4


def test_a_sweep_of_sruns_requests_clocks_from_slurm(cluster, nodes, tmp_path) -> None:
    nodes.set(may_set=0, sm_application=900)
    (tmp_path / "clocks.toml").write_text(
        SWEEP.format(over="sm_clock_mhz = [900, 1200]").replace("caps", "clocks")
    )
    output = cluster.run(
        f"{WATTLAW} sweep start clocks.toml -o .\necho code $?\n",
        tmp_path,
        nodes.variables,
        TWO_GPUS,
    )
    assert "code 0" in output, output
    warned = {
        run.setting.sm_clock_mhz: {n.name for n in run.warnings}
        for run in wattlaw.load_runs(tmp_path / "clocks")
    }
    assert "clock_not_as_asked" not in warned[900]
    assert "clock_not_as_asked" in warned[1200]


def energies(folder: Path) -> tuple[set[str], dict]:
    result = json.loads((folder / "cost.json").read_text())
    gpus = {
        f"{i['device']} on {i['host']}"
        for i in result["items"]
        if i["boundary"] == "gpu" and i["device"]
    }
    return gpus, result


COST = f"{WATTLAW} measure -q --to cost.json -o runs"


def test_a_job_without_gpus_reads_no_gpu_of_other_jobs(cluster, nodes, tmp_path) -> None:
    cluster.run(f"{COST} -- srun sleep 1", tmp_path, nodes.variables, "-N2 -n2")
    assert energies(tmp_path)[0] == set()


def test_gpus_bound_to_tasks_are_all_read_from_outside_the_step(cluster, nodes, tmp_path) -> None:
    ask = "-N2 --ntasks-per-node=2 --gpus-per-task=1"
    cluster.run(f"{COST} -- srun sleep 1", tmp_path, nodes.variables, ask)
    assert energies(tmp_path)[0] == {"gpu:0 on a", "gpu:1 on a", "gpu:0 on b", "gpu:1 on b"}


def test_a_sampler_that_sees_one_tasks_gpu_gives_no_energy_of_all(cluster, nodes, tmp_path) -> None:
    ask = "-N2 --ntasks-per-node=2 --gpus-per-task=1"
    cluster.run(f"srun {COST} -- sleep 1", tmp_path, nodes.variables, ask)
    result = energies(tmp_path)[1]
    assert result["overall"]["quantities"]["gpu_energy_j"]["value"] is None
    assert "gpus_unread" in {w["name"] for w in result["warnings"]}


# this test is last, because Slurm holds a node for a minute after its sruns are killed
@pytest.mark.parametrize("form", ["{measure} -- srun sleep 9", "srun {measure} -- sleep 9"])
def test_the_guards_of_all_nodes_outlive_everything_else(
    cluster, nodes, tmp_path, form: str
) -> None:
    script = form.format(measure=f"{WATTLAW} measure -q -o runs --power-cap-w 200")
    cluster.start(script, tmp_path, nodes.variables, TWO_GPUS)
    wait_until(lambda: nodes.all("limit_w") == [200] * 4, "the caps were never set")
    nodes.kill_all_but_guards()
    wait_until(lambda: nodes.all("limit_w") == [380] * 4, "the caps were never restored")
    cluster.ask("scancel", "--user=root")

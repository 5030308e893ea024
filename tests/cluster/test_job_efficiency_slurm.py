"""`wattlaw job` on a real sacct: slurmdbd over MariaDB, and a real epilog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml, build
from tests.real_slurm import Cluster, wait_until
from tests.real_slurm.accounting import accounted

pytestmark = pytest.mark.full

EPILOG = """
export PYTHONPATH={source} SLURM_CONF={folder}/slurm.conf
{python} -m wattlaw job $SLURM_JOB_ID > {folder}/epilog-$SLURM_JOB_ID-$SLURMD_NODENAME.txt 2>&1
"""

BURN = f"""srun {sys.executable} -c '
import time
x = bytearray(60_000_000)
while time.process_time() < 3: pass'
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("accounted")
    source = os.environ.get("PYTHONPATH", "")
    with accounted(
        folder, EPILOG.format(source=source, folder=folder, python=sys.executable)
    ) as cluster:
        yield cluster


def job(cluster: Cluster, *words: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "wattlaw", "job", *words],
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    return done.stdout, done.stderr


def newest(cluster: Cluster) -> str:
    return cluster.ask("sacct", "-X", "-n", "-P", "--format=JobIDRaw").split()[-1]


def ended(cluster: Cluster, number: str) -> None:
    def holds() -> bool:
        return cluster.ask("sacct", "-X", "-n", "-P", "-j", number, "--format=State").strip() in (
            "COMPLETED", "CANCELLED by 0",
        )  # fmt: skip

    wait_until(holds, "the job was not accounted")


def test_a_real_job_is_compared_with_its_request_also_in_its_epilog(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.run(BURN, tmp_path, ask="-N2 -n2 --gres=gpu:1 -t 10")
    number = newest(cluster)
    ended(cluster, number)
    (item,) = json.loads(job(cluster, number, "--json")[0])["items"]
    use = item["job"]
    assert (use["nodes"], use["cpus"], use["gpus"], use["limit_s"], use["state"]) == (
        2,
        2,
        2,
        600,
        "COMPLETED",
    )
    assert use["cpu_time_s"] == pytest.approx(6, rel=0.5)
    assert 2 * 60e6 < use["memory_used_bytes"] < 400e6
    assert item["energy"]["status"] == "missing"
    for node in ("a", "b"):
        shown = (cluster.folder / f"epilog-{number}-{node}.txt").read_text()
        assert shown.startswith(f"job {number} (job.sh) of root: ")
        assert "of 10 min 00 s" in shown


def test_a_running_and_a_pending_job_are_labelled(cluster: Cluster, tmp_path: Path) -> None:
    running = cluster.start("srun sleep 60", tmp_path, ask="-N1 -n1 -t 10")
    wait_until(
        lambda: "RUNNING" in job(cluster, running)[0], "the job was not accounted as running"
    )
    assert "unknown until the job ends, of 1 core" in job(cluster, running)[0]
    held = cluster.start("srun true", tmp_path, ask="-N1 -n1 -t 10 -H")
    wait_until(
        lambda: "is PENDING: it has not run" in job(cluster, held)[1],
        "the job was not accounted as waiting",
    )
    cluster.ask("scancel", running, held)
    assert "sacct knows no such job" in job(cluster, "99999")[1]


def test_the_tasks_of_an_array_are_separate_jobs(cluster: Cluster, tmp_path: Path) -> None:
    array = cluster.start("srun true", tmp_path, ask="-N1 -n1 -t 10 --array=1-2")
    wait_until(lambda: cluster.ask("squeue", "-h") == "", "the array did not end")
    ended(cluster, f"{array}_2")
    assert f"name one of them, such as {array}_" in job(cluster, array)[1]
    assert job(cluster, f"{array}_1")[0].startswith(f"job {array}_1 (job.sh) of root: COMPLETED")


def test_a_record_made_in_the_job_gives_its_gpus_and_their_energy(
    cluster: Cluster, tmp_path: Path
) -> None:
    library = build(tmp_path / "nvml")
    gpus = {name: FakeNvml(library, tmp_path / f"state-{name}") for name in ("a", "b")}
    for fake in gpus.values():
        fake.set(0, load=1)
    variables = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(tmp_path / "state")}
    script = f"{sys.executable} -m wattlaw measure -q -o runs -- srun sleep 4\n"
    cluster.run(script, tmp_path, variables, "-N2 -n2 --gres=gpu:2 -t 10")
    number = newest(cluster)
    ended(cluster, number)
    (item,) = json.loads(job(cluster, number, "--runs", str(tmp_path / "runs"), "--json")[0])[
        "items"
    ]
    assert item["energy"]["status"] == "measured" or "status" not in item["energy"]
    assert sorted(item["idle"]) == ["gpu:1 on a", "gpu:1 on b"]
    assert item["advice"][0] == "2 of 4 GPUs were idle: request 2 GPUs"

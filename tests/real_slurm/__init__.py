"""A real Slurm of two nodes, both on this machine, each with two devices as GPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

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
ReturnToService=2
MpiDefault=none
GresTypes=gpu
TaskProlog={folder}/prolog.sh
SlurmdParameters=config_overrides
NodeName=a NodeHostname=localhost NodeAddr=127.0.0.1 Port={a} CPUs=2 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
NodeName=b NodeHostname=localhost NodeAddr=127.0.0.1 Port={b} CPUs=2 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=a,b Default=YES MaxTime=INFINITE State=UP
"""

NO_ACCOUNTING = """
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
"""

PROLOG = """#!/bin/sh
[ -z "$WATTLAW_STATE" ] || echo "export WATTLAW_STATE=$WATTLAW_STATE-$SLURMD_NODENAME"
"""
"""Both nodes are one machine, so each gets its own folder for state."""

GPUS = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
"""Slurm needs a device file for each GPU. Any file works without control groups."""


class Cluster:
    """A running Slurm; ``environment`` is where its commands find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(
        self,
        script: str,
        where: Path,
        variables: Mapping[str, str] | None = None,
        ask: str = "-N2 -n4",
    ) -> str:
        """Run a batch script to its end and return its output."""
        self._sbatch(script, where, variables, ask, "--wait")
        return (where / "out.txt").read_text()

    def start(
        self,
        script: str,
        where: Path,
        variables: Mapping[str, str] | None = None,
        ask: str = "-N2 -n4",
    ) -> str:
        """Submit a batch script and return its job's number."""
        return self._sbatch(script, where, variables, ask, "--parsable").strip()

    def ask(self, *words: str) -> str:
        """Run one of Slurm's commands and return its output."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def _sbatch(
        self, script: str, where: Path, variables: Mapping[str, str] | None, ask: str, how: str
    ) -> str:
        path = where / "job.sh"
        source = os.environ.get("PYTHONPATH", "")
        path.write_text(
            f"#!/bin/bash\n#SBATCH {ask} -o out.txt\nexport PYTHONPATH={source}\n{script}"
        )
        environment = {**self.environment, **(variables or {})}
        words = ["sbatch", how, str(path)]
        return subprocess.run(
            words,
            env=environment,
            cwd=where,
            check=False,
            timeout=180,
            capture_output=True,
            text=True,
        ).stdout


@contextlib.contextmanager
def running(folder: Path, more: str = NO_ACCOUNTING) -> Iterator[Cluster]:
    """Run a Slurm in a folder; ``more`` lines of configuration say how it accounts."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))) or os.geteuid() != 0:
        pytest.skip("needs root and Slurm: apt install slurmctld slurmd slurm-client munge")
    port, a, b = free_ports(3)
    text = CONFIGURATION.format(folder=folder, port=port, a=a, b=b)
    (folder / "slurm.conf").write_text(text + more)
    (folder / "gres.conf").write_text(GPUS)
    (folder / "prolog.sh").write_text(PROLOG)
    (folder / "prolog.sh").chmod(0o755)
    (folder / "state").mkdir()
    cluster = Cluster(folder)
    start_munge()
    daemons = [
        subprocess.Popen(
            words, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for words in (
            ["slurmctld", "-i", "-D"],
            ["slurmd", "-D", "-N", "a"],
            ["slurmd", "-D", "-N", "b"],
        )
    ]
    try:
        wait_until(
            lambda: cluster.ask("sinfo", "-ho", "%D%t") == "2idle\n", "Slurm did not come up"
        )
        yield cluster
    finally:
        # a step that still runs would outlive the daemons
        cluster.ask("scancel", "--user=root")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not cluster.ask("squeue", "-h"), "jobs remain", 20)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:  # it still waits for the end of a job
                daemon.kill()
                daemon.wait()


def free_ports(count: int) -> list[int]:
    """Return free ports, because another Slurm of the tests may run in parallel."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def start_munge() -> None:
    """Start the daemon of munge if none runs."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged --force"], check=True)


def wait_until(holds: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    """Wait for a condition; fail with ``otherwise`` at the deadline."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.1)

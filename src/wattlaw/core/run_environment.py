"""What a run depends on besides its setting: machine, system, libraries, scheduler, source."""

from __future__ import annotations

import datetime
import os
import platform
import socket
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from wattlaw.core.cores import cpu_name as cpu_name
from wattlaw.core.cores import usable_cores as usable_cores

_LIBRARIES = (
    "wattlaw",
    "torch",
    "numpy",
    "transformers",
    "torch-geometric",
    "timm",
    "nvidia-ml-py",
    "psutil",
)
_SCHEDULER = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_NNODES",
    "SLURM_JOB_PARTITION",
    "PBS_JOBID",
    "LSB_JOBID",
)
_SWITCHES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
    "NCCL_DEBUG",
    "PYTORCH_CUDA_ALLOC_CONF",
)


class Environment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where a trial runs. ``clock`` is one moment as (monotonic s, UTC time)."""

    host: str
    system: str
    python: str
    cpu_name: str
    cores: int
    cores_of_machine: int
    memory_bytes: int
    libraries: dict[str, str] = {}
    scheduler: dict[str, str] = {}
    switches: dict[str, str] = {}
    git_commit: str = ""
    git_changed: bool = False
    clock: tuple[float, str] = (0.0, "")


def capture() -> Environment:
    """Return the environment of this process; never raises."""
    commit, changed = _git(Path())
    return Environment(
        host=socket.gethostname(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu_name=cpu_name(),
        cores=usable_cores(),
        cores_of_machine=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        libraries=_versions(),
        scheduler=_variables(_SCHEDULER),
        switches=_variables(_SWITCHES),
        git_commit=commit,
        git_changed=changed,
        clock=(time.monotonic(), utc_now()),
    )


def utc_now() -> str:
    """Return the time as "2026-11-23T05:06:41.123Z"."""
    now = datetime.datetime.now(datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _versions() -> dict[str, str]:
    versions = {name: _version(name) for name in _LIBRARIES}
    return {name: version for name, version in versions.items() if version}


def _variables(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _git(folder: Path) -> tuple[str, bool]:
    def ask(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return commit, bool(commit and ask("status", "--porcelain", "--untracked-files=no"))

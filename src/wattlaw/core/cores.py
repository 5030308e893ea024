"""The CPU cores that a job may use, and the processor's name."""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path


def usable_cores() -> int:
    """Return the CPU cores that this process may use: its affinity, limited by its cgroup."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota))) if quota else cores


@functools.cache
def cpu_name() -> str:
    """Return the processor's name as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or "unknown"
    return platform.processor() or platform.machine()


def _cgroup_quota() -> float | None:
    for read in (_quota_v2, _quota_v1):
        try:
            quota, period = read()
            return None if quota in ("max", "-1") else int(quota) / int(period)
        except (OSError, ValueError):
            continue
    return None


def _quota_v2() -> list[str]:
    return Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()


def _quota_v1() -> list[str]:
    folder = Path("/sys/fs/cgroup/cpu")
    return [
        (folder / name).read_text(encoding="utf-8").strip()
        for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    ]

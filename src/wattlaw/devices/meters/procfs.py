"""CPU time and memory of the job's processes, and how busy the machine is, from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.proctree import ProcessTree

NAMES = {"procfs": "Procfs"}

_SLOW_S = 5e-4
"""Counters that take more CPU time than this to read (many cores) are read once a second."""

_FEW = 32
"""The memory of up to this many processes is read each time, of more about once a second."""


class Procfs(Meter):
    """Two devices: "job" (its processes) and "node" (the whole machine's cores and memory)."""

    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.tree = ProcessTree(
            scope.root_pid, scope.excluded, scope.proc, scope.slurm_job, scope.mark
        )
        self.busy: tuple[float, float] | None = None
        self.is_slow = False

    def probe(self) -> Probe:
        try:
            begin = time.thread_time()
            self.busy = _machine(self.scope.proc)
            self.is_slow = time.thread_time() - begin > _SLOW_S
            self.tree.update()
        except (OSError, ValueError) as error:
            return Probe(
                meter="procfs",
                reason=f"{self.scope.proc} cannot be read: {error}",
                grant="mount -t proc proc /proc",
            )
        job = DeviceInfo(id="job", boundary="job", meter="procfs", name="processes of the job")
        node = DeviceInfo(
            id="node",
            boundary="node",
            meter="procfs",
            name="the machine's cores and memory",
            reason="no meter of the whole node's energy",
        )
        return Probe(meter="procfs", devices=(job, node))

    def read(self) -> list[Sample]:
        now = time.monotonic()
        try:
            self.tree.update(now)
        except OSError as error:
            raise DeviceError(f"{self.scope.proc} cannot be read: {error}") from error
        used = None
        if len(self.tree.alive) <= _FEW:
            used = self.tree.memory_bytes() or None
        job = Sample(
            time_s=now,
            device="job",
            cpu_time_s=self.tree.cpu_s,
            processes=self.tree.processes(),
            memory_used_bytes=used,
        )
        return [job] if self.is_slow else [job, *self._node()]

    def read_slow(self) -> list[Sample]:
        used = _memory_used(self.scope.proc)
        rows = [Sample(time_s=time.monotonic(), device="node", memory_used_bytes=used)]
        if self.is_slow:
            rows += self._node()
        if len(self.tree.alive) > _FEW:
            used = self.tree.memory_bytes() or None
            rows.append(Sample(time_s=time.monotonic(), device="job", memory_used_bytes=used))
        return rows

    def _node(self) -> list[Sample]:
        now = time.monotonic()
        busy, total = _machine(self.scope.proc)
        before, self.busy = self.busy, (busy, total)
        share = None
        if before and total > before[1]:
            share = min(1.0, max(0.0, (busy - before[0]) / (total - before[1])))
        return [Sample(time_s=now, device="node", utilisation=share)]


def _machine(proc: str) -> tuple[float, float]:
    """Return busy and total ticks of all cores; waiting for a disk is idle, stolen time neither."""
    with open(os.path.join(proc, "stat"), "rb", buffering=0) as file:
        ticks = [int(t) for t in file.read(512).split(b"\n", 1)[0].split()[1:9]]
    user, nice, system, idle, waiting, interrupts, soft, _stolen = ticks
    busy = user + nice + system + interrupts + soft
    return busy, busy + idle + waiting


def _memory_used(proc: str) -> int | None:
    try:
        lines = Path(proc, "meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        total_kib, available_kib = (int(fields[n].split()[0]) for n in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return None
    return (total_kib - available_kib) * 1024

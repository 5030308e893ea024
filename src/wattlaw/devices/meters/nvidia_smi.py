"""NVIDIA GPUs through the program nvidia-smi, if NVML cannot be loaded (in some containers)."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import shutil
import subprocess
import time

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import (
    LINK_BYTES,
    DeviceInfo,
    EnergyBy,
    Meter,
    Probe,
    Sample,
    Scope,
    scaled,
)
from wattlaw.devices.nvml_devices import LIBRARY, visible_devices

NAMES = {"nvidia-smi": "NvidiaSmi"}

_PERIOD_MS = 100
_START_S = 20.0
_FIELDS = (
    "index", "uuid", "name", "power.draw", "utilization.gpu", "utilization.memory", "memory.used",
    "temperature.gpu", "clocks.sm", "clocks.mem", "power.limit",
)  # fmt: skip
_MIB = 2**20


class NvidiaSmi(Meter):
    """Follows one nvidia-smi that prints power ten times a second; it has no energy counter.

    The time of a reading is when its line arrived, a few milliseconds after the device was read.
    """

    boundaries = ("gpu",)
    priority = 50

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.process: subprocess.Popen[bytes] | None = None
        self.rest = b""
        self.ids: dict[str, str] = {}

    def probe(self) -> Probe:
        with contextlib.suppress(OSError):
            ctypes.CDLL(LIBRARY)
            return Probe(meter="nvidia-smi", reason="not needed: NVML is available")
        if self.scope.gpus == () or not shutil.which("nvidia-smi"):
            return Probe(meter="nvidia-smi", reason="no nvidia-smi on the PATH")
        query = f"--query-gpu={','.join(_FIELDS)}"
        words = ["nvidia-smi", query, "--format=csv,noheader,nounits", f"--loop-ms={_PERIOD_MS}"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        try:
            return self._devices(self._first_rows())
        except DeviceError as error:
            self.close()
            return Probe(meter="nvidia-smi", reason=str(error))

    def read(self) -> list[Sample]:
        if self.process is None or (self.process.poll() is not None and not self._ready(0)):
            raise DeviceError("nvidia-smi has ended")
        newest: dict[str, Sample] = {}
        for row in self._rows(0):
            if row[0] in self.ids:
                newest[row[0]] = _sample(self.ids[row[0]], row)
        return list(newest.values())

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate()
            self.process = None

    def _first_rows(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            for row in self._rows(0.2):
                if row[0] in found:  # the second round has begun, so the first is whole
                    return found
                found[row[0]] = row
            if self.process is not None and self.process.poll() is not None:
                break
        if found:
            return found
        raise DeviceError("nvidia-smi lists no GPU")

    def _devices(self, rows: dict[str, list[str]]) -> Probe:
        order = sorted(rows, key=int)
        chosen = visible_devices(self.scope.gpus, [rows[index][1] for index in order])
        infos = [_info(rows[order[one.gpu]]) for one in chosen if not one.mig]
        self.ids = {info.id.partition(":")[2]: info.id for info in infos}
        reason = "" if infos else "no GPU that the job may use"
        if any(one.mig for one in chosen):
            reason = "a MIG instance has no power of its own"
        return Probe(meter="nvidia-smi", devices=tuple(infos), reason=reason)

    def _ready(self, wait_s: float) -> bool:
        assert self.process is not None
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], wait_s)[0])

    def _rows(self, wait_s: float) -> list[list[str]]:
        assert self.process is not None
        assert self.process.stdout is not None
        while self._ready(wait_s):
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                break
            self.rest += piece
            wait_s = 0
        *lines, self.rest = self.rest.split(b"\n")
        rows = []
        for line in lines:
            row = list(map(str.strip, line.decode(errors="replace").split(",")))
            if len(row) == len(_FIELDS) and row[0].isdigit():
                rows.append(row)
        return rows


def _info(row: list[str]) -> DeviceInfo:
    limit, power = _number(row[10]), _number(row[3])
    energy: EnergyBy = "power"
    reason = ""
    if power is None:
        energy, reason = "none", "nvidia-smi reports no power of it"
    return DeviceInfo(
        id=f"gpu:{row[0]}",
        boundary="gpu",
        meter="nvidia-smi",
        name=row[2],
        uuid=row[1],
        energy=energy,
        limits={} if limit is None else {"power_limit_w": limit},
        update_s=_PERIOD_MS / 1000,
        reason=reason,
        lacks=dict.fromkeys(LINK_BYTES, "nvidia-smi has no such counters"),
    )


def _sample(device: str, row: list[str]) -> Sample:
    used_mib = _number(row[6])
    return Sample(
        time_s=time.monotonic(),
        device=device,
        power_w=_number(row[3]),
        utilisation=scaled(_number(row[4]), 0.01),
        memory_utilisation=scaled(_number(row[5]), 0.01),
        memory_used_bytes=_whole_bytes(used_mib),
        temperature_c=_number(row[7]),
        sm_clock_mhz=_number(row[8]),
        memory_clock_mhz=_number(row[9]),
    )


def _whole_bytes(mib: float | None) -> int | None:
    return int(mib * _MIB) if mib is not None and math.isfinite(mib) else None


def _number(text: str) -> float | None:
    # "[N/A]", "[Not Supported]" and the like are not readings
    try:
        return float(text)
    except ValueError:
        return None

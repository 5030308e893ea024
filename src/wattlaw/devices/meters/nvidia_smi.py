"""NVIDIA GPUs through the program nvidia-smi, where its library cannot be loaded (some containers)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import subprocess
import time

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import LINK_BYTES, DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.nvml_devices import LIBRARY, wanted_devices

NAMES = {"nvidia-smi": "NvidiaSmi"}

_PERIOD_MS = 100
_START_S = 20.0
_FIELDS = (
    "index", "uuid", "name", "power.draw", "utilization.gpu", "utilization.memory", "memory.used",
    "temperature.gpu", "clocks.sm", "clocks.mem", "power.limit",
)  # fmt: skip
_MIB = 2**20


class NvidiaSmi(Meter):
    """Follows one nvidia-smi that prints ten times a second; power only, no energy counter.

    A reading's time is when its line arrived, some milliseconds after the device was read.
    """

    boundaries = ("gpu",)
    priority = 50

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.process: subprocess.Popen[bytes] | None = None
        self.rest = b""
        self.wanted: dict[str, str] = {}

    def probe(self) -> Probe:
        with contextlib.suppress(OSError):
            ctypes.CDLL(LIBRARY)
            return Probe(meter="nvidia-smi", reason="not needed: NVML itself is here")
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
            if row[0] in self.wanted:
                newest[row[0]] = _sample(self.wanted[row[0]], row)
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
        chosen = wanted_devices(self.scope.gpus, [rows[i][1] for i in order])
        infos = [_info(rows[order[one.gpu]]) for one in chosen if not one.mig]
        self.wanted = {info.id.partition(":")[2]: info.id for info in infos}
        is_mig = any(one.mig for one in chosen)
        why = (
            "a MIG instance has no power of its own"
            if is_mig
            else ""
            if infos
            else "no GPU that the job may use"
        )
        return Probe(meter="nvidia-smi", devices=tuple(infos), reason=why)

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
        rows = [
            [cell.strip() for cell in line.decode(errors="replace").split(",")] for line in lines
        ]
        return [row for row in rows if len(row) == len(_FIELDS) and row[0].isdigit()]


def _info(row: list[str]) -> DeviceInfo:
    limit, power = _number(row[10]), _number(row[3])
    return DeviceInfo(
        id=f"gpu:{row[0]}",
        boundary="gpu",
        meter="nvidia-smi",
        name=row[2],
        uuid=row[1],
        energy="none" if power is None else "power",
        limits={} if limit is None else {"power_limit_w": limit},
        update_s=_PERIOD_MS / 1000,
        reason="" if power is not None else "nvidia-smi gives no power of it",
        lacks=dict.fromkeys(LINK_BYTES, "nvidia-smi has no such counters"),
    )


def _sample(device: str, row: list[str]) -> Sample:
    use, memory_use, used = _number(row[4]), _number(row[5]), _number(row[6])
    return Sample(
        time_s=time.monotonic(),
        device=device,
        power_w=_number(row[3]),
        utilisation=None if use is None else use / 100,
        memory_utilisation=None if memory_use is None else memory_use / 100,
        memory_used_bytes=None if used is None else int(used * _MIB),
        temperature_c=_number(row[7]),
        sm_clock_mhz=_number(row[8]),
        memory_clock_mhz=_number(row[9]),
    )


def _number(text: str) -> float | None:
    # "[N/A]", "[Not Supported]" and their like are no reading
    try:
        return float(text)
    except ValueError:
        return None

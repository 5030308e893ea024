"""NVIDIA GPUs through NVML: energy counter or power, use, clocks, temperature, throttling, links, processes."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import (
    LINK_BYTES,
    DeviceInfo,
    EnergyBy,
    Meter,
    Probe,
    Sample,
    Scope,
    lag_of,
)
from wattlaw.devices.nvml_devices import Handle, all_handles, open_nvml, throttle_names
from wattlaw.devices.nvml_instances import Chosen, Instance, chosen_gpus, doubtful_order, word
from wattlaw.devices.nvml_links import Links, Moved, fields
from wattlaw.devices.proctree import Tree

NAMES = {"nvml": "Nvml"}

_UPDATE_S = 0.1
"""Update period of counter and power reading, s. NVML does not document it; others measured 20 to 100 ms by
model (arXiv 2312.02741), so the longest is taken."""

_POWER_INSTANT = 186
_POWER_LIMITS = {
    "power_limit_w": "GetPowerManagementLimit",
    "power_limit_enforced_w": "GetEnforcedPowerLimit",
    "power_limit_default_w": "GetPowerManagementDefaultLimit",
}
_MEMORY_V2 = 0x02000028
_GRAPHICS, _GRAPHICS_SM, _MEMORY_CLOCK, _CORE_SENSOR = 0, 1, 2, 0


class _Gpu:
    def __init__(self, info: DeviceInfo, handle: Handle, memory: Handle, is_instance: bool) -> None:
        self.info = info
        self.handle = handle
        self.memory = memory
        self.is_instance = is_instance
        self.links = None if is_instance else Links(handle)
        self.has_instant = not is_instance and fields(handle, [(_POWER_INSTANT, 0)]) != [None]
        if self.links and self.links.lacks:
            self.info = msgspec.structs.replace(info, lacks=self.links.lacks)

    def power_w(self) -> float | None:
        # the plain call averages over a second on recent GPUs; the field is the sensor's newest value. They never mix
        instant = [(_POWER_INSTANT, 0)]
        milliwatts = (
            fields(self.handle, instant)[0]
            if self.has_instant
            else self.handle.ask("GetPowerUsage")
        )
        return None if milliwatts is None else milliwatts * 1e-3


class Nvml(Meter):
    """The GPUs that the job may use. MIG instances are named as such and have no energy of their own."""

    boundaries = ("gpu",)
    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.nvml: Any = None
        self.gpus: list[_Gpu] = []
        self.tree = Tree(scope.root_pid, (), scope.proc, scope.slurm_job, scope.mark)

    def probe(self) -> Probe:
        if self.scope.gpus == ():
            return Probe(meter="nvml", reason="no GPU is used")
        try:
            self.nvml = open_nvml()
            handles = all_handles(self.nvml)
            chosen = chosen_gpus(handles, self.scope.gpus)
        except DeviceError as error:
            return Probe(meter="nvml", reason=str(error))
        self.gpus = [gpu for one in chosen if one.handle.handle is not None for gpu in _open(one)]
        lost = [
            f"gpu:{i} does not answer: {h.failed}"
            for i, h in enumerate(handles)
            if not h.is_hidden and h.ask("GetUUID") is None
        ]
        reason = "; ".join(lost) or (
            "" if self.gpus else "the driver shows no GPU that the job may use"
        )
        doubt = doubtful_order(handles) if self.scope.gpus is None else ""
        return Probe(
            meter="nvml", devices=tuple(g.info for g in self.gpus), reason=reason, doubt=doubt
        )

    def read(self) -> list[Sample]:
        found = [sample for gpu in self.gpus if (sample := self._read_one(gpu))]
        if self.gpus and not found:
            raise DeviceError(f"no GPU answers: {self.gpus[0].handle.failed}")
        return found

    def read_slow(self) -> list[Sample]:
        self.tree.update()
        return [self._read_rare(gpu) for gpu in self.gpus]

    def read_quick(self) -> list[Sample]:
        return [sample for gpu in self.gpus if (sample := _quick(gpu))]

    def close(self) -> None:
        if self.nvml is not None:
            # where the driver went away before us, nothing is left to let go of
            with contextlib.suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()
            self.nvml = None

    def _read_one(self, gpu: _Gpu) -> Sample | None:
        ask = gpu.handle.ask
        before = time.monotonic()
        millijoules = None if gpu.is_instance else ask("GetTotalEnergyConsumption")
        # the counter was read some way between the two: its time is the middle
        now = (before + time.monotonic()) / 2
        power = None if gpu.is_instance else gpu.power_w()
        use = None if gpu.is_instance else ask("GetUtilizationRates")
        throttle = ask("GetCurrentClocksEventReasons")
        if throttle is None:  # its name before R535
            throttle = ask("GetCurrentClocksThrottleReasons")
        sample = Sample(
            time_s=now,
            device=gpu.info.id,
            power_w=power,
            energy_j=None if millijoules is None else millijoules * 1e-3,
            utilisation=None if use is None else use.gpu / 100,
            memory_utilisation=None if use is None else use.memory / 100,
            memory_used_bytes=_memory_used(gpu.memory),
            temperature_c=ask("GetTemperature", _CORE_SENSOR),
            sm_clock_mhz=ask("GetClockInfo", _GRAPHICS_SM),
            memory_clock_mhz=ask("GetClockInfo", _MEMORY_CLOCK),
            throttle=None if throttle is None else throttle_names(throttle),
        )
        is_empty = all(getattr(sample, n) is None for n in Sample.__struct_fields__[2:])
        return None if is_empty else sample

    def _read_rare(self, gpu: _Gpu) -> Sample:
        before = time.monotonic()
        pcie, nvlink = (gpu.links.pcie(), gpu.links.nvlink()) if gpu.links else (Moved(), Moved())
        return Sample(
            time_s=(before + time.monotonic()) / 2,
            device=gpu.info.id,
            processes=self._strangers(gpu),
            received_bytes=pcie.received,
            sent_bytes=pcie.sent,
            nvlink_received_bytes=nvlink.received,
            nvlink_sent_bytes=nvlink.sent,
            application_sm_clock_mhz=gpu.handle.ask("GetApplicationsClock", _GRAPHICS),
            application_memory_clock_mhz=gpu.handle.ask("GetApplicationsClock", _MEMORY_CLOCK),
        )

    def _strangers(self, gpu: _Gpu) -> int | None:
        """Return how many processes on the device are not the job's; None where that cannot be seen."""
        running = gpu.memory.ask("GetComputeRunningProcesses_v3")
        if running is None:
            running = gpu.memory.ask("GetComputeRunningProcesses_v2")
        if running is None:
            return None
        ours = [self.tree.holds(int(process.pid)) for process in running]
        # a container sees the host's numbers of processes: then none can be told apart
        return None if None in ours else ours.count(False)


def _open(one: Chosen) -> list[_Gpu]:
    """Return the whole GPU where its energy is the job's or was asked for, and each of the job's instances."""
    parts = [_Gpu(_describe_instance(one, i), one.handle, i.handle, True) for i in one.instances]
    if parts and not one.is_all:
        return parts
    return [_Gpu(_describe(one), one.handle, one.handle, False), *parts]


def _describe(one: Chosen) -> DeviceInfo:
    handle = one.handle
    has_counter = handle.ask("GetTotalEnergyConsumption") is not None
    has_power = handle.ask("GetPowerUsage") is not None
    energy: EnergyBy = "counter" if has_counter else "power" if has_power else "none"
    silent = (
        "" if energy != "none" else f"the driver gives neither energy nor power: {handle.failed}"
    )
    in_whole = (
        "MIG is on: its energy is the whole GPU's, all instances together" if one.is_mig else ""
    )
    return DeviceInfo(
        id=f"gpu:{one.gpu}",
        boundary="gpu",
        meter="nvml",
        name=word(handle.ask("GetName")),
        uuid=word(handle.ask("GetUUID")),
        energy=energy,
        limits=limits(handle),
        update_s=_UPDATE_S,
        lag_s=_lag_s(handle),
        resolution_j=1e-3 if has_counter else None,
        reason=silent or in_whole,
        shared="" if one.is_all else f"{in_whole}, and others may use some of them",
    )


def _describe_instance(one: Chosen, instance: Instance) -> DeviceInfo:
    gpu = f"gpu:{one.gpu}"
    whole = f"it is a MIG instance of {gpu} ({word(one.handle.ask('GetUUID'))}), which has one power meter for all"
    where = (
        f"the job holds the whole GPU, and its energy is {gpu}'s"
        if one.is_all
        else "others may use the rest of it"
    )
    return DeviceInfo(
        id=f"{gpu}/mig:{instance.number}",
        boundary="gpu",
        meter="nvml",
        name=word(instance.handle.ask("GetName")),
        uuid=instance.uuid,
        part_of=gpu,
        reason=f"{whole}; {where}",
        lacks=dict.fromkeys(LINK_BYTES, "it is counted for the whole GPU, not for a MIG instance"),
    )


def _memory_used(handle: Handle) -> int | None:
    # before its second version the call counted what the driver keeps for itself as used
    memory = handle.ask("GetMemoryInfo", _MEMORY_V2)
    if memory is None:
        memory = handle.ask("GetMemoryInfo")
    return None if memory is None else int(memory.used)


def _quick(gpu: _Gpu) -> Sample | None:
    before = time.monotonic()
    if gpu.info.energy == "counter":
        millijoules = gpu.handle.ask("GetTotalEnergyConsumption")
        now = (before + time.monotonic()) / 2
        joules = None if millijoules is None else millijoules * 1e-3
        return None if joules is None else Sample(time_s=now, device=gpu.info.id, energy_j=joules)
    power = gpu.power_w() if gpu.info.energy == "power" else None
    now = (before + time.monotonic()) / 2
    return None if power is None else Sample(time_s=now, device=gpu.info.id, power_w=power)


def _lag_s(handle: Handle) -> float:
    """Return by how much a power reading trails, s: where only the mean over 1 s is given, half of that more."""
    is_mean = fields(handle, [(_POWER_INSTANT, 0)]) == [None] and _averages(handle)
    return _UPDATE_S / 2 + 0.5 if is_mean else lag_of(_UPDATE_S)


def _averages(handle: Handle) -> bool:
    # nvml.h, nvmlDeviceGetPowerUsage: "On Ampere (except GA100) or newer GPUs ... averaged over 1 sec interval"
    capability = handle.ask("GetCudaComputeCapability")
    return capability is not None and tuple(capability) > (8, 0)


def limits(handle: Handle) -> dict[str, float]:
    """Return the limits that a device has now, as read back: W and MHz."""
    found: dict[str, float] = {}
    for name, call in _POWER_LIMITS.items():
        value = handle.ask(call)
        if value is not None:
            found[name] = value * 1e-3
    ends = handle.ask("GetPowerManagementLimitConstraints")
    if ends is not None:
        found["power_limit_min_w"], found["power_limit_max_w"] = ends[0] * 1e-3, ends[1] * 1e-3
    for name, kind in (("sm_clock_max_mhz", _GRAPHICS_SM), ("memory_clock_max_mhz", _MEMORY_CLOCK)):
        value = handle.ask("GetMaxClockInfo", kind)
        if value is not None:
            found[name] = float(value)
    return found

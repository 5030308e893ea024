"""NVIDIA GPUs through NVML: energy, power, utilisation, clocks, temperature, throttling, links."""

from __future__ import annotations

import contextlib
import time

import msgspec

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import (
    LINK_BYTES,
    TELEMETRY_COLUMNS,
    DeviceInfo,
    EnergyBy,
    Meter,
    Probe,
    Sample,
    Scope,
    lag_of,
    scaled,
)
from wattlaw.devices.nvml_devices import (
    NvmlHandle,
    NvmlObject,
    all_handles,
    open_nvml,
    throttle_names,
)
from wattlaw.devices.nvml_instances import (
    ChosenGpu,
    MigInstance,
    chosen_gpus,
    doubtful_order,
    word,
)
from wattlaw.devices.nvml_links import LinkCounters, MovedBytes, fields
from wattlaw.devices.proctree import ProcessTree

NAMES = {"nvml": "Nvml"}

_UPDATE_S = 0.1
"""Update period of counter and power reading, s. NVML does not document it; it was measured as 20
to 100 ms by model (arXiv 2312.02741), and the longest is used."""

_POWER_INSTANT = 186
_POWER_LIMITS = {
    "power_limit_w": "GetPowerManagementLimit",
    "power_limit_enforced_w": "GetEnforcedPowerLimit",
    "power_limit_default_w": "GetPowerManagementDefaultLimit",
}
_MEMORY_V2 = 0x02000028
_GRAPHICS, _GRAPHICS_SM, _MEMORY_CLOCK, _CORE_SENSOR = 0, 1, 2, 0


class _NvmlGpu:
    """A GPU or a MIG instance, which has no energy, power and utilisation of its own."""

    def __init__(
        self, info: DeviceInfo, handle: NvmlHandle, memory: NvmlHandle, is_instance: bool
    ) -> None:
        self.info = info
        self.handle = handle
        self.memory = memory
        self.is_instance = is_instance
        self.links = None if is_instance else LinkCounters(handle)
        self.has_instant = not is_instance and fields(handle, [(_POWER_INSTANT, 0)]) != [None]
        if self.links and self.links.lacks:
            self.info = msgspec.structs.replace(info, lacks=self.links.lacks)

    def energy_j(self) -> float | None:
        """Return the energy counter."""
        if self.is_instance:
            return None
        return scaled(self.handle.ask("GetTotalEnergyConsumption"), 1e-3)

    def power_w(self) -> float | None:
        """Return the power, always from the same source.

        The plain call averages over a second on recent GPUs; the field is the sensor's newest
        value.
        """
        if self.is_instance:
            return None
        if self.has_instant:
            return scaled(fields(self.handle, [(_POWER_INSTANT, 0)])[0], 1e-3)
        return scaled(self.handle.ask("GetPowerUsage"), 1e-3)

    def utilisation(self) -> tuple[float | None, float | None]:
        """Return the utilisation of the GPU and of its memory bus."""
        use = None
        if not self.is_instance:
            use = self.handle.ask("GetUtilizationRates")
        if use is None:
            return None, None
        return use.gpu / 100, use.memory / 100

    def moved(self) -> tuple[MovedBytes, MovedBytes]:
        """Return the bytes moved over PCIe and over NVLink."""
        if self.links is None:
            return MovedBytes(), MovedBytes()
        return self.links.pcie(), self.links.nvlink()

    def throttle(self) -> str | None:
        """Return what limits the clocks."""
        bits = self.handle.ask("GetCurrentClocksEventReasons")
        if bits is None:  # its name before R535
            bits = self.handle.ask("GetCurrentClocksThrottleReasons")
        return None if bits is None else throttle_names(bits)


class Nvml(Meter):
    """The GPUs that the job may use. MIG instances have no energy of their own."""

    boundaries = ("gpu",)
    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.nvml: NvmlObject = None
        self.gpus: list[_NvmlGpu] = []
        self.tree = ProcessTree(scope.root_pid, (), scope.proc, scope.slurm_job, scope.mark)

    def probe(self) -> Probe:
        if self.scope.gpus == ():
            return Probe(meter="nvml", reason="no GPU is used")
        try:
            self.nvml = open_nvml()
            handles = all_handles(self.nvml)
            chosen = chosen_gpus(handles, self.scope.gpus)
        except DeviceError as error:
            return Probe(meter="nvml", reason=str(error))
        for one in chosen:
            if one.handle.handle is not None:
                self.gpus += _open(one)
        doubt = ""
        if self.scope.gpus is None:
            doubt = doubtful_order(handles)
        devices = tuple(gpu.info for gpu in self.gpus)
        return Probe(meter="nvml", devices=devices, reason=self._reason(handles), doubt=doubt)

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
            # if the driver is gone, nothing is left to release
            with contextlib.suppress(Exception):
                self.nvml.nvmlShutdown()
            self.nvml = None

    def _reason(self, handles: list[NvmlHandle]) -> str:
        lost = []
        for index, handle in enumerate(handles):
            if not handle.is_hidden and handle.ask("GetUUID") is None:
                lost.append(f"gpu:{index} does not answer: {handle.failed}")
            for call, error in handle.unexpected.items():
                lost.append(f"gpu:{index}: {call} failed: {error}")
        if not lost and not self.gpus:
            return "the driver reports no GPU that the job may use"
        return "; ".join(lost)

    def _read_one(self, gpu: _NvmlGpu) -> Sample | None:
        ask = gpu.handle.ask
        before = time.monotonic()
        joules = gpu.energy_j()
        # the counter was read at some moment between the two: its time is the middle
        now = (before + time.monotonic()) / 2
        busy, memory_busy = gpu.utilisation()
        sample = Sample(
            time_s=now,
            device=gpu.info.id,
            power_w=gpu.power_w(),
            energy_j=joules,
            utilisation=busy,
            memory_utilisation=memory_busy,
            memory_used_bytes=_memory_used(gpu.memory),
            temperature_c=ask("GetTemperature", _CORE_SENSOR),
            sm_clock_mhz=ask("GetClockInfo", _GRAPHICS_SM),
            memory_clock_mhz=ask("GetClockInfo", _MEMORY_CLOCK),
            throttle=gpu.throttle(),
        )
        if all(getattr(sample, name) is None for name in TELEMETRY_COLUMNS[2:]):
            return None
        return sample

    def _read_rare(self, gpu: _NvmlGpu) -> Sample:
        before = time.monotonic()
        pcie, nvlink = gpu.moved()
        return Sample(
            time_s=(before + time.monotonic()) / 2,
            device=gpu.info.id,
            processes=self._others_processes(gpu),
            received_bytes=pcie.received,
            sent_bytes=pcie.sent,
            nvlink_received_bytes=nvlink.received,
            nvlink_sent_bytes=nvlink.sent,
            application_sm_clock_mhz=gpu.handle.ask("GetApplicationsClock", _GRAPHICS),
            application_memory_clock_mhz=gpu.handle.ask("GetApplicationsClock", _MEMORY_CLOCK),
        )

    def _others_processes(self, gpu: _NvmlGpu) -> int | None:
        """Return the number of other jobs' processes on the device; None if unknown."""
        running = gpu.memory.ask("GetComputeRunningProcesses_v3")
        if running is None:
            running = gpu.memory.ask("GetComputeRunningProcesses_v2")
        if running is None:
            return None
        ours = [self.tree.holds(int(process.pid)) for process in running]
        # a container sees the process ids of its host, so whose they are is unknown
        return None if None in ours else ours.count(False)


def _open(one: ChosenGpu) -> list[_NvmlGpu]:
    """Return the job's instances, and the whole GPU if it is the job's or the user named it."""
    parts = []
    for instance in one.instances:
        info = _describe_instance(one, instance)
        parts.append(_NvmlGpu(info, one.handle, instance.handle, True))
    if parts and not one.is_all:
        return parts
    return [_NvmlGpu(_describe(one), one.handle, one.handle, False), *parts]


def _describe(one: ChosenGpu) -> DeviceInfo:
    handle = one.handle
    has_counter = handle.ask("GetTotalEnergyConsumption") is not None
    energy: EnergyBy = "counter" if has_counter else "power"
    reason = ""
    if one.is_mig:
        reason = "MIG is on: its energy is the whole GPU's, all instances together"
    shared = ""
    if not one.is_all:
        shared = f"{reason}, and other jobs may use some of them"
    if not has_counter and handle.ask("GetPowerUsage") is None:
        energy = "none"
        reason = f"the driver reports neither energy nor power: {handle.failed}"
    return DeviceInfo(
        id=f"gpu:{one.gpu}",
        boundary="gpu",
        meter="nvml",
        name=word(handle.ask("GetName")) or "NVIDIA GPU",
        uuid=word(handle.ask("GetUUID")),
        energy=energy,
        limits=limits(handle),
        update_s=_UPDATE_S,
        lag_s=_lag_s(handle),
        resolution_j=1e-3 if has_counter else None,
        reason=reason,
        shared=shared,
    )


def _describe_instance(one: ChosenGpu, instance: MigInstance) -> DeviceInfo:
    gpu = f"gpu:{one.gpu}"
    parent = f"{gpu} ({word(one.handle.ask('GetUUID'))})"
    where = "other jobs may use the rest of it"
    if one.is_all:
        where = f"the job has the whole GPU, and its energy is {gpu}'s"
    return DeviceInfo(
        id=f"{gpu}/mig:{instance.number}",
        boundary="gpu",
        meter="nvml",
        name=word(instance.handle.ask("GetName")),
        uuid=instance.uuid,
        part_of=gpu,
        reason=f"it is a MIG instance of {parent}, which has one power meter; {where}",
        lacks=dict.fromkeys(LINK_BYTES, "it is counted for the whole GPU, not for a MIG instance"),
    )


def _memory_used(handle: NvmlHandle) -> int | None:
    # the first version of the call counted memory that the driver reserves as used
    memory = handle.ask("GetMemoryInfo", _MEMORY_V2)
    if memory is None:
        memory = handle.ask("GetMemoryInfo")
    return None if memory is None else int(memory.used)


def _quick(gpu: _NvmlGpu) -> Sample | None:
    before = time.monotonic()
    joules = watts = None
    if gpu.info.energy == "counter":
        joules = gpu.energy_j()
    elif gpu.info.energy == "power":
        watts = gpu.power_w()
    if joules is None and watts is None:
        return None
    now = (before + time.monotonic()) / 2
    return Sample(time_s=now, device=gpu.info.id, energy_j=joules, power_w=watts)


def _lag_s(handle: NvmlHandle) -> float:
    """Return the mean delay of a power reading, s; a mean over 1 s is half a second later."""
    is_mean = fields(handle, [(_POWER_INSTANT, 0)]) == [None] and _averages(handle)
    return _UPDATE_S / 2 + 0.5 if is_mean else lag_of(_UPDATE_S)


def _averages(handle: NvmlHandle) -> bool:
    # nvml.h, nvmlDeviceGetPowerUsage: on Ampere (except GA100) or newer, a mean over 1 s
    capability = handle.ask("GetCudaComputeCapability")
    return capability is not None and tuple(capability) > (8, 0)


def limits(handle: NvmlHandle) -> dict[str, float]:
    """Return the limits in force, as read back: W and MHz."""
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

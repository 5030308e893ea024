"""AMD GPUs through AMD SMI: energy, power, use, clocks, temperature."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from pathlib import Path
from typing import Any, TypeAlias

from wattlaw.core.errors import described
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
from wattlaw.devices.nvml_devices import VisibleDevice, visible_devices
from wattlaw.devices.plausible import is_sentinel

NAMES = {"amdsmi": "AmdSmi"}

Smi: TypeAlias = Any
"""The module amdsmi, or an object or answer of it: the library has no types."""

_LIMITS = {
    "power_cap": "power_limit_w",
    "min_power_cap": "power_limit_min_w",
    "max_power_cap": "power_limit_max_w",
}
_MICROJOULE = 1e-6
_UPDATE_S = 1e-3
_MIB = 2**20
_UNKNOWN = 0xFFFF
"""What the firmware's tables of 16-bit values hold where they have no value."""


class AmdSmi(Meter):
    """The AMD GPUs that the job may use.

    Power is the socket's. The energy counter counts in units of ``counter_resolution`` µJ (AMD
    SMI's documentation of ``amdsmi_get_energy_count``).
    """

    boundaries = ("gpu",)
    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.smi: Smi = None
        self.handles: list[tuple[str, Smi]] = []

    def probe(self) -> Probe:
        if self.scope.gpus == ():
            return Probe(meter="amdsmi", reason="no GPU is used")
        if not (Path(self.scope.sys) / "class" / "kfd").exists():
            reason = "no AMD GPU on this machine (the kernel reports no AMD compute device)"
            return Probe(meter="amdsmi", reason=reason)
        try:
            self.smi = importlib.import_module("amdsmi")
        except ImportError:
            reason = "AMD SMI's Python library is not installed"
            return Probe(meter="amdsmi", reason=reason, grant="pip install 'wattlaw[amd]'")
        except Exception as error:  # such as OSError or KeyError if there is no driver
            reason = f"AMD SMI cannot be loaded: {described(error)}"
            return Probe(meter="amdsmi", reason=reason)
        try:
            self.smi.amdsmi_init()
            found = list(self.smi.amdsmi_get_processor_handles())
        except Exception as error:
            reason = f"no AMD driver on this machine: {described(error)}"
            return Probe(meter="amdsmi", reason=reason)
        uuids = []
        for index, handle in enumerate(found):
            uuids.append(str(self._ask("amdsmi_get_gpu_device_uuid", handle) or index))
        infos = []
        for one in self._visible(found, uuids):
            if not one.mig:
                device, handle = f"gpu:{one.gpu}", found[one.gpu]
                self.handles.append((device, handle))
                infos.append(self._info(device, handle, uuids[one.gpu]))
        reason = "" if infos else "no AMD GPU that the job may use"
        return Probe(meter="amdsmi", devices=tuple(infos), reason=reason)

    def _visible(self, handles: list[Smi], uuids: list[str]) -> list[VisibleDevice]:
        """Return the GPUs of the job: HIP's variable numbers those that ROCr's leaves."""
        if self.scope.gpus is not None:
            return visible_devices(self.scope.gpus, uuids)
        names = []
        for handle, uuid in zip(handles, uuids, strict=True):
            serial = (self._ask("amdsmi_get_gpu_asic_info", handle) or {}).get("asic_serial")
            names.append(_rocr_name(serial) or uuid)
        visible = visible_devices(None, names, "ROCR_VISIBLE_DEVICES")
        for variable in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):  # HIP reads both
            if variable in os.environ:
                left = [one.gpu for one in visible]
                chosen = visible_devices(None, names, variable, numbered=left)
                return [one for one in chosen if one.gpu in left]
        return visible

    def read(self) -> list[Sample]:
        return [self._read_one(device, handle) for device, handle in self.handles]

    def close(self) -> None:
        if self.smi is not None:
            with contextlib.suppress(Exception):
                self.smi.amdsmi_shut_down()
            self.smi = None

    def _ask(self, call: str, *arguments: Smi) -> Smi:
        try:
            return getattr(self.smi, call)(*arguments)
        except Exception:
            return None  # not supported by this device, or unknown to this version of the library

    def _info(self, device: str, handle: Smi, uuid: str) -> DeviceInfo:
        has_counter = self._joules(handle) is not None
        has_power = self._watts(handle) is not None
        asic = self._ask("amdsmi_get_gpu_asic_info", handle) or {}
        cap = self._ask("amdsmi_get_power_cap_info", handle) or {}
        limits = {}
        for key, name in _LIMITS.items():
            microwatts = _number(cap.get(key))
            if microwatts is not None:
                limits[name] = microwatts * 1e-6
        energy: EnergyBy = "counter" if has_counter else "power"
        reason = ""
        if not has_counter and not has_power:
            energy, reason = "none", "AMD SMI reports neither its energy nor its power"
        return DeviceInfo(
            id=device,
            boundary="gpu",
            meter="amdsmi",
            name=str(asic.get("market_name", "AMD GPU")),
            uuid=uuid,
            energy=energy,
            limits=limits,
            update_s=_UPDATE_S,
            lacks=dict.fromkeys(LINK_BYTES, "AMD SMI's counters of bytes are not read"),
            reason=reason,
            may_mirror=True,
        )

    def _read_one(self, device: str, handle: Smi) -> Sample:
        joules, now = self._joules(handle), time.monotonic()
        use = self._ask("amdsmi_get_gpu_activity", handle) or {}
        memory = self._ask("amdsmi_get_gpu_vram_usage", handle) or {}
        used_mib = _number(memory.get("vram_used"))
        return Sample(
            time_s=now,
            device=device,
            power_w=self._watts(handle),
            energy_j=joules,
            utilisation=scaled(_number(use.get("gfx_activity")), 0.01),
            memory_utilisation=scaled(_number(use.get("umc_activity")), 0.01),
            memory_used_bytes=None if used_mib is None else int(used_mib * _MIB),
            temperature_c=self._celsius(handle),
            sm_clock_mhz=self._clock(handle, "GFX"),
            memory_clock_mhz=self._clock(handle, "MEM"),
        )

    def _joules(self, handle: Smi) -> float | None:
        count = self._ask("amdsmi_get_energy_count", handle) or {}
        # the key's name changed between releases
        ticks = _number(count.get("energy_accumulator", count.get("power")))
        unit = _number(count.get("counter_resolution"))
        return None if ticks is None or unit is None else ticks * unit * _MICROJOULE

    def _watts(self, handle: Smi) -> float | None:
        power = self._ask("amdsmi_get_power_info", handle) or {}
        for key in ("current_socket_power", "average_socket_power", "socket_power"):
            watts = _number(power.get(key))
            if watts is not None:
                return watts
        return None

    def _celsius(self, handle: Smi) -> float | None:
        kinds, metric = self.smi.AmdSmiTemperatureType, self.smi.AmdSmiTemperatureMetric.CURRENT
        for kind in (kinds.HOTSPOT, kinds.EDGE):
            celsius = _number(self._ask("amdsmi_get_temp_metric", handle, kind, metric))
            if celsius is not None:
                return celsius
        return None

    def _clock(self, handle: Smi, kind: str) -> float | None:
        kind_of_clock = getattr(self.smi.AmdSmiClkType, kind)
        clock = self._ask("amdsmi_get_clock_info", handle, kind_of_clock) or {}
        return _number(clock.get("clk", clock.get("cur_clk")))


def _rocr_name(serial: object) -> str:
    """Return ROCr's name of a GPU, such as GPU-4b2c1a9f790b1234; "" without a serial number."""
    try:
        return f"GPU-{int(str(serial), 16):016x}"
    except ValueError:
        return ""


def _number(value: object) -> float | None:
    # the library returns "N/A" if a device reports no value
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return None if value == _UNKNOWN or is_sentinel(value) else float(value)

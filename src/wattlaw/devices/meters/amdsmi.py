"""AMD GPUs through AMD SMI (`pip install 'wattlaw[amd]'`): energy counter, power, use, clocks, temperature."""

from __future__ import annotations

import contextlib
import importlib
import time
from pathlib import Path
from typing import Any

from wattlaw.devices.meter import LINK_BYTES, DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.nvml_devices import wanted_devices

NAMES = {"amdsmi": "AmdSmi"}

_MICROJOULE = 1e-6
_UPDATE_S = 1e-3
_MIB = 2**20


class AmdSmi(Meter):
    """The AMD GPUs that the job may use.

    Power is the socket's. The energy counter counts in units of ``counter_resolution`` µJ (AMD SMI's
    documentation of ``amdsmi_get_energy_count``).
    """

    boundaries = ("gpu",)
    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.smi: Any = None
        self.handles: list[tuple[str, Any]] = []

    def probe(self) -> Probe:
        if self.scope.gpus == ():
            return Probe(meter="amdsmi", reason="no GPU is used")
        if not (Path(self.scope.sys) / "class" / "kfd").exists():
            return Probe(
                meter="amdsmi",
                reason="no AMD GPU here (the kernel shows no compute device of AMD's)",
            )
        try:
            self.smi = importlib.import_module("amdsmi")
        except ImportError:
            return Probe(meter="amdsmi", reason="AMD SMI's Python library is not installed",
                         grant="pip install 'wattlaw[amd]'")  # fmt: skip
        except (
            OSError,
            KeyError,
        ) as error:  # its loader fails in its own ways where there is no driver
            return Probe(meter="amdsmi", reason=f"AMD SMI cannot be loaded: {error}")
        try:
            self.smi.amdsmi_init()
            found = list(self.smi.amdsmi_get_processor_handles())
        except self.smi.AmdSmiException as error:
            return Probe(meter="amdsmi", reason=f"no AMD driver here: {error}")
        uuids = [
            str(self._ask("amdsmi_get_gpu_device_uuid", h) or index)
            for index, h in enumerate(found)
        ]
        chosen = [
            one.gpu
            for one in wanted_devices(self.scope.gpus, uuids, "HIP_VISIBLE_DEVICES")
            if not one.mig
        ]
        self.handles = [(f"gpu:{index}", found[index]) for index in chosen]
        infos = [
            self._info(device, handle, uuids[int(device[4:])]) for device, handle in self.handles
        ]
        return Probe(
            meter="amdsmi",
            devices=tuple(infos),
            reason="" if infos else "no AMD GPU that the job may use",
        )

    def read(self) -> list[Sample]:
        return [self._read_one(device, handle) for device, handle in self.handles]

    def close(self) -> None:
        if self.smi is not None:
            with contextlib.suppress(self.smi.AmdSmiException):
                self.smi.amdsmi_shut_down()
            self.smi = None

    def _ask(self, call: str, *arguments: Any) -> Any:
        try:
            return getattr(self.smi, call)(*arguments)
        except (self.smi.AmdSmiException, AttributeError):
            return None  # not supported by this device, or unknown to this version of the library

    def _info(self, device: str, handle: Any, uuid: str) -> DeviceInfo:
        has_counter = self._joules(handle) is not None
        has_power = self._watts(handle) is not None
        asic = self._ask("amdsmi_get_gpu_asic_info", handle) or {}
        cap = self._ask("amdsmi_get_power_cap_info", handle) or {}
        names = {
            "power_cap": "power_limit_w",
            "min_power_cap": "power_limit_min_w",
            "max_power_cap": "power_limit_max_w",
        }
        limits = {
            names[k]: value * 1e-6 for k in names if (value := _number(cap.get(k))) is not None
        }
        return DeviceInfo(
            id=device,
            boundary="gpu",
            meter="amdsmi",
            name=str(asic.get("market_name", "AMD GPU")),
            uuid=uuid,
            energy="counter" if has_counter else "power" if has_power else "none",
            limits=limits,
            update_s=_UPDATE_S,
            lacks=dict.fromkeys(LINK_BYTES, "AMD SMI's counters of bytes are not read"),
            reason=""
            if has_counter or has_power
            else "AMD SMI gives neither energy nor power of it",
        )

    def _read_one(self, device: str, handle: Any) -> Sample:
        joules, now = self._joules(handle), time.monotonic()
        use = self._ask("amdsmi_get_gpu_activity", handle) or {}
        memory = self._ask("amdsmi_get_gpu_vram_usage", handle) or {}
        core, used = _number(use.get("gfx_activity")), _number(memory.get("vram_used"))
        bus = _number(use.get("umc_activity"))
        return Sample(
            time_s=now,
            device=device,
            power_w=self._watts(handle),
            energy_j=joules,
            utilisation=None if core is None else core / 100,
            memory_utilisation=None if bus is None else bus / 100,
            memory_used_bytes=None if used is None else int(used * _MIB),
            temperature_c=self._celsius(handle),
            sm_clock_mhz=self._clock(handle, "GFX"),
            memory_clock_mhz=self._clock(handle, "MEM"),
        )

    def _joules(self, handle: Any) -> float | None:
        count = self._ask("amdsmi_get_energy_count", handle) or {}
        # the key's name changed between releases
        ticks = _number(count.get("energy_accumulator", count.get("power")))
        unit = _number(count.get("counter_resolution"))
        return None if ticks is None or unit is None else ticks * unit * _MICROJOULE

    def _watts(self, handle: Any) -> float | None:
        power = self._ask("amdsmi_get_power_info", handle) or {}
        readings = (
            _number(power.get(k))
            for k in ("current_socket_power", "average_socket_power", "socket_power")
        )
        return next((watts for watts in readings if watts is not None), None)

    def _celsius(self, handle: Any) -> float | None:
        kinds, metric = self.smi.AmdSmiTemperatureType, self.smi.AmdSmiTemperatureMetric.CURRENT
        readings = (
            _number(self._ask("amdsmi_get_temp_metric", handle, kind, metric))
            for kind in (kinds.HOTSPOT, kinds.EDGE)
        )
        return next((celsius for celsius in readings if celsius is not None), None)

    def _clock(self, handle: Any, kind: str) -> float | None:
        clock = (
            self._ask("amdsmi_get_clock_info", handle, getattr(self.smi.AmdSmiClkType, kind)) or {}
        )
        return _number(clock.get("clk", clock.get("cur_clk")))


def _number(value: Any) -> float | None:
    # what a device does not give, the library answers with "N/A"
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

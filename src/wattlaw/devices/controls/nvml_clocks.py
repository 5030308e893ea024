"""Upper limits of the SM and memory clocks of NVIDIA GPUs, through NVML's locked clocks.

NVML can set and remove locked clocks but has no call that reads them. The limit in force is
therefore known only from the sampled clocks, and removing a limit means that no clock is locked.
"""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.devices.control import Allowed, Control
from wattlaw.devices.nvml_control import NvmlDriver

NAMES = {
    "sm_clock_mhz": "SmClock",
    "memory_clock_mhz": "MemoryClock",
}


class _LockedClock(Control):
    def __init__(self, word: str, call: str, switch: str) -> None:
        self.driver = NvmlDriver()
        self.word, self.call, self.switch = word, call, switch

    def devices(self, requested: Sequence[str] | None) -> list[str]:
        return self.driver.devices(requested)

    def allowed(self, device: str) -> Allowed:
        clocks = self._supported(device)
        return Allowed(float(min(clocks)), float(max(clocks)), "MHz")

    def read(self, device: str) -> float | None:
        self.driver.handle(device)
        return None

    def write(self, device: str, value: float | None) -> None:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        doing = f"setting the {self.word} clock of {device}"
        with self.driver.explained(doing, self._grant(device, value)):
            if value is None:
                getattr(nvml, f"nvmlDeviceReset{self.call}")(handle)
            else:
                lowest = min(self._supported(device))
                getattr(nvml, f"nvmlDeviceSet{self.call}")(handle, lowest, round(value))

    def close(self) -> None:
        self.driver.close()

    def _supported(self, device: str) -> list[int]:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        with self.driver.explained(f"reading the clocks of {device}", ""):
            memory: list[int] = nvml.nvmlDeviceGetSupportedMemoryClocks(handle)
            if self.word == "memory":
                return memory
            clocks: list[int] = nvml.nvmlDeviceGetSupportedGraphicsClocks(handle, max(memory))
            return clocks

    def _grant(self, device: str, value: float | None) -> str:
        megahertz = f"{value or 0:g}"
        frequency = f"memory={megahertz}" if self.word == "memory" else megahertz
        return (
            f"root may (`sudo nvidia-smi -i {self.driver.index(device)} {self.switch} "
            f"0,{megahertz}`); under Slurm no root is needed: `srun --gpu-freq={frequency}`"
        )


class SmClock(_LockedClock):
    """Upper limit of the SM clock, MHz."""

    def __init__(self) -> None:
        super().__init__("SM", "GpuLockedClocks", "-lgc")


class MemoryClock(_LockedClock):
    """Upper limit of the memory clock, MHz."""

    def __init__(self) -> None:
        super().__init__("memory", "MemoryLockedClocks", "-lmc")

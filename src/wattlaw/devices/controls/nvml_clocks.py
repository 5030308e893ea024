"""Upper limits of the SM and memory clocks of NVIDIA GPUs, through NVML's locked clocks.

NVML can set and lift locked clocks but has no call that tells them. What is in force is therefore known
only from the clocks that are sampled, and taking a limit off means that no clock is locked.
"""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.devices.control import Allowed, Control
from wattlaw.devices.nvml_control import Driver

NAMES = {
    "sm_clock_mhz": "SmClock",
    "memory_clock_mhz": "MemoryClock",
}


class _Clock(Control):
    def __init__(self, word: str, kind: int, call: str, switch: str) -> None:
        self.driver = Driver()
        self.word, self.kind, self.call, self.switch = word, kind, call, switch

    def devices(self, wanted: Sequence[str] | None) -> list[str]:
        return self.driver.devices(wanted)

    def allowed(self, device: str) -> Allowed:
        clocks = self._supported(device)
        return Allowed(float(min(clocks)), float(max(clocks)), "MHz")

    def read(self, device: str) -> float | None:
        self.driver.handle(device)
        return None

    def write(self, device: str, value: float | None) -> None:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        with self.driver.explained(
            f"setting the {self.word} clock of {device}", self._grant(device, value)
        ):
            if value is None:
                getattr(nvml, f"nvmlDeviceReset{self.call}")(handle)
            else:
                getattr(nvml, f"nvmlDeviceSet{self.call}")(
                    handle, min(self._supported(device)), round(value)
                )

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
        megahertz = "0" if value is None else f"{value:g}"
        return (
            f"root may (`sudo nvidia-smi -i {self.driver.index(device)} {self.switch} 0,{megahertz}`); under Slurm "
            f"no root is needed: `srun --gpu-freq={'memory=' if self.word == 'memory' else ''}{megahertz}`"
        )


class SmClock(_Clock):
    """Upper limit of the SM clock, MHz."""

    def __init__(self) -> None:
        super().__init__("SM", 1, "GpuLockedClocks", "-lgc")


class MemoryClock(_Clock):
    """Upper limit of the memory clock, MHz."""

    def __init__(self) -> None:
        super().__init__("memory", 2, "MemoryLockedClocks", "-lmc")

"""The power cap of NVIDIA GPUs, through NVML."""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.devices.control import Allowed, Control
from wattlaw.devices.nvml_control import NvmlDriver

NAMES = {"power_cap_w": "PowerCapControl"}


class PowerCapControl(Control):
    """The power limit of a whole GPU, W. A GPU always has one; removing it sets the default."""

    def __init__(self) -> None:
        self.driver = NvmlDriver()

    def devices(self, requested: Sequence[str] | None) -> list[str]:
        return self.driver.devices(requested)

    def allowed(self, device: str) -> Allowed:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        with self.driver.explained(f"reading the power limits of {device}", ""):
            low, high = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        return Allowed(low * 1e-3, high * 1e-3, "W")

    def read(self, device: str) -> float | None:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        with self.driver.explained(f"reading the power limit of {device}", ""):
            return float(nvml.nvmlDeviceGetPowerManagementLimit(handle)) * 1e-3

    def write(self, device: str, value: float | None) -> None:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        doing = f"setting the power limit of {device}"
        with self.driver.explained(doing, self._grant(device, value)):
            if value is None:
                milliwatts = nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
            else:
                milliwatts = round(value * 1e3)
            nvml.nvmlDeviceSetPowerManagementLimit(handle, milliwatts)

    def close(self) -> None:
        self.driver.close()

    def _grant(self, device: str, value: float | None) -> str:
        watts = "" if value is None else f" -pl {value:g}"
        return (
            f"root may (`sudo nvidia-smi -i {self.driver.index(device)}{watts}`, or wattlaw itself "
            "under sudo); on a cluster ask for a Slurm prolog that sets it"
        )

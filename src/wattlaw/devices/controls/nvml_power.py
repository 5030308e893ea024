"""The power cap of NVIDIA GPUs, through NVML."""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.devices.control import Allowed, Control
from wattlaw.devices.nvml_control import Driver

NAMES = {"power_cap_w": "PowerCap"}


class PowerCap(Control):
    """The power limit of a whole GPU, W. It always has one; taking it off sets the default."""

    def __init__(self) -> None:
        self.driver = Driver()

    def devices(self, wanted: Sequence[str] | None) -> list[str]:
        return self.driver.devices(wanted)

    def allowed(self, device: str) -> Allowed:
        with self.driver.explained(f"reading the power limits of {device}", ""):
            low, high = self.driver.nvml.nvmlDeviceGetPowerManagementLimitConstraints(
                self.driver.handle(device)
            )
        return Allowed(low * 1e-3, high * 1e-3, "W")

    def read(self, device: str) -> float | None:
        with self.driver.explained(f"reading the power limit of {device}", ""):
            return (
                float(
                    self.driver.nvml.nvmlDeviceGetPowerManagementLimit(self.driver.handle(device))
                )
                * 1e-3
            )

    def write(self, device: str, value: float | None) -> None:
        nvml, handle = self.driver.nvml, self.driver.handle(device)
        with self.driver.explained(
            f"setting the power limit of {device}", self._grant(device, value)
        ):
            milliwatts = (
                nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
                if value is None
                else round(value * 1e3)
            )
            nvml.nvmlDeviceSetPowerManagementLimit(handle, milliwatts)

    def close(self) -> None:
        self.driver.close()

    def _grant(self, device: str, value: float | None) -> str:
        watts = "" if value is None else f" -pl {value:g}"
        return (
            f"root may (`sudo nvidia-smi -i {self.driver.index(device)}{watts}`, or wattlaw itself under sudo); "
            "on a cluster ask for a Slurm prolog that sets it"
        )

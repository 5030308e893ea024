"""The role Control: it sets one kind of limit on devices. It acts only when it is asked to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple


class Allowed(NamedTuple):
    """The range that a device takes for a limit, both ends included, and the unit of both."""

    low: float
    high: float
    unit: str


class Control(ABC):
    """One kind of limit; its public name is the field of a setting that asks for it, such as "power_cap_w".

    Devices are named by UUID. Making one opens the driver and raises DeviceError where there is none.
    """

    @abstractmethod
    def devices(self, wanted: Sequence[str] | None) -> list[str]:
        """Return the UUIDs of the devices named by index or UUID; None is all that the job may use.

        Raises DeviceError for a name that fits none.
        """

    @abstractmethod
    def allowed(self, device: str) -> Allowed:
        """Return what the device takes. Raises DeviceError where it cannot say."""

    @abstractmethod
    def read(self, device: str) -> float | None:
        """Return the limit as the device has it now; None where none is set or the device cannot say."""

    @abstractmethod
    def write(self, device: str, value: float | None) -> None:
        """Set a limit; None takes it off. Raises PermissionDeniedError with the ways to get it, or DeviceError."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the driver; limits stay as they are."""

"""The role Control: it sets one kind of limit on devices, and only if the user requests it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from wattlaw.core.errors import DeviceError, WattlawError, described

Answer = TypeVar("Answer")


class Allowed(NamedTuple):
    """The range that a device accepts for a limit, both ends included, and its unit."""

    low: float
    high: float
    unit: str


class Control(ABC):
    """One kind of limit; its public name is the field of a setting, such as "power_cap_w".

    Devices are named by UUID. Its construction opens the driver and raises DeviceError if there
    is none.
    """

    @abstractmethod
    def devices(self, requested: Sequence[str] | None) -> list[str]:
        """Return the UUIDs of the devices named by index or UUID; None is all that the job may use.

        Raises DeviceError for a name that no device has.
        """

    @abstractmethod
    def allowed(self, device: str) -> Allowed:
        """Return the range that the device accepts. Raises DeviceError if none is reported."""

    @abstractmethod
    def read(self, device: str) -> float | None:
        """Return the limit in force; None if none is set or the device does not report it."""

    @abstractmethod
    def write(self, device: str, value: float | None) -> None:
        """Set a limit; None removes it.

        Raises PermissionDeniedError with the ways to get the permission, or DeviceError.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the driver; limits stay as they are."""


class CheckedControl(Control):
    """Another control, whatever it raises turned into DeviceError: its library may raise anything.

    Raises DeviceError if the other control cannot be made.
    """

    def __init__(self, name: str, make: Callable[[], Control]) -> None:
        self.name = name
        self.control = self._checked(make)

    def devices(self, requested: Sequence[str] | None) -> list[str]:
        return self._checked(lambda: self.control.devices(requested))

    def allowed(self, device: str) -> Allowed:
        return self._checked(lambda: self.control.allowed(device))

    def read(self, device: str) -> float | None:
        return self._checked(lambda: self.control.read(device))

    def write(self, device: str, value: float | None) -> None:
        self._checked(lambda: self.control.write(device, value))

    def close(self) -> None:
        self._checked(self.control.close)

    def _checked(self, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except WattlawError:
            raise
        except (Exception, SystemExit) as error:
            raise DeviceError(f"the control {self.name} failed: {described(error)}") from error

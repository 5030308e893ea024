"""Which NVIDIA devices a job may use, and NVML calls that survive what a driver lacks or refuses."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wattlaw.core.errors import DeviceError
from wattlaw.slurm.environment import gpus_of_job

LIBRARY = "libnvidia-ml.so.1"

_NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, _ARGUMENT_VERSION_MISMATCH = 3, 4, 13, 25
_FINAL = {_NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, _ARGUMENT_VERSION_MISMATCH}
"""NVML's error codes after which asking again is useless (nvml.h, nvmlReturn_t)."""


class Handle:
    """One NVML device handle. A call that fails gives None; one that the driver will never answer is not repeated.

    ``is_hidden`` tells of a device that this user may not open: CUDA does not number it.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self.handle = handle
        self.refused: set[str] = set()
        self.failed = ""
        self.is_hidden = False

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call ``nvmlDevice<name>``; None where it is refused, missing from the driver, or fails this time."""
        call = f"{name}{arguments}"
        if self.handle is None or call in self.refused:
            return None
        function = getattr(self.nvml, f"nvmlDevice{name}", None)
        if function is None:
            self.refused.add(call)
            return None
        try:
            return function(self.handle, *arguments)
        except self.nvml.NVMLError as error:
            self.failed = str(error)
            if error.value in _FINAL:
                self.refused.add(call)
        except TypeError:
            # an old package called pynvml, in front of nvidia-ml-py, takes fewer arguments
            self.failed = f"the module pynvml ({self.nvml.__file__}) is older than nvidia-ml-py 12"
            self.refused.add(call)
        return None


class Visible(NamedTuple):
    """One device that the job may use: the index of a GPU, and the UUID of a MIG instance of it or "".

    The index is -1 for an instance where nobody knows which GPU it is of.
    """

    gpu: int
    mig: str = ""


def open_nvml() -> Any:
    """Load and initialise NVML; return the module pynvml. Raises DeviceError with the plain reason."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        raise DeviceError(f"no NVIDIA driver here ({LIBRARY} is not found)") from None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise DeviceError(f"the NVIDIA driver does not answer: {error}") from None
    return pynvml


def all_handles(nvml: Any) -> list[Handle]:
    """Return a handle of every GPU, in NVML's order; of a lost one a handle of nothing. Raises DeviceError."""
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise DeviceError(f"the NVIDIA driver does not count its devices: {error}") from None
    found = []
    for index in range(count):
        try:
            found.append(Handle(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
        except nvml.NVMLError as error:
            lost = Handle(nvml, None)
            lost.failed, lost.is_hidden = str(error), error.value == _NO_PERMISSION
            found.append(lost)
    return found


def wanted_devices(
    gpus: tuple[str, ...] | None,
    uuids: list[str],
    variable: str = "CUDA_VISIBLE_DEVICES",
    instances: Mapping[str, Visible] | None = None,
    numbered: Sequence[int] | None = None,
) -> list[Visible]:
    """Return the devices that are asked for, of those with ``uuids`` that the driver shows.

    ``gpus`` None means what the environment's ``variable`` leaves, all of the job's where it is not set. As in CUDA,
    what follows a name that fits none is ignored there; a name in ``gpus`` that fits none raises DeviceError.
    ``instances`` are the MIG instances by their names; None where they are not known, and then any name of one fits.
    ``numbered`` are the devices that the variable's numbers count, in its order; None is all.
    """
    if gpus is not None:
        found = [_match(name, uuids, instances) for name in gpus]
        for name, one in zip(gpus, found, strict=True):
            if one is None:
                raise DeviceError(
                    f"there is no GPU {name!r}; valid: 0 to {len(uuids) - 1}, or a UUID"
                )
        return [one for one in found if one]
    listed = os.environ.get(variable)
    if listed is None:
        return [Visible(index) for index in gpus_of_job(len(uuids))]
    visible: list[Visible] = []
    for name in listed.split(","):
        one = _match(name.strip(), uuids, instances)
        if one is not None and name.strip().isdigit() and numbered is not None:
            one = Visible(numbered[one.gpu]) if one.gpu < len(numbered) else None
        if one is None:
            break
        visible.append(one)
    return list(dict.fromkeys(visible))


def _match(name: str, uuids: list[str], instances: Mapping[str, Visible] | None) -> Visible | None:
    if name.isdigit():
        return Visible(int(name)) if int(name) < len(uuids) else None
    if name.startswith("MIG-"):
        return Visible(-1, name) if instances is None else instances.get(name)
    if name.startswith("GPU-"):
        fitting = [i for i, uuid in enumerate(uuids) if uuid.startswith(name)]
        return Visible(fitting[0]) if len(fitting) == 1 else None
    return None


_THROTTLE = {
    0x1: "idle", 0x2: "application_clocks", 0x4: "power_cap", 0x8: "hw_slowdown", 0x10: "sync_boost",
    0x20: "thermal", 0x40: "hw_thermal", 0x80: "power_brake", 0x100: "display",
}  # fmt: skip
"""Names of the bits of nvmlClocksThrottleReasons (nvml.h)."""


def throttle_names(bits: int) -> str:
    """Return what holds the clocks down, joined by "|"; "" for nothing. Unknown bits keep their number."""
    names = [name for bit, name in _THROTTLE.items() if bits & bit]
    rest = bits & ~sum(_THROTTLE)
    return "|".join([*names, *([f"other_{rest:#x}"] if rest else [])])

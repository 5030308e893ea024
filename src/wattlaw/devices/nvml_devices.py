"""The NVIDIA devices that a job may use, and NVML calls that tolerate what a driver lacks."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from wattlaw.core.errors import DeviceError, described
from wattlaw.devices.plausible import is_sentinel
from wattlaw.slurm.job_environment import gpus_of_job

LIBRARY = "libnvidia-ml.so.1"

NvmlObject: TypeAlias = Any
"""The module pynvml, or an object or answer of it: the library has no types."""

_NEEDED = ("NVMLError", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlShutdown")
"""What a module named pynvml has if it is the library's."""

_NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, _ARGUMENT_VERSION_MISMATCH = 3, 4, 13, 25
_FINAL = {_NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, _ARGUMENT_VERSION_MISMATCH}
"""NVML's error codes after which another call is useless (nvml.h, nvmlReturn_t)."""


class NvmlHandle:
    """One NVML device handle. A call that fails gives None; one that can never succeed is not
    repeated. ``unexpected`` has what is no NVMLError, by the name of the call.

    ``is_hidden`` marks a device that this user may not open: CUDA does not number it.
    """

    def __init__(self, nvml: NvmlObject, handle: NvmlObject) -> None:
        self.nvml = nvml
        self.handle = handle
        self.refused: set[str] = set()
        self.failed = ""
        self.unexpected: dict[str, str] = {}
        self.is_hidden = False

    def ask(self, name: str, *arguments: object) -> NvmlObject:
        """Call ``nvmlDevice<name>``; None if it is refused, not in the driver, or fails."""
        call = f"{name}{arguments}"
        if self.handle is None or call in self.refused:
            return None
        function = getattr(self.nvml, f"nvmlDevice{name}", None)
        if function is None:
            self.refused.add(call)
            return None
        try:
            answer = function(self.handle, *arguments)
            return None if is_sentinel(answer) else answer
        except self.nvml.NVMLError as error:
            self.failed = str(error)
            if error.value in _FINAL:
                self.refused.add(call)
        except TypeError:
            # an old package named pynvml shadows nvidia-ml-py and takes fewer arguments
            self.failed = f"the module pynvml ({self.nvml.__file__}) is older than nvidia-ml-py 12"
            self.refused.add(call)
        except Exception as error:  # such as UnicodeDecodeError for a name that is not UTF-8
            self.failed = self.unexpected[name] = described(error)
        return None


class VisibleDevice(NamedTuple):
    """A device that the job may use: the index of a GPU, and the UUID of a MIG instance of it or
    "".

    The index is -1 for an instance whose GPU is not known.
    """

    gpu: int
    mig: str = ""


def open_nvml() -> NvmlObject:
    """Load and initialise NVML; return the module pynvml. Raises DeviceError."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        raise DeviceError(f"no NVIDIA driver on this machine ({LIBRARY} is not found)") from None
    try:
        import pynvml

        for name in _NEEDED:
            getattr(pynvml, name)
        pynvml.nvmlInit()
    except (Exception, SystemExit) as error:  # pynvml may be another file of this name
        raise DeviceError(_why_no_nvml(error)) from error
    return pynvml


def _why_no_nvml(error: BaseException) -> str:
    if type(error).__name__.startswith("NVMLError"):
        return f"the NVIDIA driver does not answer: {error}"
    where = ""
    with contextlib.suppress(ValueError, ImportError):
        spec = importlib.util.find_spec("pynvml")
        where = f" ({spec.origin})" if spec and spec.origin else ""
    return (
        f"the module pynvml{where} cannot be used: {described(error)}; wattlaw needs the one of "
        "nvidia-ml-py, and no other file of this name before it on Python's path"
    )


def all_handles(nvml: NvmlObject) -> list[NvmlHandle]:
    """Return a handle of every GPU in NVML's order, empty for a lost GPU. Raises DeviceError."""
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise DeviceError(f"the NVIDIA driver does not count its devices: {error}") from None
    found = []
    for index in range(count):
        try:
            found.append(NvmlHandle(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
        except nvml.NVMLError as error:
            lost = NvmlHandle(nvml, None)
            lost.failed, lost.is_hidden = str(error), error.value == _NO_PERMISSION
            found.append(lost)
    return found


def visible_devices(
    gpus: tuple[str, ...] | None,
    uuids: list[str],
    variable: str = "CUDA_VISIBLE_DEVICES",
    instances: Mapping[str, VisibleDevice] | None = None,
    numbered: Sequence[int] | None = None,
) -> list[VisibleDevice]:
    """Return the requested devices, of those with ``uuids`` that the driver shows.

    ``gpus`` None means what the environment's ``variable`` leaves, or all of the job's if it is
    not set. As in CUDA, names that follow an unknown one in the variable are ignored; an unknown
    name in ``gpus`` raises DeviceError. ``instances`` are the MIG instances by name; with None any
    MIG name is accepted. ``numbered`` are the devices that the variable's numbers count, in its
    order; None is all.
    """
    if gpus is not None:
        return [_requested(name, uuids, instances) for name in gpus]
    listed = os.environ.get(variable)
    if listed is None:
        return [VisibleDevice(index) for index in gpus_of_job(len(uuids))]
    visible: list[VisibleDevice] = []
    for name in map(str.strip, listed.split(",")):
        one = _match(name, uuids, instances)
        if one is not None and name.isdigit() and numbered is not None:
            if one.gpu >= len(numbered):
                break
            one = VisibleDevice(numbered[one.gpu])
        if one is None:
            break
        visible.append(one)
    return list(dict.fromkeys(visible))


def _requested(
    name: str, uuids: list[str], instances: Mapping[str, VisibleDevice] | None
) -> VisibleDevice:
    found = _match(name, uuids, instances)
    if found is None:
        raise DeviceError(f"there is no GPU {name!r}; valid: 0 to {len(uuids) - 1}, or a UUID")
    return found


def _match(
    name: str, uuids: list[str], instances: Mapping[str, VisibleDevice] | None
) -> VisibleDevice | None:
    if name.isdigit():
        return VisibleDevice(int(name)) if int(name) < len(uuids) else None
    if name.startswith("MIG-"):
        return VisibleDevice(-1, name) if instances is None else instances.get(name)
    if name in uuids:
        return VisibleDevice(uuids.index(name))
    if name.startswith("GPU-"):
        matching = [i for i, uuid in enumerate(uuids) if uuid.startswith(name)]
        if len(matching) == 1:
            return VisibleDevice(matching[0])
    return None


_THROTTLE = {
    0x1: "idle",
    0x2: "application_clocks",
    0x4: "power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "thermal",
    0x40: "hw_thermal",
    0x80: "power_brake",
    0x100: "display",
}
"""Names of the bits of nvmlClocksThrottleReasons (nvml.h)."""


def throttle_names(bits: int) -> str:
    """Return what limits the clocks, joined by "|". Unknown bits keep their number."""
    names = [name for bit, name in _THROTTLE.items() if bits & bit]
    unknown = bits & ~sum(_THROTTLE)
    if unknown:
        names.append(f"other_{unknown:#x}")
    return "|".join(names)

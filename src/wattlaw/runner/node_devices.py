"""Which devices this machine has for training, without importing torch."""

from __future__ import annotations

import functools

import msgspec

from wattlaw.core.environment import cpu_name, usable_cores
from wattlaw.core.errors import DeviceError, SettingError
from wattlaw.core.run import Machine
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.devices.nvml_devices import all_handles, open_nvml
from wattlaw.devices.nvml_instances import chosen_gpus, word


class Place(msgspec.Struct, frozen=True):
    """GPUs that training may use here, by name, and the CPU cores of this host."""

    gpus: tuple[str, ...]
    cores: int


@functools.cache
def here() -> Place:
    """Look at this machine. CUDA_VISIBLE_DEVICES bounds the GPUs, affinity and cgroup the cores."""
    return Place(_visible_names(), usable_cores())


def device_type(setting: Setting, place: Place) -> str:
    """Return "cuda" or "cpu" for a setting on this machine."""
    if setting.device_type != "auto":
        return setting.device_type
    return "cuda" if place.gpus else "cpu"


def backend(setting: Setting, place: Place) -> str:
    """Return the communication back-end of a setting on this machine."""
    if setting.backend != "auto":
        return setting.backend
    return "nccl" if device_type(setting, place) == "cuda" else "gloo"


def check_place(setting: Setting, place: Place) -> None:
    """Raise SettingError where this machine cannot carry out a setting."""
    if setting.nodes > 1:
        raise SettingError(
            f"nodes is {setting.nodes}, but this machine is one; several need a Slurm allocation"
        )
    kind = device_type(setting, place)
    if kind == "cuda" and setting.devices > len(place.gpus):
        have = counted(len(place.gpus), "GPU")
        raise SettingError(
            f"{counted(setting.devices, 'device')} asked for, but this machine has {have}"
        )
    # processes may share cores, which is a warning; far more of them than cores is a mistake
    if kind == "cpu" and setting.devices > 8 * place.cores:
        raise SettingError(
            f"{setting.devices} processes are asked for, but this machine has {counted(place.cores, 'CPU core')}"
        )
    if kind == "cpu" and setting.precision == "tf32" and not setting.command:
        raise SettingError(
            "precision tf32 is arithmetic of NVIDIA GPUs; on a CPU use fp32, bf16 or fp16"
        )
    for name in ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz"):
        if kind == "cpu" and getattr(setting, name) is not None:
            raise SettingError(f"{name} is set on GPUs, and {_none(place)}; leave it out")
    if kind == "cpu" and setting.backend == "nccl":
        raise SettingError("backend nccl needs GPUs; on a CPU use gloo")


def threads(setting: Setting, place: Place, asked: int) -> int:
    """Return the CPU threads of each process: as asked, else the cores shared evenly."""
    return asked or max(1, place.cores // setting.devices_per_node)


def machine(setting: Setting, place: Place) -> Machine:
    """Return the machine as a run's record names it."""
    kind = device_type(setting, place)
    name = place.gpus[0] if kind == "cuda" and place.gpus else cpu_name()
    return Machine(kind, name, setting.nodes, place.cores, cpu_name())


def _none(place: Place) -> str:
    return "device_type is cpu" if place.gpus else "this machine has none"


def _visible_names() -> tuple[str, ...]:
    """Return the names of the GPUs that CUDA_VISIBLE_DEVICES leaves, by index or UUID as NVML knows them."""
    try:
        nvml = open_nvml()
    except (DeviceError, ImportError):
        return ()
    try:
        chosen = chosen_gpus(all_handles(nvml), None)
        handles = [h for one in chosen for h in ([i.handle for i in one.instances] or [one.handle])]
        return tuple(word(h.ask("GetName")) for h in handles if h.handle is not None)
    except DeviceError:
        return ()
    finally:
        nvml.nvmlShutdown()

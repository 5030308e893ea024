"""Which devices this machine has for training, without importing torch."""

from __future__ import annotations

import functools
import os

import msgspec

from wattlaw.core.environment import cpu_name, usable_cores
from wattlaw.core.errors import SettingError
from wattlaw.core.run import Machine
from wattlaw.core.setting import Setting


class Place(msgspec.Struct, frozen=True):
    """GPUs that training may use here, by name, and the CPU cores of this host."""

    gpus: tuple[str, ...]
    cores: int


@functools.cache
def here() -> Place:
    """Look at this machine. CUDA_VISIBLE_DEVICES bounds the GPUs, affinity and cgroup the cores."""
    return Place(_visible(_gpu_names()), usable_cores())


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
        raise SettingError(f"nodes is {setting.nodes}, but this machine is one; several need a Slurm allocation")
    kind = device_type(setting, place)
    if kind == "cuda" and setting.devices > len(place.gpus):
        have = f"{len(place.gpus)} GPU{'s' if len(place.gpus) != 1 else ''}"
        raise SettingError(f"{setting.devices} devices are asked for, but this machine has {have}")
    # processes may share cores, which is a warning; far more of them than cores is a mistake
    if kind == "cpu" and setting.devices > 8 * place.cores:
        raise SettingError(f"{setting.devices} processes are asked for, but this machine has {place.cores} CPU cores")
    if kind == "cpu" and setting.precision in ("tf32", "fp16") and not setting.command:
        raise SettingError(f"precision {setting.precision} needs a GPU; on a CPU use fp32 or bf16")
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


def _gpu_names() -> tuple[str, ...]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        return ()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(h) for h in handles]
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)


def _visible(names: tuple[str, ...]) -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    chosen = []
    # CUDA itself stops at the first entry that names no device
    for entry in filter(None, (v.strip() for v in visible.split(","))):
        if entry.startswith(("GPU-", "MIG-")):
            chosen.append(names[0] if names else "GPU")
        elif entry.isdigit() and int(entry) < len(names):
            chosen.append(names[int(entry)])
        else:
            break
    return tuple(chosen)

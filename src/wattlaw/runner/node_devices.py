"""Which devices this node has for training, and what a setting means here; without torch."""

from __future__ import annotations

import functools

import msgspec

from wattlaw.core.errors import DeviceError, SettingError
from wattlaw.core.run import Machine
from wattlaw.core.run_environment import cpu_name, usable_cores
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.devices.nvml_devices import all_handles, open_nvml
from wattlaw.devices.nvml_instances import chosen_gpus, word

_PROCESSES_PER_CORE = 8
"""A few processes may share a core, which is a warning; more of them are a mistake."""


class NodeDevices(msgspec.Struct, frozen=True):
    """The names of the GPUs that training may use on this node, and the number of its CPU cores."""

    gpus: tuple[str, ...]
    cores: int


@functools.cache
def here() -> NodeDevices:
    """Return the devices of this node.

    CUDA_VISIBLE_DEVICES limits the GPUs; affinity and control group limit the cores.
    """
    return NodeDevices(_visible_gpus(), usable_cores())


def device_type(setting: Setting, node: NodeDevices) -> str:
    """Return "cuda" or "cpu" for a setting on a node."""
    if setting.device_type != "auto":
        return setting.device_type
    return "cuda" if node.gpus else "cpu"


def backend(setting: Setting, node: NodeDevices) -> str:
    """Return the communication back-end of a setting on a node."""
    if setting.backend != "auto":
        return setting.backend
    return "nccl" if device_type(setting, node) == "cuda" else "gloo"


def check_on_node(setting: Setting, node: NodeDevices) -> None:
    """Raise SettingError if a node cannot carry out a setting."""
    if setting.nodes > 1:
        raise SettingError(
            f"nodes is {setting.nodes}, but this machine is one; several need a Slurm allocation"
        )
    if device_type(setting, node) == "cpu":
        _check_on_cpu(setting, node)
    elif setting.devices > len(node.gpus):
        wanted, found = counted(setting.devices, "device"), counted(len(node.gpus), "GPU")
        raise SettingError(f"the setting needs {wanted}, but this machine has {found}")


def _check_on_cpu(setting: Setting, node: NodeDevices) -> None:
    if setting.devices > _PROCESSES_PER_CORE * node.cores:
        wanted, found = setting.devices, counted(node.cores, "CPU core")
        raise SettingError(f"the setting needs {wanted} processes, but this machine has {found}")
    if setting.precision == "tf32" and not setting.command:
        raise SettingError(
            "precision tf32 exists on NVIDIA GPUs only; on a CPU use fp32, bf16 or fp16"
        )
    for name in ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz"):
        if getattr(setting, name) is not None:
            why = "device_type is cpu" if node.gpus else "this machine has none"
            raise SettingError(f"{name} is set on GPUs, and {why}; leave it out")
    if setting.backend == "nccl":
        raise SettingError("backend nccl needs GPUs; on a CPU use gloo")


def threads(setting: Setting, node: NodeDevices, chosen: int) -> int:
    """Return the CPU threads of each process: ``chosen``, or for 0 an equal share of the cores."""
    return chosen or max(1, node.cores // setting.devices_per_node)


def machine(setting: Setting, node: NodeDevices) -> Machine:
    """Return the machine as the record of a run describes it."""
    kind = device_type(setting, node)
    name = node.gpus[0] if kind == "cuda" and node.gpus else cpu_name()
    return Machine(kind, name, setting.nodes, node.cores, cpu_name())


def _visible_gpus() -> tuple[str, ...]:
    """Return the names of the GPUs in CUDA_VISIBLE_DEVICES, by index or UUID as in NVML."""
    try:
        nvml = open_nvml()
    except (DeviceError, ImportError):
        return ()
    try:
        names = []
        for gpu in chosen_gpus(all_handles(nvml), None):
            handles = [instance.handle for instance in gpu.instances] or [gpu.handle]
            names += [word(h.ask("GetName")) for h in handles if h is not None]
        return tuple(names)
    except DeviceError:
        return ()
    finally:
        nvml.nvmlShutdown()

"""MIG: the instances of a GPU, which of them a job may use, and whether it has the whole GPU.

An instance has memory, processes and a UUID of its own. Power, energy, clocks, temperature and
links are those of the whole GPU: NVML does not report them for an instance.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from wattlaw.devices.nvml_devices import NvmlHandle, NvmlObject, VisibleDevice, visible_devices


class MigInstance(NamedTuple):
    """One MIG instance: its index within its GPU, and its compute slices, 0 if unknown."""

    handle: NvmlHandle
    number: int
    uuid: str
    names: tuple[str, ...]
    slices: int


class ChosenGpu(NamedTuple):
    """A GPU of which a job may use all or a part.

    instances  the job's instances; empty if MIG is off, or the whole GPU was named by the user
    is_mig     MIG is on
    is_all     no other job can use any part of it
    """

    gpu: int
    handle: NvmlHandle
    instances: tuple[MigInstance, ...] = ()
    is_mig: bool = False
    is_all: bool = True


def chosen_gpus(handles: Sequence[NvmlHandle], gpus: tuple[str, ...] | None) -> list[ChosenGpu]:
    """Return the requested ones of the GPUs with these handles; ``gpus`` None is all that the job
    may use.

    A GPU in MIG mode that only CUDA's rules choose means its visible instances: CUDA runs nothing
    on the GPU itself. One without a visible instance is left out. Raises DeviceError for an unknown
    name.
    """
    instances = [instances_of(handle) for handle in handles]
    of_job = _chosen(handles, instances, None)
    if gpus is None:
        return of_job
    is_all = {one.gpu: one.is_all for one in of_job}
    found = []
    for one in _chosen(handles, instances, gpus):
        if one.is_mig and not one.instances:
            one = one._replace(is_all=is_all.get(one.gpu, False))
        found.append(one)
    return found


def instances_of(handle: NvmlHandle) -> list[MigInstance] | None:
    """Return the visible instances of a GPU; None if MIG is off or not supported."""
    mode = handle.ask("GetMigMode")
    if not mode or mode[0] != 1:
        return None
    parent = word(handle.ask("GetUUID"))
    found = []
    for number in range(handle.ask("GetMaxMigDeviceCount") or 0):
        instance = handle.ask("GetMigDeviceHandleByIndex", number)
        if instance is not None:  # the GPU may have fewer instances than it could
            found.append(_instance(NvmlHandle(handle.nvml, instance), number, parent))
    return found


def doubtful_order(handles: Sequence[NvmlHandle]) -> str:
    """Return why CUDA_VISIBLE_DEVICES may number GPUs otherwise than NVML; "" if it does not.

    CUDA numbers the fastest first unless CUDA_DEVICE_ORDER says otherwise; NVML numbers by bus, as
    CUDA does among equal GPUs.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    models = {word(h.ask("GetName")) for h in handles if h.handle is not None}
    is_by_number = any(name.strip().isdigit() for name in listed.split(","))
    if not is_by_number or len(models) < 2 or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return ""
    return (
        f"CUDA_VISIBLE_DEVICES={listed} names GPUs by number, and CUDA numbers the fastest of "
        "different GPUs first, NVML by bus: set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
    )


def word(value: NvmlObject) -> str:
    """Return a name that NVML gave as text; "" if it gave none."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _instance(handle: NvmlHandle, number: int, parent: str) -> MigInstance:
    uuid, sizes = word(handle.ask("GetUUID")), handle.ask("GetAttributes_v2")
    # drivers before R470 name an instance after its GPU, and CUDA still accepts that name
    old = f"MIG-{parent}/{handle.ask('GetGpuInstanceId')}/{handle.ask('GetComputeInstanceId')}"
    slices = 0 if sizes is None else int(sizes.computeInstanceSliceCount)
    return MigInstance(handle, number, uuid, tuple(dict.fromkeys((uuid, old))), slices)


def _chosen(
    handles: Sequence[NvmlHandle],
    instances: Sequence[list[MigInstance] | None],
    gpus: tuple[str, ...] | None,
) -> list[ChosenGpu]:
    uuids = [word(handle.ask("GetUUID")) for handle in handles]
    numbered = [index for index, handle in enumerate(handles) if not handle.is_hidden]
    visible = visible_devices(gpus, uuids, instances=_by_name(instances), numbered=numbered)
    found: dict[int, list[MigInstance]] = {}
    for one in visible:
        ours: list[MigInstance] = []
        if one.mig or gpus is None:
            ours = [i for i in instances[one.gpu] or () if one.mig in ("", i.uuid)]
        if gpus is None and instances[one.gpu] is not None and not ours:
            continue
        mine = found.setdefault(one.gpu, [])
        mine += [instance for instance in ours if instance not in mine]
    chosen = []
    for gpu, mine in found.items():
        chosen.append(_of_gpu(gpu, handles[gpu], tuple(mine), instances[gpu] is not None))
    return chosen


def _by_name(instances: Sequence[list[MigInstance] | None]) -> dict[str, VisibleDevice]:
    found = {}
    for gpu, of_gpu in enumerate(instances):
        for instance in of_gpu or ():
            for name in instance.names:
                found[name] = VisibleDevice(gpu, instance.uuid)
    return found


def _of_gpu(gpu: int, handle: NvmlHandle, mine: tuple[MigInstance, ...], is_mig: bool) -> ChosenGpu:
    most = (handle.ask("GetMaxMigDeviceCount") or 0) if is_mig else 0
    # every instance takes at least one of as many compute slices as there can be instances
    is_all = not is_mig or 0 < most <= sum(instance.slices for instance in mine)
    return ChosenGpu(gpu, handle, mine, is_mig, is_all)

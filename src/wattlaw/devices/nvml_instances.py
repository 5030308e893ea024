"""MIG: the instances that a GPU is cut into, which of them a job may use, and whether it holds the whole GPU.

An instance has memory, processes and a UUID of its own. Power, energy, clocks, temperature and links are the whole
GPU's: NVML refuses to tell them of an instance.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from wattlaw.devices.nvml_devices import Handle, Visible, wanted_devices


class Instance(NamedTuple):
    """One MIG instance: NVML's index of it within its GPU, and how many compute slices it has, 0 if unknown."""

    handle: Handle
    number: int
    uuid: str
    names: tuple[str, ...]
    slices: int


class Chosen(NamedTuple):
    """A GPU of which a job may use something.

    instances  the job's instances of it; empty where MIG is off, or the whole GPU was asked for by its own name
    is_mig     MIG is on
    is_all     no other job can use any part of it
    """

    gpu: int
    handle: Handle
    instances: tuple[Instance, ...] = ()
    is_mig: bool = False
    is_all: bool = True


def chosen_gpus(handles: Sequence[Handle], gpus: tuple[str, ...] | None) -> list[Chosen]:
    """Return what is asked for of the GPUs with these handles; ``gpus`` None is all that the job may use.

    A GPU in MIG mode that only CUDA's rules choose stands for those of its instances that are visible: CUDA runs
    nothing on the GPU itself. One that shows no instance is nobody's. Raises DeviceError for a name that fits none.
    """
    cut = [instances_of(h) for h in handles]
    of_job = _chosen(handles, cut, None)
    if gpus is None:
        return of_job
    is_all = {c.gpu: c.is_all for c in of_job}
    asked = _chosen(handles, cut, gpus)
    return [
        c._replace(is_all=is_all.get(c.gpu, False)) if c.is_mig and not c.instances else c
        for c in asked
    ]


def instances_of(handle: Handle) -> list[Instance] | None:
    """Return the instances that the driver shows of a GPU; None where MIG is off or unknown to device or driver."""
    mode = handle.ask("GetMigMode")
    if not mode or mode[0] != 1:
        return None
    found = []
    for number in range(handle.ask("GetMaxMigDeviceCount") or 0):
        instance = handle.ask("GetMigDeviceHandleByIndex", number)  # not found where fewer exist
        if instance is not None:
            found.append(
                _instance(Handle(handle.nvml, instance), number, word(handle.ask("GetUUID")))
            )
    return found


def doubtful_order(handles: Sequence[Handle]) -> str:
    """Return why the numbers of CUDA_VISIBLE_DEVICES may mean other GPUs than NVML's; "" where they do not.

    CUDA numbers the fastest first unless CUDA_DEVICE_ORDER says otherwise; NVML, and CUDA among equals, by bus.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    kinds = {word(h.ask("GetName")) for h in handles if h.handle is not None}
    is_by_number = any(name.strip().isdigit() for name in listed.split(","))
    if not is_by_number or len(kinds) < 2 or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return ""
    return (
        f"CUDA_VISIBLE_DEVICES={listed} names GPUs by number, and CUDA numbers the fastest of different GPUs first, "
        "NVML by bus: set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
    )


def word(value: Any) -> str:
    """Return what NVML calls a device, as text; "" where it did not say."""
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _instance(handle: Handle, number: int, parent: str) -> Instance:
    uuid, sizes = word(handle.ask("GetUUID")), handle.ask("GetAttributes_v2")
    # drivers before R470 name an instance after its GPU, and CUDA takes that name to this day
    old = f"MIG-{parent}/{handle.ask('GetGpuInstanceId')}/{handle.ask('GetComputeInstanceId')}"
    slices = 0 if sizes is None else int(sizes.computeInstanceSliceCount)
    return Instance(handle, number, uuid, tuple(dict.fromkeys((uuid, old))), slices)


def _chosen(
    handles: Sequence[Handle], cut: Sequence[list[Instance] | None], gpus: tuple[str, ...] | None
) -> list[Chosen]:
    known = {
        name: Visible(i, one.uuid)
        for i, ones in enumerate(cut)
        for one in ones or ()
        for name in one.names
    }
    uuids = [word(h.ask("GetUUID")) for h in handles]
    found: dict[int, list[Instance]] = {}
    numbered = [i for i, h in enumerate(handles) if not h.is_hidden]
    for one in wanted_devices(gpus, uuids, instances=known, numbered=numbered):
        ours = (
            [i for i in cut[one.gpu] or () if one.mig in ("", i.uuid)]
            if one.mig or gpus is None
            else []
        )
        if gpus is None and cut[one.gpu] is not None and not ours:
            continue
        mine = found.setdefault(one.gpu, [])
        mine += [i for i in ours if i not in mine]
    return [
        _of_gpu(gpu, handles[gpu], tuple(mine), cut[gpu] is not None) for gpu, mine in found.items()
    ]


def _of_gpu(gpu: int, handle: Handle, mine: tuple[Instance, ...], is_mig: bool) -> Chosen:
    most = (handle.ask("GetMaxMigDeviceCount") or 0) if is_mig else 0
    # every instance takes at least one of as many compute slices as there can be instances
    return Chosen(gpu, handle, mine, is_mig, not is_mig or 0 < most <= sum(i.slices for i in mine))

"""Counts the parameters, operations and bytes of every workload.

Usage: ``python -m wattlaw.workloads.make_counts [NAME ...]``.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import torch
from torch.utils.flop_counter import FlopCounterMode

from wattlaw.core.files import write_whole
from wattlaw.core.plugins import WORKLOADS, Plugin, load, plugins
from wattlaw.workloads.base import Workload
from wattlaw.workloads.counts import PATH, CountsTable, PresetCounts, WorkloadEntry, domain, read


def count(workload: Workload, device: str = "meta") -> PresetCounts:
    """Return the counts of a workload's preset for its default batch.

    On the device "meta" torch only propagates shapes, so the largest model takes a second.
    """
    size = workload.batch[workload.preset]
    data: Any = workload.data("train")
    batch = workload.collate([data[k] for k in range(size)])
    torch.manual_seed(0)
    with torch.device(device):
        model = workload.model()
    model.train()
    saved = SavedActivations(model)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
            loss = workload.loss(model, moved(batch, device))
        loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    flop = counter.get_total_flops()
    return PresetCounts(
        preset=workload.preset,
        batch=size,
        parameters=sum(p.numel() for p in trained),
        flop_per_step=flop,
        flop_per_sample=flop / size,
        gradient_bytes=sum(p.numel() * p.element_size() for p in trained),
        activation_bytes=saved.bytes(),
    )


def moved(batch: Any, device: str) -> Any:
    """Return a batch on ``device``."""
    if isinstance(batch, dict):
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(moved(part, device) for part in batch)
    return batch.to(device)


def count_all_presets(plugin: Plugin) -> WorkloadEntry:
    """Return the table's entry of one workload."""
    made = load(WORKLOADS, plugin.name)
    return WorkloadEntry(
        name=plugin.name,
        domain=domain(plugin.folder),
        version=plugin.version,
        options=dict(made.options),
        presets=tuple(count(made(preset)) for preset in made.presets),
    )


def main(names: list[str]) -> None:
    """Count the named workloads anew, or all of them, and write the table."""
    known = plugins(WORKLOADS)
    entries = {}
    if PATH.is_file():
        entries = {entry.name: entry for entry in read(PATH).workloads}
    for name in sorted(names or known):
        print(f"counting {name}", file=sys.stderr, flush=True)
        entries[name] = count_all_presets(known[name])
    existing = [entry for name, entry in entries.items() if name in known]
    existing.sort(key=lambda entry: (entry.domain, entry.name))
    table = CountsTable({"torch": torch.__version__.split("+")[0]}, tuple(existing))
    write_whole(PATH, msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")


class SavedActivations:
    """The storages that autograd saves for the backward pass, each counted once.

    References to them are kept, so that no address is used twice.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = {p.untyped_storage()._cdata for p in model.parameters()}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.parameters:
            self.storages[storage._cdata] = storage
        return tensor

    def bytes(self) -> int:
        return sum(s.nbytes() for s in self.storages.values())


if __name__ == "__main__":
    main(sys.argv[1:])

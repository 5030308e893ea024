"""Presets, options and counts of every workload, without importing torch.

The table beside this file, counts.json, is written by ``make counts`` (``make_counts.py``); a test
compares it with the workloads.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import msgspec

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.options import checked
from wattlaw.core.plugins import WORKLOADS, plugins
from wattlaw.core.setting import OptionValue

PATH = Path(__file__).with_name("counts.json")


class PresetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a preset for its default batch and options on one device, in fp32.

    parameters        trainable parameters
    flop_per_step     operations of forward and backward (a multiply-add is 2) of matrix
                      products, convolutions and attention; without the memory-bound rest:
                      elementwise operations, sums over neighbours, embeddings, norms, the optimiser
    flop_per_sample   flop_per_step / batch
    gradient_bytes    bytes that data-parallel training all-reduces at each step
    activation_bytes  tensors saved for the backward pass, without parameters
    """

    preset: str
    batch: int
    parameters: int
    flop_per_step: int
    flop_per_sample: float
    gradient_bytes: int
    activation_bytes: int


class WorkloadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's options with their defaults, and the counts of its presets."""

    name: str
    domain: str
    version: int
    options: dict[str, OptionValue]
    presets: tuple[PresetCounts, ...]


class CountsTable(msgspec.Struct, frozen=True):
    """The file counts.json: all workloads, and the versions of the libraries that counted them."""

    counted_with: dict[str, str]
    workloads: tuple[WorkloadEntry, ...]


def domain(folder: str) -> str:
    """Return the domain of a workload: the name of its file's folder."""
    return folder or "own"


@functools.cache
def workload_entries() -> dict[str, WorkloadEntry]:
    """Return the entries of all workloads that exist, by name."""
    if not PATH.is_file():
        return {}
    known = plugins(WORKLOADS)
    return {entry.name: entry for entry in read(PATH).workloads if entry.name in known}


def read(path: Path) -> CountsTable:
    """Return a table from its file."""
    return msgspec.json.decode(path.read_bytes(), type=CountsTable)


def preset_counts(name: str, preset: str) -> PresetCounts | None:
    """Return the counts of a preset; None if it was not counted, as for a user's own workload."""
    entry = workload_entries().get(name)
    if entry is None:
        return None
    return next((counts for counts in entry.presets if counts.preset == preset), None)


def check_request(name: str, preset: str, options: Mapping[str, OptionValue]) -> None:
    """Raise UnknownNameError or SettingError if a workload has no such preset or option.

    A workload without an entry (``package.module:Class``, a new file) checks them itself.
    """
    if ":" in name:
        return
    if name not in plugins(WORKLOADS):
        raise UnknownNameError("workload", name, plugins(WORKLOADS))
    entry = workload_entries().get(name)
    if entry is None:
        return
    presets = [counts.preset for counts in entry.presets]
    if preset not in presets:
        raise UnknownNameError("preset", preset, presets)
    for option, value in options.items():
        if option not in entry.options:
            raise UnknownNameError("option", option, entry.options)
        checked(option, value, entry.options[option])


class ListedPreset(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``wattlaw list workloads``; None if nothing was counted."""

    name: str
    domain: str
    preset: str
    batch: int | None = None
    parameters: int | None = None
    flop_per_step: int | None = None
    flop_per_sample: float | None = None
    gradient_bytes: int | None = None
    activation_bytes: int | None = None


def list_presets() -> list[ListedPreset]:
    """Return every preset of every workload, sorted by domain and name."""
    rows = []
    for plugin in sorted(plugins(WORKLOADS).values(), key=lambda p: (domain(p.folder), p.name)):
        entry = workload_entries().get(plugin.name)
        if entry is None:
            rows.append(ListedPreset(name=plugin.name, domain=domain(plugin.folder), preset="?"))
            continue
        for counts in entry.presets:
            facts = msgspec.structs.asdict(counts)
            rows.append(ListedPreset(name=entry.name, domain=entry.domain, **facts))
    return rows

"""What is known of every workload without importing torch: presets, options, and what was counted of each.

The table beside this file, counts.json, is made by ``make counts`` (``count.py``) and proved by a test.
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


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """One preset of a workload. Counts hold for its default batch on one device, in fp32, with default options.

    parameters        trainable numbers of the model
    flop_per_step     floating-point operations of forward and backward, 2 a multiply-add: matrix products,
                      convolutions and attention; left out are elementwise work, sums over neighbours,
                      embeddings, norms and the optimiser, which are bound by memory
    flop_per_sample   flop_per_step / batch
    gradient_bytes    what data-parallel training reduces over the devices at each step
    activation_bytes  tensors that the forward pass keeps for the backward pass, parameters left out
    """

    preset: str
    batch: int
    parameters: int
    flop_per_step: int
    flop_per_sample: float
    gradient_bytes: int
    activation_bytes: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A workload: its presets with their counts, and its options with their defaults."""

    name: str
    domain: str
    version: int
    options: dict[str, OptionValue]
    presets: tuple[Counts, ...]


class Table(msgspec.Struct, frozen=True):
    """All workloads, and the libraries with which they were counted."""

    counted_with: dict[str, str]
    workloads: tuple[Entry, ...]


def domain(folder: str) -> str:
    """Return the domain of a workload, which is the name of its file's folder."""
    return folder or "own"


@functools.cache
def table() -> dict[str, Entry]:
    """Return what was counted, by name; workloads whose file is gone are left out."""
    known = plugins(WORKLOADS)
    return {e.name: e for e in read(PATH).workloads if e.name in known} if PATH.is_file() else {}


def read(path: Path) -> Table:
    """Return a table from its file."""
    return msgspec.json.decode(path.read_bytes(), type=Table)


def counts(name: str, preset: str) -> Counts | None:
    """Return what was counted of a preset; None where nothing was, as for a user's own workload."""
    entry = table().get(name)
    return next((c for c in entry.presets if c.preset == preset), None) if entry else None


def check_request(name: str, preset: str, options: Mapping[str, OptionValue]) -> None:
    """Raise UnknownNameError or SettingError where a workload has no such preset or option.

    What the table does not know (``package.module:Class``, a new file) is left for the class to check.
    """
    if ":" in name:
        return
    if name not in plugins(WORKLOADS):
        raise UnknownNameError("workload", name, plugins(WORKLOADS))
    entry = table().get(name)
    if entry is None:
        return
    if preset not in (names := [c.preset for c in entry.presets]):
        raise UnknownNameError("preset", preset, names)
    for option, value in options.items():
        if option not in entry.options:
            raise UnknownNameError("option", option, entry.options)
        checked(option, value, entry.options[option])


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``wattlaw list workloads``: one preset of one workload; None where nothing was counted yet."""

    name: str
    domain: str
    preset: str
    batch: int | None = None
    parameters: int | None = None
    flop_per_step: int | None = None
    flop_per_sample: float | None = None
    gradient_bytes: int | None = None
    activation_bytes: int | None = None


def listing() -> list[Listed]:
    """Return every preset of every workload, by domain and name."""
    lines = []
    for plugin in sorted(plugins(WORKLOADS).values(), key=lambda p: (domain(p.folder), p.name)):
        entry = table().get(plugin.name)
        if entry is None:
            lines.append(Listed(name=plugin.name, domain=domain(plugin.folder), preset="?"))
            continue
        lines += [
            Listed(name=entry.name, domain=entry.domain, **msgspec.structs.asdict(c))
            for c in entry.presets
        ]
    return lines

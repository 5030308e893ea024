"""What a section of the report is given: runs, findings, environments, and the runs put in order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.environment import Environment
from wattlaw.core.factors import Factor, factors, repeats
from wattlaw.core.findings import Advice, Fit
from wattlaw.core.quantities import derive, energy
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.laws.statistics.repeats import summarise_readings

LAYOUT = frozenset(
    {"workload", "preset", "devices", "nodes", "devices_per_node", "batch_per_device"}
)
DEVICE_WORDS = {"cpu": ("process", "processes"), "cuda": ("GPU", "GPUs"), "gpu": ("GPU", "GPUs")}


@dataclass(frozen=True, eq=False)
class Row:
    """One setting with all its repeats: what a figure draws as one mark and a table as one line.

    ``label`` names it in full; ``short`` says what sets it apart from the others of its workload.
    """

    factors: dict[str, Factor]
    runs: tuple[Run, ...]
    failed: int = 0
    label: str = ""
    short: str = ""
    _known: dict[str, Reading] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        return self.runs[0].setting.devices

    @property
    def batch(self) -> int | None:
        return self.runs[0].setting.batch_per_device

    def reading(self, name: str) -> Reading:
        """Return a quantity over the repeats: their geometric mean with its 90 % interval, and count.

        Measured values are preferred to estimates; missing says why.
        """
        if name not in self._known:
            self._known[name] = summarise_readings([derive(r, name) for r in self.runs])
        return self._known[name]

    @cached_property
    def boundaries(self) -> str:
        """What its energies enclose, such as "gpu+cpu"."""
        return ", ".join(dict.fromkeys(b for r in self.runs if (b := energy(r)[1])))

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(dict.fromkeys(n for r in self.runs for n in r.warnings))


@dataclass(frozen=True, eq=False)
class Group:
    """One workload on one kind of device: a panel of each figure, a line of the answer, one colour."""

    name: str
    facts: dict[str, str]
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    colour: str

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(r for r in self.runs if r.state == "failed")

    @cached_property
    def device_words(self) -> tuple[str, str]:
        """Singular and plural of what trained: process, GPU or device."""
        kinds = {
            r.machine.device_type or r.setting.device_type for row in self.rows for r in row.runs
        }
        return (
            DEVICE_WORDS.get(kinds.pop(), ("device", "devices"))
            if len(kinds) == 1
            else ("device", "devices")
        )

    def owns(self, finding: dict[str, str]) -> bool:
        """Whether a fit's or an advice's group lies within this one."""
        return finding.get("workload") == self.facts["workload"] and all(
            self.facts.get(k, v) == v for k, v in finding.items()
        )

    def row_of(self, setting: Setting) -> Row | None:
        """Return the row in which a setting was run."""
        return next((row for row in self.rows if any(r.setting == setting for r in row.runs)), None)


@dataclass(frozen=True)
class Context:
    """All that a section may use.

    runs          every run, failed ones too
    fits, advice  what the laws say of them
    environments  distinct environment.json files, where the runs' folder is at hand
    folder        the folder that the runs were loaded from; None where they came from elsewhere
    notes         warnings of loading, fitting and advising
    max_slowdown  the bound on the slowdown under which the advice was given; None without one
    """

    runs: Sequence[Run]
    fits: Sequence[Fit] = ()
    advice: Sequence[Advice] = ()
    environments: Sequence[Environment] = ()
    folder: Path | None = None
    notes: Sequence[Note] = ()
    max_slowdown: float | None = None

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Workloads in the order of their names."""
        return _groups(self.runs)


def _groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    presets: dict[str, set[str]] = {}
    machines: dict[str, set[str]] = {}
    for run in runs:
        presets.setdefault(run.setting.workload, set()).add(run.setting.preset)
        # a run that failed early knows no machine; it is counted with those that do
        machines.setdefault(run.setting.workload, set()).update(
            filter(None, [run.machine.device_name])
        )
    buckets: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        name = run.setting.workload
        key = (
            name,
            run.setting.preset if len(presets[name]) > 1 else "",
            (run.machine.device_name or min(machines[name])) if len(machines[name]) > 1 else "",
        )
        buckets.setdefault(key, []).append(run)
    return tuple(
        _group(key, buckets[key], index)
        for index, key in enumerate(sorted(buckets, key=lambda k: [natural(part) for part in k]))
    )


def _group(key: tuple[str, ...], runs: list[Run], index: int) -> Group:
    names = ("workload", "preset", "device_name")
    facts = {n: k for n, k in zip(names, key, strict=True) if k}
    name = ", ".join(k for k in key if k)
    colour = f"var(--w{index + 1})" if index < COLOURS else OTHERS
    return Group(name, {"workload": key[0], **facts}, _rows(runs), tuple(runs), colour)


COLOURS = 12
"""Colours for workloads in the palette, as many as a figure has panels at most."""

OTHERS = "var(--others)"
"""The grey that all workloads beyond these share."""


def _rows(runs: list[Run]) -> tuple[Row, ...]:
    rows = []
    for members in repeats(runs):
        done = tuple(r for r in members if r.state == "done")
        if done:
            rows.append(Row(factors(done[0]), done, len(members) - len(done)))
    rows.sort(
        key=lambda row: (
            row.devices,
            row.batch or 0,
            sorted((k, str(v)) for k, v in row.factors.items()),
        )
    )
    return _labelled(rows)


class _Told(NamedTuple):
    """What tells the settings of a workload apart, beside which factors."""

    devices: bool
    layouts: bool
    batches: bool
    factors: list[str]


def _told(rows: list[Row]) -> _Told:
    devices = {row.devices for row in rows}
    layouts = {(row.devices, row.factors["nodes"]) for row in rows}
    names = dict.fromkeys(n for row in rows for n in row.factors)
    telling = [
        n for n in names if n not in LAYOUT and len({row.factors.get(n) for row in rows}) > 1
    ]
    return _Told(
        len(devices) > 1, len(layouts) > len(devices), len({row.batch for row in rows}) > 1, telling
    )


def _labelled(rows: list[Row]) -> tuple[Row, ...]:
    told = _told(rows)
    labels = _unique([_labels(row, told) for row in rows])
    return tuple(
        Row(row.factors, row.runs, row.failed, *name)
        for row, name in zip(rows, labels, strict=True)
    )


def _unique(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Number what is called the same, such as long commands that were cut, so that no figure joins them."""
    seen: Counter[str] = Counter()
    found = []
    for full, short in names:
        seen[full] += 1
        ending = f" ({seen[full]})" if seen[full] > 1 else ""
        found.append((full + ending, short + ending))
    return found


def _labels(row: Row, told: _Told) -> tuple[str, str]:
    """Return a setting's name in full, and what of it is not shared by all settings of its workload."""
    kind = row.runs[0].machine.device_type or row.runs[0].setting.device_type
    devices = counted(row.devices, *DEVICE_WORDS.get(kind, ("device", "devices")))
    nodes = int(row.factors["nodes"] or 1)
    batch = f"batch {row.batch}" if row.batch else ""
    rest = [
        word
        for n in told.factors
        if (word := factor_words(n, row.factors.get(n)) or unset_words(row, n))
    ]
    full = [devices, counted(nodes, "node") if told.layouts else "", batch, *rest]
    alone = [
        full[0] if told.devices else "",
        full[1],
        batch if told.batches else "",
        *rest,
    ]
    name = ", ".join(w for w in full if w)
    return name, ", ".join(w for w in alone if w) or name


def factor_words(name: str, value: Factor) -> str:
    """Return a factor as a person says it: "200 W cap", "bf16", "compile: yes"; empty where it has no value.

    The groups of laws and advice give numbers as text: "200".
    """
    if value is None or value == "":
        return ""
    word = f"{value:g}" if isinstance(value, float) else str(value)
    match name:
        case "precision" | "device_type" | "device_name" | "backend":
            return str(value)
        case "command":
            return str(value) if len(str(value)) <= 60 else f"{str(value)[:59]}…"
        case "power_cap_w":
            return f"{word} W cap"
        case "sm_clock_mhz":
            return f"SM {word} MHz"
        case "memory_clock_mhz":
            return f"memory {word} MHz"
    if isinstance(value, bool):
        return f"{name}: {'yes' if value else 'no'}"
    return f"{name} {word}"


UNSET = {
    "power_cap_w": "no cap set",
    "sm_clock_mhz": "SM clock not set",
    "memory_clock_mhz": "memory clock not set",
}


def unset_words(row: Row, name: str) -> str:
    """Return how a setting without a limit is told from those with one: "no cap set"; empty where nobody knows."""
    return (
        UNSET.get(name, "")
        if row.factors.get(name) is None and row.runs[0].source == "wattlaw"
        else ""
    )


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "batch 8" before "batch 16"."""
    return [
        (int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", name)
    ]

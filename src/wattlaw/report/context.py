"""What a section may use: runs, findings and environments, with the runs sorted into groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from wattlaw.core.factors import Factor, factor_label, factors, repeats
from wattlaw.core.findings import Advice, Fit
from wattlaw.core.quantities import derive, energy
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run
from wattlaw.core.run_environment import Environment
from wattlaw.core.setting import Setting
from wattlaw.laws.statistics.repeats import summarise_readings
from wattlaw.report.setting_names import (
    DEVICE_WORDS,
    device_type_of,
    joined,
    name_settings,
    natural,
)


@dataclass(frozen=True, eq=False)
class SettingRow:
    """One setting with all its repeats: one mark of a figure, one row of a table.

    ``label`` is its full name; ``short`` has only what differs between settings of its workload.
    """

    factors: Mapping[str, Factor]
    runs: tuple[Run, ...]
    failed: int = 0
    label: str = ""
    short: str = ""
    _summaries: dict[str, Reading] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        return self.runs[0].setting.devices

    @property
    def batch(self) -> int | None:
        return self.runs[0].setting.batch_per_device

    def reading(self, name: str) -> Reading:
        """Return a quantity over the repeats: their geometric mean, its 90 % interval, their count.

        Measured values are preferred to estimates; a missing reading says why.
        """
        if name not in self._summaries:
            self._summaries[name] = summarise_readings([derive(run, name) for run in self.runs])
        return self._summaries[name]

    @cached_property
    def boundaries(self) -> str:
        """The boundary of its energies, such as "gpu+cpu"."""
        found = dict.fromkeys(energy(run)[1] for run in self.runs)
        return joined(found)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The warnings of its runs, each once."""
        return tuple(dict.fromkeys(note for run in self.runs for note in run.warnings))


@dataclass(frozen=True, eq=False)
class WorkloadGroup:
    """One workload on one kind of device: a panel of each figure, a line of the answer, a colour.

    ``facts`` has the workload, and its preset and device if the folder has several.
    """

    name: str
    facts: dict[str, str]
    rows: tuple[SettingRow, ...]
    runs: tuple[Run, ...]
    colour: str

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(failed_runs(self.runs))

    @cached_property
    def device_words(self) -> tuple[str, str]:
        """Singular and plural of the devices: process, GPU or device."""
        kinds = {device_type_of(run) for row in self.rows for run in row.runs}
        if len(kinds) != 1:
            return ("device", "devices")
        return DEVICE_WORDS.get(kinds.pop(), ("device", "devices"))

    def owns(self, finding: Mapping[str, str]) -> bool:
        """Return whether the group of a fit or an advice lies within this one."""
        if finding.get("workload") != self.facts["workload"]:
            return False
        for name, fact in self.facts.items():
            absent = factor_label(name, None)
            if finding.get(name, fact) not in (fact, absent):
                return False
        return True

    def row_of(self, setting: Setting) -> SettingRow | None:
        """Return the row of a setting; None if it was not run."""
        for row in self.rows:
            if any(run.setting == setting for run in row.runs):
                return row
        return None

    def advised_rows(self, advice: Sequence[Advice]) -> list[SettingRow]:
        """Return the rows of the settings that were recommended for the group."""
        found = []
        for one in advice:
            row = self.row_of(one.setting) if self.owns(one.group) else None
            if row:
                found.append(row)
        return found


@dataclass(frozen=True)
class Context:
    """All that a section may use.

    runs          every run, including failed ones
    fits, advice  findings from the runs
    environments  distinct environment.json files, if the folder of the runs is known
    folder        the folder that the runs were loaded from, or None
    notes         warnings of loading, fitting and advising
    max_slowdown  the constraint of the advice on time per sample; None without one
    """

    runs: Sequence[Run]
    fits: Sequence[Fit] = ()
    advice: Sequence[Advice] = ()
    environments: Sequence[Environment] = ()
    folder: Path | None = None
    notes: Sequence[Note] = ()
    max_slowdown: float | None = None

    @cached_property
    def groups(self) -> tuple[WorkloadGroup, ...]:
        """The workloads, sorted by name."""
        return _groups(self.runs)

    @property
    def rows(self) -> list[tuple[WorkloadGroup, SettingRow]]:
        """Every setting with its group."""
        return [(group, row) for group in self.groups for row in group.rows]


def short_names(rows: Iterable[SettingRow]) -> list[str]:
    """Return the short names of settings, for an axis."""
    return [row.short for row in rows]


def failed_runs(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that failed."""
    return [run for run in runs if run.state == "failed"]


def _groups(runs: Sequence[Run]) -> tuple[WorkloadGroup, ...]:
    presets: dict[str, set[str]] = {}
    machines: dict[str, set[str]] = {}
    for run in runs:
        workload = run.setting.workload
        presets.setdefault(workload, set()).add(run.setting.preset)
        # a run that failed early has no machine; it joins the runs that have one
        names = {run.machine.device_name} - {""}
        machines.setdefault(workload, set()).update(names)
    buckets: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        workload = run.setting.workload
        preset = machine = ""
        if len(presets[workload]) > 1:
            preset = run.setting.preset
        if len(machines[workload]) > 1:
            machine = run.machine.device_name or min(machines[workload])
        buckets.setdefault((workload, preset, machine), []).append(run)
    keys = sorted(buckets, key=lambda key: [natural(part) for part in key])
    return tuple(_group(key, buckets[key], index) for index, key in enumerate(keys))


def _group(key: tuple[str, str, str], runs: list[Run], index: int) -> WorkloadGroup:
    workload, preset, machine = key
    facts = {"workload": workload}
    if preset:
        facts["preset"] = preset
    if machine:
        facts["device_name"] = machine
    colour = f"var(--w{index + 1})" if index < COLOURS else OTHERS
    return WorkloadGroup(joined(facts.values()), facts, _rows(runs), tuple(runs), colour)


COLOURS = 12
"""Colours for workloads, as many as a figure has panels at most."""

OTHERS = "var(--others)"
"""The grey of all workloads beyond these."""


def _rows(runs: list[Run]) -> tuple[SettingRow, ...]:
    found = []
    for members in repeats(runs):
        done = tuple(run for run in members if run.state == "done")
        if done:
            found.append(SettingRow(factors(done[0]), done, len(members) - len(done)))
    found.sort(key=_order)
    names = name_settings([(row.factors, row.runs[0]) for row in found])
    named = zip(found, names, strict=True)
    return tuple(SettingRow(row.factors, row.runs, row.failed, *name) for row, name in named)


def _order(row: SettingRow) -> tuple[int, int, list[tuple[str, str]]]:
    others = sorted((name, str(value)) for name, value in row.factors.items())
    return row.devices, row.batch or 0, others

"""Runs as a table with one row for each setting, or for each value of chosen factors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.factors import Factor, factors, repeats
from wattlaw.core.quantities import VALID, all_quantities, derive, find_quantity
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.run import Run
from wattlaw.laws.statistics.repeats import summarise_readings

COLUMNS = ("step_time_s", "samples_per_s", "energy_per_sample_j")
"""The default columns of runs with steps."""

_WHOLE = ("trial_s", "elapsed_s")
"""The time of a run without steps, start-up included if it was recorded."""

LEARNED = (VALID, "target_time_s")
"""Quantities with these prefixes are default columns too, if a run recorded them."""

_FIRST = ("workload", "preset", "nodes", "devices", "batch_per_device", "precision", "power_cap_w")


class SummarisedSetting(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that share the factors in ``group``.

    runs, failed   the numbers of runs that are done, and of those that failed besides
    quantities     of the runs that are done, summarised over repeats; "estimated" if no run
                   measured it
    warnings       of all of them, each once
    """

    group: dict[str, Factor]
    runs: int
    failed: int
    quantities: dict[str, Reading]
    warnings: tuple[Note, ...] = ()


class SettingsTable(msgspec.Struct, frozen=True):
    """``shared`` are the factors that are equal in all rows; each row's group has the others."""

    shared: dict[str, Factor]
    rows: list[SummarisedSetting]


def columns_of(runs: Iterable[Run]) -> list[str]:
    """Return the default columns of some runs: time, rate and energy, and what they evaluated."""
    runs = list(runs)
    learned = [name for name in recorded_quantities(runs) if name.startswith(LEARNED)]
    has_steps = _any_recorded(runs, "step_time_s") or _any_recorded(runs, "samples_per_s")
    if has_steps or not any(run.state == "done" for run in runs):
        return [*COLUMNS, *learned]
    whole = next((name for name in _WHOLE if _any_recorded(runs, name)), _WHOLE[-1])
    return [whole, "energy_j", "memory_peak_bytes", *learned]


def tabulate(
    runs: Iterable[Run], by: Sequence[str] = (), columns: Sequence[str] = COLUMNS
) -> SettingsTable:
    """Group runs by setting, or by the factors named in ``by``, and summarise ``columns``.

    Raises UnknownNameError for a factor that no run has, or a name that is not a quantity.
    """
    runs = list(runs)
    check_columns(runs, columns)
    members = repeats(runs)
    groups = [factors(same[0]) for same in members]
    if by:
        groups, members = _joined_by(by, groups, members)
    varying = list(by) or varying_factors(groups)
    rows = []
    for group, same in zip(groups, members, strict=True):
        rows.append(_row({name: group.get(name) for name in varying}, same, columns))
    rows.sort(key=lambda row: list(map(_sort_key, row.group.values())))
    return SettingsTable(_shared_factors(groups, varying), rows)


def check_columns(runs: Iterable[Run], columns: Sequence[str]) -> None:
    """Raise UnknownNameError if a name is not a quantity and no run recorded it."""
    unknown = [name for name in columns if find_quantity(name) is None]
    if not unknown:
        return
    recorded = recorded_quantities(runs)
    for name in unknown:
        if name not in recorded:
            raise UnknownNameError("quantity", name, [*recorded, *all_quantities()])


def recorded_quantities(runs: Iterable[Run]) -> list[str]:
    """Return the quantities that at least one run recorded, each once."""
    return list(dict.fromkeys(name for run in runs for name in run.quantities))


def reading_of(run: Run, name: str) -> Reading:
    """Return a quantity as ``derive`` does; a name that only other runs recorded is missing."""
    if name in run.quantities or find_quantity(name) is not None:
        return derive(run, name)
    return missing("not recorded")


def varying_factors(groups: Sequence[dict[str, Factor]]) -> list[str]:
    """Return the factors that differ between groups: the workload, the usual ones, the others."""
    names = dict.fromkeys(itertools.chain.from_iterable(groups))
    varying = [name for name in names if _is_varying(name, groups)]
    left_out = set()
    if "devices" in varying:
        left_out.add("devices_per_node")
        if not _has_several_layouts(groups):
            left_out.add("nodes")
    first = [name for name in _FIRST if name in varying or name == "workload"]
    return [name for name in dict.fromkeys([*first, *varying]) if name not in left_out]


def _any_recorded(runs: Iterable[Run], name: str) -> bool:
    return any(run.reading(name).value is not None for run in runs)


def _is_varying(name: str, groups: Sequence[dict[str, Factor]]) -> bool:
    first = repr(groups[0].get(name))
    return any(repr(group.get(name)) != first for group in groups)


def _shared_factors(
    groups: Sequence[dict[str, Factor]], varying: Sequence[str]
) -> dict[str, Factor]:
    shared: dict[str, Factor] = {}
    for name, value in groups[0].items() if groups else ():
        is_shared = all(group.get(name) == value for group in groups)
        if is_shared and name not in varying and value not in (None, ""):
            shared[name] = value
    return shared


def _row(group: dict[str, Factor], members: list[Run], columns: Sequence[str]) -> SummarisedSetting:
    done = [run for run in members if run.state == "done"]
    warnings = dict.fromkeys(note for run in members for note in run.warnings)
    return SummarisedSetting(
        group=group,
        runs=len(done),
        failed=len(members) - len(done),
        quantities={name: _summary(done, name) for name in columns},
        warnings=tuple(warnings),
    )


def _summary(done: Sequence[Run], name: str) -> Reading:
    readings = [reading_of(run, name) for run in done]
    return summarise_readings(readings) if readings else missing("no run is done")


def _has_several_layouts(groups: Sequence[dict[str, Factor]]) -> bool:
    layouts = {(group.get("devices"), group.get("nodes")) for group in groups}
    return len(layouts) > len(dict(layouts))


def _joined_by(
    by: Sequence[str], groups: list[dict[str, Factor]], members: list[list[Run]]
) -> tuple[list[dict[str, Factor]], list[list[Run]]]:
    """Join the groups that are equal in the factors of ``by``.

    Raises UnknownNameError if no group has one of them.
    """
    known = set(itertools.chain.from_iterable(groups))
    for name in by:
        if known and name not in known:
            raise UnknownNameError("factor", name, known)
    joined: dict[str, dict[str, Factor]] = {}
    runs_of: dict[str, list[Run]] = {}
    for group, runs in zip(groups, members, strict=True):
        chosen = {name: group.get(name) for name in by}
        key = repr(chosen)
        joined.setdefault(key, chosen)
        runs_of.setdefault(key, []).extend(runs)
    return list(joined.values()), list(runs_of.values())


def _sort_key(value: Factor) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, value)

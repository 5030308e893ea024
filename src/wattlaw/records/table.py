"""Runs as a table: one row for each setting, or for each value of what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.factors import Factor, factors, repeats
from wattlaw.core.quantities import all_quantities, derive
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.run import Run
from wattlaw.laws.statistics.repeats import summarise_readings

COLUMNS = ("step_time_s", "samples_per_s", "energy_per_sample_j")
"""Quantities that are shown unless others are asked for."""

_WHOLE = ("trial_s", "elapsed_s")
"""What a run without steps took, start-up included where that is known."""

LEARNED = ("valid_", "target_time_s")
"""What was evaluated is shown too: quantities that begin so."""

_FIRST = ("workload", "preset", "nodes", "devices", "batch_per_device", "precision", "power_cap_w")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that share what ``group`` says.

    runs, failed   how many are done, and how many more failed
    quantities     of the runs that are done: the geometric mean over repeats with its 90 % interval
                   (``laws.statistics.repeats``)
    warnings       of all of them, each once
    """

    group: dict[str, Factor]
    runs: int
    failed: int
    quantities: dict[str, Reading]
    warnings: tuple[Note, ...] = ()


class Table(msgspec.Struct, frozen=True):
    """``shared`` is what all rows have in common; each row's group has the rest."""

    shared: dict[str, Factor]
    rows: list[Row]


def columns_of(runs: Iterable[Run]) -> list[str]:
    """Return the quantities to show of some runs unless others are asked for: the usual, and what they evaluated."""
    runs = list(runs)
    learned = {n: None for run in runs for n in run.quantities if n.startswith(LEARNED)}
    has_steps = any(
        run.reading(n).value is not None for run in runs for n in ("step_time_s", "samples_per_s")
    )
    if has_steps or not any(run.state == "done" for run in runs):
        return [*COLUMNS, *learned]
    whole = next(
        (n for n in _WHOLE if any(run.reading(n).value is not None for run in runs)), _WHOLE[-1]
    )
    return [whole, "energy_j", "memory_peak_bytes", *learned]


def tabulate(
    runs: Iterable[Run], by: Sequence[str] = (), columns: Sequence[str] = COLUMNS
) -> Table:
    """Group runs by setting, or by the factors named in ``by``, and summarise ``columns``.

    Raises UnknownNameError for a factor that no run has, or a quantity that is none.
    """
    runs = list(runs)
    check_columns(runs, columns)
    alike = repeats(runs)
    groups = [factors(members[0]) for members in alike]
    if by:
        groups, alike = _merged(by, groups, alike)
    telling = list(by) or tell_apart(groups)
    first = groups[0] if groups else {}
    common = {
        n for n in first if n not in telling and all(group.get(n) == first[n] for group in groups)
    }
    shared: dict[str, Factor] = {
        n: v for n, v in first.items() if n in common and v not in (None, "")
    }
    rows = [
        _row({n: group.get(n) for n in telling}, members, columns)
        for group, members in zip(groups, alike, strict=True)
    ]
    rows.sort(key=lambda row: [_sortable(value) for value in row.group.values()])
    return Table(shared, rows)


def check_columns(runs: Iterable[Run], columns: Sequence[str]) -> None:
    """Raise UnknownNameError where a name is no quantity and no run recorded it."""
    odd = [name for name in columns if name not in all_quantities()]
    if odd:
        known = {name for run in runs for name in run.quantities} | set(all_quantities())
        for name in odd:
            if name not in known:
                raise UnknownNameError("quantity", name, known)


def value(run: Run, name: str) -> Reading:
    """Return a quantity as ``derive`` does; one that only other runs recorded is missing."""
    if name in run.quantities or name in all_quantities():
        return derive(run, name)
    return missing("not recorded")


def _row(group: dict[str, Factor], members: list[Run], columns: Sequence[str]) -> Row:
    done = [run for run in members if run.state == "done"]
    return Row(
        group=group,
        runs=len(done),
        failed=len(members) - len(done),
        quantities={name: _summary(done, name) for name in columns},
        warnings=tuple(dict.fromkeys(note for run in members for note in run.warnings)),
    )


def _summary(done: Sequence[Run], name: str) -> Reading:
    readings = [value(run, name) for run in done]
    return summarise_readings(readings) if readings else missing("no run is done")


def tell_apart(groups: Sequence[dict[str, Factor]]) -> list[str]:
    """Return the factors that tell groups apart: the workload, the usual ones, then the others."""
    names = list(dict.fromkeys(n for group in groups for n in group))
    telling = {n for n in names if len({repr(group.get(n)) for group in groups}) > 1}
    if "devices" in telling:
        telling -= (
            {"devices_per_node"} if _several_layouts(groups) else {"devices_per_node", "nodes"}
        )
    order = [n for n in _FIRST if n in telling or n == "workload"]
    return [*order, *(n for n in names if n in telling and n not in order)]


def _several_layouts(groups: Sequence[dict[str, Factor]]) -> bool:
    layouts = {(group.get("devices"), group.get("nodes")) for group in groups}
    return len(layouts) > len({devices for devices, _ in layouts})


def _merged(
    by: Sequence[str], groups: list[dict[str, Factor]], alike: list[list[Run]]
) -> tuple[list[dict[str, Factor]], list[list[Run]]]:
    """Join the groups that are alike in the factors of ``by``. Raises UnknownNameError where no group has one."""
    known = {name for group in groups for name in group}
    for name in by:
        if known and name not in known:
            raise UnknownNameError("factor", name, known)
    members: dict[tuple[str, ...], list[Run]] = {}
    joined: dict[tuple[str, ...], dict[str, Factor]] = {}
    for group, runs in zip(groups, alike, strict=True):
        key = tuple(repr(group.get(name)) for name in by)
        members.setdefault(key, []).extend(runs)
        joined.setdefault(key, {name: group.get(name) for name in by})
    return list(joined.values()), list(members.values())


def _sortable(value: Factor) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0 if value is None else 2, 0.0, str(value))

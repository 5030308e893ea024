"""Groups of comparable runs: only the factors under study and the seed and repeat may differ."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np

from wattlaw.core.errors import FitError, UsageError, nearest
from wattlaw.core.factors import NO_CAP, factor_label
from wattlaw.core.factors import Factor as Factor
from wattlaw.core.factors import factors as factors
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.law import Observations
from wattlaw.laws.priors import Family
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST

Key = TypeVar("Key")

LAYOUT = frozenset({"devices", "nodes", "devices_per_node"})

FAMILY_FACTORS = ("devices", "batch_per_device")
"""What may differ within a family: the α–β law explains devices, nodes and batch together."""


class Group(NamedTuple):
    """Runs that share every factor except those under study, named by ``key``."""

    key: dict[str, str]
    runs: list[Run]


class Observed(NamedTuple):
    """The observations of a group, the status of the target, and warnings."""

    observations: Observations
    status: str
    notes: tuple[Note, ...]


def split_by(runs: Iterable[Run], key: Callable[[Run], Key]) -> dict[Key, list[Run]]:
    """Return runs by a key, in the order of each key's first run."""
    found: dict[Key, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def group_runs(
    runs: Iterable[Run], over: Sequence[str], split_layouts: bool = True
) -> tuple[list[Group], tuple[Note, ...]]:
    """Group runs by all factors except ``over``. Failed runs are left out, and a note counts them.

    If ``over`` contains "devices", runs with different layouts over nodes are in one group, unless
    ``split_layouts`` is true and one device count was run in several layouts.
    """
    runs = list(runs)
    done = [run for run in runs if run.state == "done"]
    ignored = set(over)
    if LAYOUT & ignored:
        ignored |= LAYOUT
    if split_layouts and "devices" in over and _several_layouts(done):
        ignored -= {"devices_per_node"}

    def shared(run: Run) -> tuple[tuple[str, Factor], ...]:
        found = factors(run)
        return tuple(sorted((name, found[name]) for name in found.keys() - ignored))

    members = split_by(done, shared)
    keys = _readable([dict(key) for key in members])
    groups = [Group(key, each) for key, each in zip(keys, members.values(), strict=True)]
    return groups, _failed_note(len(runs), len(done))


def factor_value(run: Run, over: str) -> float | None:
    """Return a factor of a run as a number; None if it is not a number, such as no power cap."""
    value = factors(run).get(over)
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_factor(runs: Sequence[Run], over: str) -> None:
    """Raise UsageError if no run has a number for ``over``."""
    if any(factor_value(run, over) is not None for run in runs):
        return
    known = set()
    for run in runs:
        known |= {name for name in factors(run) if factor_value(run, name) is not None}
    raise UsageError(f"no run has a number for {over!r}; {nearest(over, known)}")


def varied_numbers(runs: Sequence[Run]) -> list[str]:
    """Return the numeric factors in which finished runs differ; devices stand for their layouts."""
    found: dict[str, set[float]] = {}
    for run in runs:
        for name in factors(run) if run.state == "done" else ():
            number = factor_value(run, name)
            if number is not None:
                found.setdefault(name, set()).add(number)
    layout = LAYOUT - {"devices"}
    return [name for name, values in found.items() if len(values) > 1 and name not in layout]


def observe(
    runs: Iterable[Run], target: str, over: str, covariates: Sequence[str] = ()
) -> Observed:
    """Return the observations of one quantity, with further quantities as ``covariates``.

    Runs without a usable value are left out, and a note counts them. Raises FitError if none has
    one.
    """
    rows: list[list[float]] = []
    reasons: dict[str, int] = {}
    statuses: set[str] = set()
    notes: list[Note] = []
    task = ""
    for run in runs:
        x, reading = factor_value(run, over), derive(run, target)
        fault = f"no number for {over}" if x is None else _why_unusable(reading)
        if fault or x is None or reading.value is None:
            reasons[fault] = reasons.get(fault, 0) + 1
            continue
        statuses.add(reading.status)
        notes += run.warnings
        task = task or run.setting.workload
        rows.append([x, reading.value, *(_covariate(run, name) for name in covariates)])
    if not rows:
        raise FitError(f"no run has {target}: " + "; ".join(reasons))
    notes += _left_out_notes(target, reasons)
    table = np.array(rows, float)
    is_complete = np.isfinite(table).all(axis=1)
    if not is_complete.all():
        count = int((~is_complete).sum())
        notes.append(Note("runs_left_out", f"{count} without {' or '.join(covariates)}"))
    x_column, y_column, *others = table[is_complete].T
    columns = dict(zip(covariates, others, strict=True))
    status = "estimated" if "estimated" in statuses else "measured"
    observations = Observations(over, target, x_column, y_column, columns, task)
    return Observed(observations, status, tuple(dict.fromkeys(notes)))


def notes_on_left_out(runs: Iterable[Run], target: str) -> tuple[Note, ...]:
    """Return notes on the runs without a usable value of a quantity: how many, and why."""
    reasons: dict[str, int] = {}
    for run in runs:
        fault = _why_unusable(derive(run, target))
        if fault:
            reasons[fault] = reasons.get(fault, 0) + 1
    return tuple(_left_out_notes(target, reasons))


def group_title(key: Mapping[str, str]) -> str:
    """Return the name of a group for people, such as "schnet, batch_per_device 32"."""
    parts = []
    for name, value in key.items():
        is_plain = name in ("workload", "preset") or value == NO_CAP
        parts.append(value if is_plain else f"{name} {value}")
    return ", ".join(parts)


def summarise_faults(faults: Sequence[tuple[str, str]]) -> str:
    """Return one line for pairs of a group and the reason why it failed.

    Reasons that differ only in their numbers are given once, with the first such group and a count.
    """
    similar: dict[str, list[tuple[str, str]]] = {}
    for group, reason in faults:
        similar.setdefault(re.sub(r"[0-9][0-9.]*", "#", reason), []).append((group, reason))
    most_common = sorted(similar.values(), key=len, reverse=True)
    parts = []
    for same in most_common[:_MAX_REASONS]:
        group, reason = same[0]
        part = f"{group}: {reason}"
        if len(same) > 1:
            part += f" (and {counted(len(same) - 1, 'more similar group')})"
        parts.append(part)
    rest = sum(map(len, most_common[_MAX_REASONS:]))
    if rest:
        parts.append(f"{counted(rest, 'more group')} for other reasons")
    return "; ".join(parts)


_MAX_REASONS = 3


def is_energy(target: str) -> bool:
    """Return whether a quantity is an energy or a power."""
    return "energy" in target or "power_w" in target


def find_families(
    runs: Iterable[Run], least_sizes: int = 2, target_samples: bool = True
) -> list[Family]:
    """Return the families with ``least_sizes`` device counts or more, at medians of their runs.

    Runs without a rate or a batch are left out. With ``target_samples`` the samples of a run's
    window are those to its target, as in MLPerf; without it they are unknown.
    """
    found = []
    for group in group_runs(runs, FAMILY_FACTORS, split_layouts=False)[0]:
        usable = [run for run in group.runs if rate_of(run) and batch_of(run)]
        sizes = split_by(usable, lambda run: run.setting.devices)
        if len(sizes) >= least_sizes:
            name, task = tuple(group.key.values()), group.runs[0].setting.workload
            found.append(_family(name, task, sizes, target_samples))
    return found


def rate_of(run: Run) -> float | None:
    """Return samples per s of a run; None if missing or out of the measurable range."""
    value = derive(run, "samples_per_s").value
    return value if value is not None and SMALLEST <= value <= LARGEST else None


def batch_of(run: Run) -> float | None:
    """Return the global batch of a run: as recorded, or devices × batch per device."""
    recorded = run.reading("global_batch").value
    if recorded:
        return recorded
    batch = run.setting.batch_per_device
    return float(batch * run.setting.devices) if batch else None


def batch_per_device_of(run: Run) -> float:
    """Return the samples of a step on one device; 1 per step for a run without a batch."""
    return (batch_of(run) or 1.0) / run.setting.devices


def baseline_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the runs for the law over devices: those without a cap, else those at the highest cap.

    A cap with several device counts is preferred to a cap with a single one.
    """
    by_cap = split_by(runs, lambda run: run.setting.power_cap_w or math.inf)
    ordered = [by_cap[cap] for cap in sorted(by_cap, reverse=True)]
    for same in ordered:
        if count_device_numbers(same) > 1:
            return same
    return ordered[0] if ordered else []


def count_device_numbers(runs: Iterable[Run]) -> int:
    """Return how many different device counts were run."""
    return len({run.setting.devices for run in runs})


def _covariate(run: Run, name: str) -> float:
    """Return a further quantity of a run; NaN if it is unusable, or an estimated energy."""
    if name == "global_batch":
        return batch_of(run) or math.nan
    number = factor_value(run, name)
    if number is not None:
        return number
    reading = derive(run, name)
    if reading.value is None or _why_unusable(reading):
        return math.nan
    if is_energy(name) and reading.status != "measured":
        return math.nan
    return reading.value


def _why_unusable(reading: Reading) -> str:
    """Return why a law cannot use a reading; "" if it can."""
    value = reading.value
    if value is None:
        return reading.how or "missing"
    if not math.isfinite(value):
        return f"it is {value}, not finite"
    if value <= 0:
        return f"it is {value:g}, not positive"
    if not SMALLEST <= value <= LARGEST:
        return f"it is {value:g}, out of range ({SMALLEST:g} to {LARGEST:g})"
    return ""


def _left_out_notes(target: str, reasons: Mapping[str, int]) -> list[Note]:
    return [Note("runs_left_out", f"{n} without {target}: {why}") for why, n in reasons.items()]


def _several_layouts(runs: list[Run]) -> bool:
    layouts: dict[int, set[int]] = {}
    for run in runs:
        layouts.setdefault(run.setting.devices, set()).add(run.setting.devices_per_node)
    return any(len(found) > 1 for found in layouts.values())


def _readable(keys: list[dict[str, Factor]]) -> list[dict[str, str]]:
    """Return the workload of each group, and the factors in which the groups differ."""
    values: dict[str, set[Factor]] = {}
    for key in keys:
        for name in key:
            values[name] = {other.get(name) for other in keys}
    differing = [name for name in sorted(values) if len(values[name]) > 1 and name != "workload"]
    order = ["workload", *differing]
    found = []
    for key in keys:
        found.append({name: factor_label(name, key.get(name)) for name in order})
    return found


def _failed_note(count: int, done: int) -> tuple[Note, ...]:
    failed = count - done
    if not failed:
        return ()
    return (Note("failed_runs", f"{failed} of {counted(count, 'run')} failed; left out here"),)


def _family(
    name: tuple[str, ...], task: str, sizes: dict[int, list[Run]], target_samples: bool
) -> Family:
    devices = sorted(sizes)
    rows = []
    for n in devices:
        runs = sizes[n]
        samples = [run.reading("samples").value or math.nan for run in runs]
        batch = median(filter(None, map(batch_of, runs)))
        nodes = median(run.setting.nodes for run in runs)
        rate = median(filter(None, map(rate_of, runs)))
        rows.append((batch, nodes, rate, median(samples) if target_samples else math.nan))
    batches, nodes_of, rates, samples_of = np.array(rows, float).T
    return Family(name, task, Points.of(devices, batches, nodes_of), rates, samples_of)

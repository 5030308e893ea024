"""Which runs may be compared: those that differ in nothing but what is asked about, and in chance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import FitError, UsageError, nearest
from wattlaw.core.factors import Factor as Factor
from wattlaw.core.factors import factors as factors
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.priors import Family
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST

LAYOUT = frozenset({"devices", "nodes", "devices_per_node"})


class Group(NamedTuple):
    """Runs that share every factor but those asked about; ``key`` says what they share, for people."""

    key: dict[str, str]
    runs: list[Run]


class Measurements(NamedTuple):
    """One quantity of a group's runs: x (value of ``over``), y (positive, SI), and what stood beside them."""

    x: list[float]
    y: list[float]
    status: str
    notes: tuple[Note, ...]


def group_runs(
    runs: Iterable[Run], over: Sequence[str], split_layouts: bool = True
) -> tuple[list[Group], tuple[Note, ...]]:
    """Group runs by all factors but ``over``; runs that failed are left out, and a note says how many.

    Where ``over`` holds "devices", their layout over nodes is no factor either, unless one number of
    devices was run in several layouts and these are to be told apart.
    """
    runs = list(runs)
    done = [r for r in runs if r.state == "done"]
    left_out = set(over) | (LAYOUT if LAYOUT & set(over) else set())
    if split_layouts and "devices" in over and _several_layouts(done):
        left_out -= {"devices_per_node"}
    buckets: dict[tuple[tuple[str, Factor], ...], list[Run]] = {}
    for run in done:
        key = tuple(sorted((k, v) for k, v in factors(run).items() if k not in left_out))
        buckets.setdefault(key, []).append(run)
    named = _for_people([dict(k) for k in buckets])
    groups = [Group(name, members) for name, members in zip(named, buckets.values(), strict=True)]
    return groups, _failed_note(runs, done)


def factor_value(run: Run, over: str) -> float | None:
    """Return the number that a run has for a factor; None where it has none (such as no power cap)."""
    value = factors(run).get(over)
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_factor(runs: Sequence[Run], over: str) -> None:
    """Raise UsageError where no run has a number for ``over``."""
    if any(factor_value(r, over) is not None for r in runs):
        return
    known = {name for run in runs for name in factors(run) if factor_value(run, name) is not None}
    raise UsageError(f"no run has a number for {over!r}; {nearest(over, known)}")


def varied_numbers(runs: Sequence[Run]) -> list[str]:
    """Return the factors of which the runs that are done have several numbers; devices stand for their layouts."""
    found: dict[str, set[float]] = {}
    for run in runs:
        for name in factors(run) if run.state == "done" else ():
            if (number := factor_value(run, name)) is not None:
                found.setdefault(name, set()).add(number)
    return [n for n, values in found.items() if len(values) > 1 and n not in LAYOUT - {"devices"}]


def measurements(runs: Iterable[Run], target: str, over: str) -> Measurements:
    """Return a group's points for one quantity. Raises FitError where no run gave a usable one."""
    xs: list[float] = []
    ys: list[float] = []
    why: dict[str, int] = {}
    statuses: list[str] = []
    notes: list[Note] = []
    for run in runs:
        x, reading = factor_value(run, over), derive(run, target)
        fault = _unusable(x, reading, over)
        if fault or x is None or reading.value is None:
            why[fault] = why.get(fault, 0) + 1
            continue
        xs.append(x)
        ys.append(reading.value)
        statuses.append(reading.status)
        notes += run.warnings
    if not xs:
        raise FitError(f"no run gives {target}: " + "; ".join(why))
    notes += [
        Note("runs_left_out", f"{count} without {target}: {fault}") for fault, count in why.items()
    ]
    status = "estimated" if "estimated" in statuses else "measured"
    return Measurements(xs, ys, status, tuple(dict.fromkeys(notes)))


def notes_on_left_out(runs: Iterable[Run], target: str) -> tuple[Note, ...]:
    """Return notes on the runs that give no usable value of a quantity: how many, and why."""
    faults = [_unusable(0.0, derive(run, target), "") for run in runs]
    counts = {fault: faults.count(fault) for fault in faults if fault}
    return tuple(
        Note("runs_left_out", f"{count} without {target}: {fault}")
        for fault, count in counts.items()
    )


def group_title(key: dict[str, str]) -> str:
    """Return a group's key as people say it: "schnet, batch_per_device 32"."""
    return ", ".join(v if n in ("workload", "preset") else f"{n} {v}" for n, v in key.items())


def summarise_faults(faults: Sequence[tuple[str, str]]) -> str:
    """Return one line for (group, reason) that could not be done.

    Reasons that differ in their numbers only are told once, of the first such group, with how many there are.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for group, reason in faults:
        alike.setdefault(re.sub(r"[0-9][0-9.]*", "#", reason), []).append((group, reason))
    found = sorted(alike.values(), key=len, reverse=True)
    rest = sum(map(len, found[_MOST_REASONS:]))
    found = found[:_MOST_REASONS]
    others = [
        f" (and {counted(len(same) - 1, 'more group')} alike)" if len(same) > 1 else ""
        for same in found
    ]
    told = [f"{same[0][0]}: {same[0][1]}{more}" for same, more in zip(found, others, strict=True)]
    return "; ".join(
        [*told, *([f"{counted(rest, 'more group')} for other reasons"] if rest else [])]
    )


_MOST_REASONS = 3


def is_energy(target: str) -> bool:
    """Whether a quantity is an energy, or made of one."""
    return "energy" in target or "power_w" in target


def _unusable(x: float | None, reading: Reading, over: str) -> str:
    if x is None:
        return f"no number for {over}"
    if reading.value is None:
        return reading.how or "missing"
    if not math.isfinite(reading.value):
        return f"it is {reading.value}"
    if reading.value <= 0:
        return f"it is {reading.value:g}, not positive"
    return (
        ""
        if SMALLEST <= reading.value <= LARGEST
        else f"it is {reading.value:g}, which nothing measures"
    )


def _several_layouts(runs: list[Run]) -> bool:
    layouts: dict[int, set[int]] = {}
    for run in runs:
        layouts.setdefault(run.setting.devices, set()).add(run.setting.devices_per_node)
    return any(len(found) > 1 for found in layouts.values())


def _for_people(keys: list[dict[str, Factor]]) -> list[dict[str, str]]:
    # the workload always, and whatever tells these groups apart
    names = {n for key in keys for n in key}
    telling = [n for n in names if len({key.get(n) for key in keys}) > 1]
    order = ["workload", *sorted(set(telling) - {"workload"})]
    return [{n: _word(key[n]) for n in order if key.get(n) not in (None, "")} for key in keys]


def _word(value: Factor) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _failed_note(runs: list[Run], done: list[Run]) -> tuple[Note, ...]:
    failed = len(runs) - len(done)
    return (
        (Note("failed_runs", f"{failed} of {counted(len(runs), 'run')} failed; left out here"),)
        if failed
        else ()
    )


FAMILY_FACTORS = ("devices", "batch_per_device")


def find_families(
    runs: Iterable[Run], least_sizes: int = 2, target_samples: bool = True
) -> list[Family]:
    """Return the families with at least so many numbers of devices, each size at the median of its runs.

    Runs without a rate or a batch are left out. With ``target_samples`` the samples of a run's window are
    those that its target needed, as in MLPerf; without, they are unknown.
    """
    found = []
    for group in group_runs(runs, FAMILY_FACTORS, split_layouts=False)[0]:
        sizes: dict[int, list[Run]] = {}
        for run in group.runs:
            if rate_of(run) and batch_of(run):
                sizes.setdefault(run.setting.devices, []).append(run)
        if len(sizes) >= least_sizes:
            found.append(_family(group.runs[0], tuple(group.key.values()), sizes, target_samples))
    return found


def rate_of(run: Run) -> float | None:
    """Return samples per s of a run, where it is one that a clock could give: positive and not absurd."""
    value = derive(run, "samples_per_s").value
    return value if value is not None and SMALLEST <= value <= LARGEST else None


def batch_of(run: Run) -> float | None:
    """Return the global batch of a run: as recorded, or devices × batch a device."""
    recorded = run.reading("global_batch").value
    if recorded:
        return recorded
    share = run.setting.batch_per_device
    return float(share * run.setting.devices) if share else None


def batch_per_device_of(run: Run) -> float:
    """Return the samples of a step that one device takes; of a run without a batch as if its batch were 1."""
    return (batch_of(run) or 1.0) / run.setting.devices


def _family(
    first: Run, name: tuple[str, ...], sizes: dict[int, list[Run]], target_samples: bool
) -> Family:
    devices = sorted(sizes)
    rows = [
        (
            median(batch_of(r) or 0.0 for r in sizes[n]),
            median(r.setting.nodes for r in sizes[n]),
            median(rate_of(r) or 0.0 for r in sizes[n]),
            median(r.reading("samples").value or math.nan for r in sizes[n])
            if target_samples
            else math.nan,
        )
        for n in devices
    ]
    batches, nodes, rates, samples = (np.array(column, float) for column in zip(*rows, strict=True))
    return Family(name, first.setting.workload, Points.of(devices, batches, nodes), rates, samples)


def baseline_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that a law over devices is made of: those without a cap, or else those at the highest.

    The first of them with several numbers of devices, where there is any.
    """
    by_cap: dict[float, list[Run]] = {}
    for run in runs:
        by_cap.setdefault(run.setting.power_cap_w or math.inf, []).append(run)
    ordered = [by_cap[cap] for cap in sorted(by_cap, reverse=True)]
    return next(
        (some for some in ordered if count_device_numbers(some) > 1), ordered[0] if ordered else []
    )


def count_device_numbers(runs: Iterable[Run]) -> int:
    """Return how many numbers of devices were run."""
    return len({r.setting.devices for r in runs})

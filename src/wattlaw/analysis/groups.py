"""Which runs may be compared: those that differ in nothing but what is asked about, and in chance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wattlaw.core.errors import FitError, UsageError, nearest
from wattlaw.core.factors import Factor as Factor
from wattlaw.core.factors import factors as factors
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.statistics.checks import LEAST, MOST

LAYOUT = frozenset({"devices", "nodes", "devices_per_node"})


class Group(NamedTuple):
    """Runs that share every factor but those asked about; ``key`` says what they share, for people."""

    key: dict[str, str]
    runs: list[Run]


class Sample(NamedTuple):
    """One quantity of a group's runs: x (value of ``over``), y (positive, SI), and what stood beside them."""

    x: list[float]
    y: list[float]
    status: str
    notes: tuple[Note, ...]


def grouped(
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


def value_of(run: Run, over: str) -> float | None:
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
    if any(value_of(r, over) is not None for r in runs):
        return
    known = {name for run in runs for name in factors(run) if value_of(run, name) is not None}
    raise UsageError(f"no run has a number for {over!r}; {nearest(over, known)}")


def numbers_varied(runs: Sequence[Run]) -> list[str]:
    """Return the factors of which the runs that are done have several numbers; devices stand for their layouts."""
    found: dict[str, set[float]] = {}
    for run in runs:
        for name in factors(run) if run.state == "done" else ():
            if (number := value_of(run, name)) is not None:
                found.setdefault(name, set()).add(number)
    return [n for n, values in found.items() if len(values) > 1 and n not in LAYOUT - {"devices"}]


def sample(runs: Iterable[Run], target: str, over: str) -> Sample:
    """Return a group's points for one quantity. Raises FitError where no run gave a usable one."""
    xs: list[float] = []
    ys: list[float] = []
    why: dict[str, int] = {}
    statuses: list[str] = []
    notes: list[Note] = []
    for run in runs:
        x, reading = value_of(run, over), derive(run, target)
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
    return Sample(xs, ys, status, tuple(dict.fromkeys(notes)))


def left_out(runs: Iterable[Run], target: str) -> tuple[Note, ...]:
    """Return notes on the runs that give no usable value of a quantity: how many, and why."""
    faults = [_unusable(0.0, derive(run, target), "") for run in runs]
    counts = {fault: faults.count(fault) for fault in faults if fault}
    return tuple(
        Note("runs_left_out", f"{count} without {target}: {fault}")
        for fault, count in counts.items()
    )


def title(key: dict[str, str]) -> str:
    """Return a group's key as people say it: "schnet, batch_per_device 32"."""
    return ", ".join(v if n in ("workload", "preset") else f"{n} {v}" for n, v in key.items())


def summed(faults: Sequence[tuple[str, str]]) -> str:
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
        "" if LEAST <= reading.value <= MOST else f"it is {reading.value:g}, which nothing measures"
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

"""What the surveys compute from a table: counts, the frontier, trends over the years, and what changed between two."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from wattlaw.accelerators.catalogue.catalogue import LISTINGS, built_in
from wattlaw.accelerators.catalogue.entry import SEGMENTS, Entry, segment
from wattlaw.core.errors import UsageError

By = Literal["segment", "precision", "technology", "form_factor", "use"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """By what two editions of a survey are compared. ``at_least`` counts rows by promised op/s/W: 1, 10, 100 T."""

    rows: int
    with_peak_and_power: int
    form_factor: dict[str, int]
    use: dict[str, int]
    at_least: dict[str, int]
    median_op_per_joule: float | None
    pareto_points: int


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """One group in one year: how many entries, and their promised efficiency in op/s/W (median, best, whose)."""

    year: int
    by: str
    group: str
    entries: int
    median_op_per_joule: float
    best_op_per_joule: float
    best: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one listing from one survey to a later one: "new", "gone", or "changed" in a column."""

    accelerator: str
    precision: str
    change: str
    column: str = ""
    before: float | str | None = None
    after: float | str | None = None


class Listing(msgspec.Struct, frozen=True):
    """What one survey says of one accelerator at one precision. Missing figures are None."""

    accelerator: str
    precision: str
    survey: int
    peak_op_per_s: float | None
    power_w: float | None


def counts(entries: Sequence[Entry]) -> Counts:
    """Return the counts of a table's rows."""
    ratios = [r for e in entries if (r := e.op_per_joule) is not None]
    return Counts(
        rows=len(entries),
        with_peak_and_power=len(ratios),
        form_factor={
            w: sum(e.form_factor == w for e in entries) for w in ("chip", "card", "system")
        },
        use={w: sum(e.use == w for e in entries) for w in ("inference", "training")},
        at_least={
            w: sum(x >= r for x in ratios)
            for w, r in (("1 T", 1e12), ("10 T", 1e13), ("100 T", 1e14))
        },
        median_op_per_joule=median(ratios) if ratios else None,
        pareto_points=len(frontier(entries)),
    )


def frontier(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that no other beats, by ascending power.

    One beats another where it is as good or better in both peak and power, and better in one.
    """
    points = [e for e in entries if e.peak_op_per_s and e.power_w]
    kept = [e for e in points if not any(_beats(o, e) for o in points)]
    return sorted(kept, key=lambda e: (e.power_w or 0, e.accelerator))


def trend(entries: Iterable[Entry], by: By = "segment") -> list[Trend]:
    """Return each group's promised efficiency by year of release (or of first listing)."""
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        if entry.year is not None and entry.op_per_joule is not None:
            name = segment(entry.power_w) if by == "segment" else getattr(entry, by)
            groups.setdefault((entry.year, name), []).append(entry)
    found = []
    for (year, name), same in sorted(groups.items(), key=lambda g: (_place(by, g[0][1]), g[0][0])):
        best = max(same, key=lambda e: e.op_per_joule or 0)
        found.append(Trend(
            year=year, by=by, group=name, entries=len(same), best=best.label,
            median_op_per_joule=median(e.op_per_joule or 0 for e in same), best_op_per_joule=best.op_per_joule or 0,
        ))  # fmt: skip
    return found


@functools.cache
def listings(path: Path = LISTINGS) -> tuple[Listing, ...]:
    """Return what each survey says of each accelerator, as it stood in that year's table."""
    with open(path, encoding="utf-8", newline="") as file:
        return tuple(
            Listing(
                r["accelerator"],
                r["precision"],
                int(r["survey"]),
                _number(r["peak_op_per_s"]),
                _number(r["power_w"]),
            )
            for r in csv.DictReader(file)
        )


def surveys() -> list[int]:
    """Return the years of the surveys in the catalogue."""
    return sorted({listing.survey for listing in listings()})


def edition(year: int) -> list[Entry]:
    """Return the catalogue's entries as the survey of a year gave them: its own peaks and powers.

    Raises UsageError where there was no survey that year.
    """
    _check_year(year)
    known = {(e.accelerator, e.precision): e for e in built_in().entries}
    devices = {e.accelerator: e for e in built_in().entries}
    found = []
    for said in (one for one in listings() if one.survey == year):
        entry = known.get((said.accelerator, said.precision)) or devices.get(said.accelerator)
        if entry is not None:
            values = {
                "precision": said.precision,
                "peak_op_per_s": said.peak_op_per_s,
                "power_w": said.power_w,
            }
            found.append(msgspec.structs.replace(entry, surveys=(year,), note="", **values))
    return found


def diff(before: int, after: int) -> list[Change]:
    """Return what changed from the survey of one year to that of another. Raises UsageError for other years."""
    _check_year(before)
    _check_year(after)
    old, new = (
        {(s.accelerator, s.precision): s for s in listings() if s.survey == y}
        for y in (before, after)
    )
    found = []
    for key in sorted({*old, *new}):
        if key not in old:
            found.append(Change(accelerator=key[0], precision=key[1], change="new"))
        elif key not in new:
            found.append(Change(accelerator=key[0], precision=key[1], change="gone"))
        else:
            found += _changed(old[key], new[key])
    return _renamed_precisions(found)


def _changed(old: Listing, new: Listing) -> list[Change]:
    return [
        Change(
            accelerator=old.accelerator,
            precision=old.precision,
            change="changed",
            column=c,
            before=was,
            after=now,
        )
        for c in ("peak_op_per_s", "power_w")
        if (was := getattr(old, c)) != (now := getattr(new, c)) and not _rounding(was, now)
    ]


def _renamed_precisions(found: list[Change]) -> list[Change]:
    """Tell a device whose only listing changed its precision as one change instead of one gone and one new."""
    by_device: dict[str, list[Change]] = {}
    for change in found:
        by_device.setdefault(change.accelerator, []).append(change)
    told: list[Change] = []
    for device, changes in by_device.items():
        if sorted(c.change for c in changes) == ["gone", "new"]:
            was, now = (
                next(c.precision for c in changes if c.change == w) for w in ("gone", "new")
            )
            told.append(
                Change(
                    accelerator=device,
                    precision=now,
                    change="changed",
                    column="precision",
                    before=was,
                    after=now,
                )
            )
        else:
            told += changes
    return told


def _rounding(was: float | None, now: float | None) -> bool:
    return was is not None and now is not None and abs(was - now) <= 0.002 * max(was, now)


def _check_year(year: int) -> None:
    if year not in surveys():
        raise UsageError(f"there was no survey in {year}; valid: {', '.join(map(str, surveys()))}")


def _beats(one: Entry, other: Entry) -> bool:
    mine, theirs = ((e.peak_op_per_s or 0, e.power_w or 0) for e in (one, other))
    return mine != theirs and mine[0] >= theirs[0] and mine[1] <= theirs[1]


def _place(by: str, group: str) -> tuple[int, str]:
    names = [s.name for s in SEGMENTS]
    return (names.index(group) if by == "segment" and group in names else len(names), group)


def _number(text: str) -> float | None:
    return float(text) if text else None

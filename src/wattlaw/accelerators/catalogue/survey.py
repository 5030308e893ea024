"""The surveys: counts, Pareto frontier, trends over the years, changes between two years."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from wattlaw.accelerators.catalogue.catalogue import LISTINGS, built_in
from wattlaw.accelerators.catalogue.entry import SEGMENT_NAMES, CatalogueEntry, segment
from wattlaw.core.errors import UsageError

GroupBy = Literal["segment", "precision", "technology", "form_factor", "use"]

EFFICIENCIES = (("1 T", 1e12), ("10 T", 1e13), ("100 T", 1e14))
"""The efficiencies, op/s/W, that the counts compare with, and their names in the counts."""

ROUNDING = 0.002
"""Numbers of two surveys that differ by less than this share are equal."""


class SurveyCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts by which two editions of a survey are compared.

    at_least             rows of at least 1, 10 and 100 T op/s/W
    median_op_per_joule  median efficiency of the rows with peak and power, op/s/W
    """

    rows: int
    with_peak_and_power: int
    form_factor: dict[str, int]
    use: dict[str, int]
    at_least: dict[str, int]
    median_op_per_joule: float | None
    pareto_points: int


class EfficiencyTrend(msgspec.Struct, frozen=True, kw_only=True):
    """One group in one year: entries, median and best efficiency (op/s/W), and the best entry."""

    year: int
    by: str
    group: str
    entries: int
    median_op_per_joule: float
    best_op_per_joule: float
    best: str


class SurveyChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one listing between two surveys: "new", "gone", or "changed" in a column."""

    accelerator: str
    precision: str
    change: str
    column: str = ""
    before: float | str | None = None
    after: float | str | None = None


class SurveyListing(msgspec.Struct, frozen=True, kw_only=True):
    """What one survey says about one accelerator at one precision. Missing numbers are None."""

    accelerator: str
    precision: str
    survey: int
    peak_op_per_s: float | None
    power_w: float | None
    form_factor: str
    use: str


def counts(entries: Sequence[CatalogueEntry]) -> SurveyCounts:
    """Return the counts of a table's rows."""
    efficiencies = [e.op_per_joule for e in entries if e.op_per_joule is not None]
    at_least = {}
    for name, bound in EFFICIENCIES:
        at_least[name] = sum(x >= bound for x in efficiencies)
    form_factors = Counter(e.form_factor for e in entries)
    uses = Counter(e.use for e in entries)
    return SurveyCounts(
        rows=len(entries),
        with_peak_and_power=len(efficiencies),
        form_factor={w: form_factors[w] for w in ("chip", "card", "system")},
        use={"inference": uses["inference"], "training": uses["training"]},
        at_least=at_least,
        median_op_per_joule=median(efficiencies) if efficiencies else None,
        pareto_points=len(frontier(entries)),
    )


def frontier(entries: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return the Pareto frontier: the entries that no other dominates, by ascending power.

    One entry dominates another if it is at least as good in both peak and power, and better in one.
    """
    points = [e for e in entries if e.peak_op_per_s and e.power_w]
    kept = []
    for entry in points:
        if not any(_dominates(other, entry) for other in points):
            kept.append(entry)
    return sorted(kept, key=lambda e: (e.power_w or 0, e.accelerator))


def trend(entries: Iterable[CatalogueEntry], by: GroupBy = "segment") -> list[EfficiencyTrend]:
    """Return each group's efficiency by year of release (or of first listing)."""
    groups: dict[tuple[str, int], list[CatalogueEntry]] = {}
    for entry in entries:
        if entry.year is not None and entry.op_per_joule is not None:
            groups.setdefault((group_of(entry, by), entry.year), []).append(entry)
    order = {name: place for place, name in enumerate(SEGMENT_NAMES)}
    found = []
    for name, year in sorted(groups, key=lambda key: (order.get(key[0], len(order)), *key)):
        same = groups[name, year]
        efficiencies = [e.op_per_joule or 0.0 for e in same]
        best = max(same, key=lambda e: e.op_per_joule or 0)
        found.append(
            EfficiencyTrend(
                year=year,
                by=by,
                group=name,
                entries=len(same),
                median_op_per_joule=median(efficiencies),
                best_op_per_joule=max(efficiencies),
                best=best.label,
            )
        )
    return found


def group_of(entry: CatalogueEntry, by: GroupBy) -> str:
    """Return the group of an entry: its segment, precision, technology, form factor or use."""
    if by == "segment":
        return segment(entry.power_w)
    name: str = getattr(entry, by)
    return name


@functools.cache
def listings(path: Path = LISTINGS) -> tuple[SurveyListing, ...]:
    """Return what each survey said about each accelerator in its year."""
    rows = []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.append({name: cell or None for name, cell in row.items()})
    return msgspec.convert(rows, tuple[SurveyListing, ...], strict=False)


def surveys() -> list[int]:
    """Return the years of the surveys in the catalogue."""
    return sorted({listing.survey for listing in listings()})


def edition(year: int) -> list[CatalogueEntry]:
    """Return the catalogue's entries with the values that the survey of a year listed.

    Raises UsageError if there was no survey that year.
    """
    _check_year(year)
    known = {(e.accelerator, e.precision): e for e in built_in().entries}
    devices = {e.accelerator: e for e in built_in().entries}
    found = []
    for listing in listings():
        if listing.survey != year:
            continue
        entry = known.get((listing.accelerator, listing.precision))
        entry = entry or devices.get(listing.accelerator)
        if entry is not None:
            values = msgspec.structs.asdict(listing)
            del values["survey"]
            found.append(msgspec.structs.replace(entry, surveys=(year,), note="", **values))
    return found


def diff(before: int, after: int) -> list[SurveyChange]:
    """Return the changes between two surveys. Raises UsageError for a year without a survey."""
    _check_year(before)
    _check_year(after)
    old = {(s.accelerator, s.precision): s for s in listings() if s.survey == before}
    new = {(s.accelerator, s.precision): s for s in listings() if s.survey == after}
    found = []
    for key in sorted({*old, *new}):
        if key not in old:
            found.append(SurveyChange(accelerator=key[0], precision=key[1], change="new"))
        elif key not in new:
            found.append(SurveyChange(accelerator=key[0], precision=key[1], change="gone"))
        else:
            found += _changed_values(old[key], new[key])
    return _merge_changed_precisions(found)


def _changed_values(old: SurveyListing, new: SurveyListing) -> list[SurveyChange]:
    found = []
    for column in ("peak_op_per_s", "power_w"):
        was, now = getattr(old, column), getattr(new, column)
        if was != now and not _is_rounding(was, now):
            change = SurveyChange(
                accelerator=old.accelerator,
                precision=old.precision,
                change="changed",
                column=column,
                before=was,
                after=now,
            )
            found.append(change)
    return found


def _merge_changed_precisions(found: list[SurveyChange]) -> list[SurveyChange]:
    """Report a device whose only listing changed its precision as changed, not as gone and new."""
    by_device: dict[str, list[SurveyChange]] = {}
    for change in found:
        by_device.setdefault(change.accelerator, []).append(change)
    merged: list[SurveyChange] = []
    for device, changes in by_device.items():
        precisions = {c.change: c.precision for c in changes}
        if len(changes) == 2 and set(precisions) == {"gone", "new"}:
            change = SurveyChange(
                accelerator=device,
                precision=precisions["new"],
                change="changed",
                column="precision",
                before=precisions["gone"],
                after=precisions["new"],
            )
            merged.append(change)
        else:
            merged += changes
    return merged


def _is_rounding(was: float | None, now: float | None) -> bool:
    if was is None or now is None:
        return False
    return abs(was - now) <= ROUNDING * max(was, now)


def _check_year(year: int) -> None:
    if year not in surveys():
        valid = ", ".join(map(str, surveys()))
        raise UsageError(f"there was no survey in {year}; valid: {valid}")


def _dominates(one: CatalogueEntry, other: CatalogueEntry) -> bool:
    one_peak, one_power = one.peak_op_per_s or 0, one.power_w or 0
    other_peak, other_power = other.peak_op_per_s or 0, other.power_w or 0
    if (one_peak, one_power) == (other_peak, other_power):
        return False
    return one_peak >= other_peak and one_power <= other_power

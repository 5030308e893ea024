"""The catalogue that comes with wattlaw, a site's own beside it, and the filters over both."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.accelerators.catalogue.entry import (
    FORM_FACTORS,
    PRECISIONS,
    SEGMENTS,
    TECHNOLOGIES,
    USES,
    Entry,
    Table,
    segment,
)
from wattlaw.accelerators.catalogue.read import read_table
from wattlaw.core.errors import UnknownNameError, UsageError

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue.csv"
LISTINGS = HERE / "listings.csv"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to keep; an empty field keeps all. Powers in W; ``survey`` is a year of the surveys.

    ``company`` and ``name`` are found anywhere in the company, or in the identity, product or label.
    """

    years: tuple[int, int] | None = None
    survey: int | None = None
    precision: tuple[str, ...] = ()
    form_factor: tuple[str, ...] = ()
    technology: tuple[str, ...] = ()
    use: tuple[str, ...] = ()
    segment: tuple[str, ...] = ()
    company: str = ""
    name: str = ""
    least_power_w: float | None = None
    most_power_w: float | None = None


@functools.cache
def built_in() -> Table:
    """Return the catalogue that comes with wattlaw."""
    return read_table(CATALOGUE)


def load(own: Path | None = None) -> Table:
    """Return the catalogue with the entries of ``own`` before it; they win where both have one.

    Raises RecordError or DataError where ``own`` can't be read at all; its faults are the table's.
    """
    if own is None:
        return built_in()
    mine = read_table(own)
    taken = {(e.accelerator, e.precision) for e in mine.entries}
    rest = [
        (e, n)
        for e, n in zip(*built_in()[1:3], strict=True)
        if (e.accelerator, e.precision) not in taken
    ]
    entries = [*mine.entries, *(e for e, _ in rest)]
    return Table(mine.file, entries, [*mine.lines, *(n for _, n in rest)], mine.faults)


def select(entries: Iterable[Entry], chosen: Filter) -> list[Entry]:
    """Return the entries that a filter keeps.

    Raises UnknownNameError for a word of no vocabulary and for a company or name that is nowhere in ``entries``,
    UsageError for the year of no survey.
    """
    entries = list(entries)
    check_words("precision", chosen.precision, PRECISIONS)
    check_words("form factor", chosen.form_factor, FORM_FACTORS)
    check_words("technology", chosen.technology, TECHNOLOGIES)
    check_words("use", chosen.use, USES)
    check_words("segment", chosen.segment, [s.name for s in SEGMENTS])
    companies = {e.company for e in entries}
    if not any(chosen.company.lower() in c.lower() for c in companies):
        raise UnknownNameError("company", chosen.company, companies)
    if not any(chosen.name.lower() in _names(e) for e in entries):
        raise UnknownNameError("accelerator", chosen.name, {e.accelerator for e in entries})
    surveys = {y for e in entries for y in e.surveys}
    if chosen.survey is not None and chosen.survey not in surveys:
        raise UsageError(
            f"there was no survey in {chosen.survey}; valid: {', '.join(map(str, sorted(surveys)))}"
        )
    return [e for e in entries if _kept(e, chosen)]


def check_words(kind: str, words: Iterable[str], valid: Sequence[str]) -> None:
    """Raise UnknownNameError for the first of ``words`` that the vocabulary does not have."""
    for word in words:
        if word not in valid:
            raise UnknownNameError(kind, word, valid)


def named(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Return the entries of one accelerator by identity, product, label or the name a driver or MLPerf gives it.

    Some words of a name do where they are in one accelerator's names only. Where they are in several, UsageError
    names those; where they are in none, UnknownNameError the nearest identities.
    """
    word = aliases().get(folded(name), name)
    for field in ("accelerator", "product", "label"):
        found = [e for e in entries if folded(getattr(e, field)) == folded(word)]
        if found:
            return [e for e in entries if e.accelerator == found[0].accelerator]
    wanted = _words(name)
    holding = {
        e.accelerator for e in entries if wanted and wanted <= _words(f"{e.company} {_names(e)}")
    }
    if len(holding) > 1:
        raise UsageError(f"{name!r} may be {_listed(sorted(holding))}; name one of them")
    if not holding:
        # a B20 is no B200, so a part of a word is a suggestion only
        near = {e.accelerator for e in entries if folded(name) in _names(e)}
        raise UnknownNameError(
            "accelerator", name, near or {n for e in entries for n in (e.accelerator, e.label)}
        )
    return [e for e in entries if e.accelerator in holding]


@functools.cache
def aliases() -> dict[str, str]:
    """Return which accelerator each name of a driver or an MLPerf system file means, names folded."""
    with open(HERE / "aliases.csv", encoding="utf-8", newline="") as file:
        return {folded(row["alias"]): row["accelerator"] for row in csv.DictReader(file)}


def folded(name: str) -> str:
    """Return a name without regard to case and runs of blanks."""
    return " ".join(name.lower().split())


def representative(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry per accelerator and use, as the surveys plot them: those they list, else the best for its use.

    For training that is fp16 before bf16 and tf32; for inference int8 before the floating-point ones. A format that
    is slower than fp32 on the same accelerator is passed over.
    """
    order = {
        "inference": ("int8", "fp8", "fp16", "bf16"),
        "training": ("fp16", "bf16", "fp8", "tf32", "fp32"),
    }
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.accelerator, []).append(entry)
    kept: list[Entry] = []
    for same in groups.values():
        listed = [e for e in same if e.surveys]
        if listed:
            kept += listed
            continue
        wanted = order["inference" if same[0].use == "inference" else "training"]
        rank = {precision: place for place, precision in enumerate(wanted)}
        kept.append(min(worth_using(same), key=lambda e: rank.get(e.precision, len(wanted))))
    return kept


def worth_using(entries: Sequence[Entry]) -> list[Entry]:
    """Return one accelerator's entries less those slower than its fp32: some GPUs run fp16 at 1/64 of that rate."""
    fp32 = max((e.peak_op_per_s or 0 for e in entries if e.precision == "fp32"), default=0)
    return [e for e in entries if (e.peak_op_per_s or 0) >= fp32]


def _names(entry: Entry) -> str:
    """Return all by which an entry is found, as lower-case text."""
    return folded(f"{entry.accelerator} {entry.product} {entry.label}")


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f", … ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _kept(entry: Entry, chosen: Filter) -> bool:
    power = entry.power_w
    return (
        (
            chosen.years is None
            or (entry.year is not None and chosen.years[0] <= entry.year <= chosen.years[1])
        )
        and (chosen.survey is None or chosen.survey in entry.surveys)
        and (not chosen.precision or entry.precision in chosen.precision)
        and (not chosen.form_factor or entry.form_factor in chosen.form_factor)
        and (not chosen.technology or entry.technology in chosen.technology)
        and (not chosen.use or entry.use in chosen.use)
        and (not chosen.segment or segment(power) in chosen.segment)
        and chosen.company.lower() in entry.company.lower()
        and chosen.name.lower() in _names(entry)
        and (chosen.least_power_w is None or (power is not None and power >= chosen.least_power_w))
        and (chosen.most_power_w is None or (power is not None and power <= chosen.most_power_w))
    )

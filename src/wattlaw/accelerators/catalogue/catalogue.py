"""The built-in catalogue, a site's own table beside it, filters, and look-up by name."""

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
    SEGMENT_NAMES,
    TECHNOLOGIES,
    USES,
    CatalogueEntry,
    CatalogueTable,
    segment,
)
from wattlaw.accelerators.catalogue.read import read_table
from wattlaw.core.errors import UnknownNameError, UsageError

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue.csv"
LISTINGS = HERE / "listings.csv"

PREFERRED_PRECISIONS = {
    "inference": ("int8", "fp8", "fp16", "bf16"),
    "training": ("fp16", "bf16", "fp8", "tf32", "fp32"),
}
"""The precision that represents an accelerator in a figure, best first, by its use."""

VOCABULARY_FILTERS = (
    ("precision", PRECISIONS),
    ("form_factor", FORM_FACTORS),
    ("technology", TECHNOLOGIES),
    ("use", USES),
    ("segment", SEGMENT_NAMES),
)
MAX_NAMES_LISTED = 12


class CatalogueFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to keep; an empty field keeps all. Powers are in W.

    ``survey`` is the year of a survey, ``company`` is any part of the company's name, ``name`` any
    part of the identity, product or label.
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

    def keeps(self, entry: CatalogueEntry) -> bool:
        """Return whether an entry passes every field of the filter."""
        return (
            self._keeps_words(entry)
            and self._keeps_years(entry)
            and self._keeps_power(entry.power_w)
            and self.company.lower() in entry.company.lower()
            and self.name.lower() in searchable_names(entry)
        )

    def _keeps_words(self, entry: CatalogueEntry) -> bool:
        return all(
            not words or word in words
            for words, word in (
                (self.precision, entry.precision),
                (self.form_factor, entry.form_factor),
                (self.technology, entry.technology),
                (self.use, entry.use),
                (self.segment, segment(entry.power_w)),
            )
        )

    def _keeps_years(self, entry: CatalogueEntry) -> bool:
        if self.survey is not None and self.survey not in entry.surveys:
            return False
        if self.years is None:
            return True
        return entry.year is not None and self.years[0] <= entry.year <= self.years[1]

    def _keeps_power(self, power_w: float | None) -> bool:
        if power_w is None:
            return self.least_power_w is None and self.most_power_w is None
        if self.least_power_w is not None and power_w < self.least_power_w:
            return False
        return self.most_power_w is None or power_w <= self.most_power_w


@functools.cache
def built_in() -> CatalogueTable:
    """Return the catalogue that comes with wattlaw."""
    return read_table(CATALOGUE)


def load(own: Path | None = None) -> CatalogueTable:
    """Return the catalogue, with the entries of ``own`` first; they replace built-in ones.

    Raises RecordError or DataError if ``own`` cannot be read at all; the faults are those of
    ``own``.
    """
    if own is None:
        return built_in()
    table = read_table(own)
    replaced = {(e.accelerator, e.precision) for e in table.entries}
    entries, lines = list(table.entries), list(table.lines)
    for entry, line in zip(built_in().entries, built_in().lines, strict=True):
        if (entry.accelerator, entry.precision) not in replaced:
            entries.append(entry)
            lines.append(line)
    return CatalogueTable(table.file, entries, lines, table.faults)


def select(entries: Iterable[CatalogueEntry], chosen: CatalogueFilter) -> list[CatalogueEntry]:
    """Return the entries that a filter keeps.

    Raises UnknownNameError for a word that is in no vocabulary and for a company or name that no
    entry has, UsageError for a year without a survey.
    """
    entries = list(entries)
    for name, vocabulary in VOCABULARY_FILTERS:
        check_words(name.replace("_", " "), getattr(chosen, name), vocabulary)
    companies = {e.company for e in entries}
    if not any(chosen.company.lower() in c.lower() for c in companies):
        raise UnknownNameError("company", chosen.company, companies)
    if not any(chosen.name.lower() in searchable_names(e) for e in entries):
        raise UnknownNameError("accelerator", chosen.name, {e.accelerator for e in entries})
    surveys = {year for e in entries for year in e.surveys}
    if chosen.survey is not None and chosen.survey not in surveys:
        valid = ", ".join(map(str, sorted(surveys)))
        raise UsageError(f"there was no survey in {chosen.survey}; valid: {valid}")
    return [e for e in entries if chosen.keeps(e)]


def check_words(kind: str, words: Iterable[str], valid: Sequence[str]) -> None:
    """Raise UnknownNameError for the first of ``words`` that the vocabulary does not have."""
    for word in words:
        if word not in valid:
            raise UnknownNameError(kind, word, valid)


def named(entries: Sequence[CatalogueEntry], name: str) -> list[CatalogueEntry]:
    """Return the entries of one accelerator.

    ``name`` is its identity, product or label, or its name in a driver or in MLPerf. Part of a name
    is enough if its words appear in the names of one accelerator only. Raises UsageError, which
    names the accelerators, if they appear in several; UnknownNameError with the nearest names if in
    none.
    """
    word = aliases().get(folded(name), name)
    for field in ("accelerator", "product", "label"):
        for entry in entries:
            if folded(getattr(entry, field)) == folded(word):
                return [e for e in entries if e.accelerator == entry.accelerator]
    matches = _containing_words(entries, name)
    if len(matches) > 1:
        names = sorted(matches)
        more = len(names) - MAX_NAMES_LISTED
        text = ", ".join(names[:MAX_NAMES_LISTED]) + (f", … ({more} more)" if more > 0 else "")
        raise UsageError(f"{name!r} may be {text}; name one of them")
    if not matches:
        # "B20" is not "B200", so an accelerator that contains part of a word is only suggested
        near = {e.accelerator for e in entries if folded(name) in searchable_names(e)}
        known = {n for e in entries for n in (e.accelerator, e.label)}
        raise UnknownNameError("accelerator", name, near or known)
    return [e for e in entries if e.accelerator in matches]


@functools.cache
def aliases() -> dict[str, str]:
    """Return the accelerator of each folded name in drivers and MLPerf system files."""
    with open(HERE / "aliases.csv", encoding="utf-8", newline="") as file:
        return {folded(row["alias"]): row["accelerator"] for row in csv.DictReader(file)}


def folded(name: str) -> str:
    """Return a name in lower case with single blanks."""
    return " ".join(name.lower().split())


def representative(entries: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return the entries by which the surveys would plot each accelerator.

    These are the entries that a survey lists, otherwise the first of ``PREFERRED_PRECISIONS`` for
    its use. A format that is slower than fp32 on the same accelerator is skipped.
    """
    groups: dict[str, list[CatalogueEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.accelerator, []).append(entry)
    kept: list[CatalogueEntry] = []
    for same in groups.values():
        listed = [e for e in same if e.surveys]
        kept += listed or [_preferred(same)]
    return kept


def not_below_fp32(entries: Sequence[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return one accelerator's entries without those slower than its fp32.

    Some GPUs run fp16 at 1/64 of their fp32 rate.
    """
    fp32 = max((e.peak_op_per_s or 0 for e in entries if e.precision == "fp32"), default=0)
    return [e for e in entries if (e.peak_op_per_s or 0) >= fp32]


def searchable_names(entry: CatalogueEntry) -> str:
    """Return the names by which an entry is found, as lower-case text."""
    return folded(f"{entry.accelerator} {entry.product} {entry.label}")


def _preferred(same: Sequence[CatalogueEntry]) -> CatalogueEntry:
    use = "inference" if same[0].use == "inference" else "training"
    order = PREFERRED_PRECISIONS[use]
    rank = {precision: place for place, precision in enumerate(order)}
    return min(not_below_fp32(same), key=lambda e: rank.get(e.precision, len(order)))


def _containing_words(entries: Sequence[CatalogueEntry], name: str) -> set[str]:
    """Return the accelerators whose names contain all words of ``name``."""
    words = _words(name)
    if not words:
        return set()
    return {e.accelerator for e in entries if words <= _words(f"{e.company} {searchable_names(e)}")}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))

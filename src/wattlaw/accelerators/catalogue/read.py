"""Reads a table of accelerators, in wattlaw's layout or the surveys', and reports every fault.

Good rows are kept whatever is wrong with others. A row is dropped only if it holds nothing usable:
no company or product, a negative or zero number, a number that cannot be read.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NoReturn

import msgspec

from wattlaw.accelerators.catalogue.entry import (
    VOCABULARIES,
    CatalogueEntry,
    CatalogueTable,
    normalise,
    slug,
)
from wattlaw.accelerators.catalogue.rules import find_doubts, keep_first_rows
from wattlaw.core.csv_table import CsvTable, TableFault, read_csv
from wattlaw.core.errors import DataError, nearest

FORMAT = 1
"""Version of the catalogue's layout: the number in its first line, ``# wattlaw accelerators 1``."""

COLUMNS = CatalogueEntry.__struct_fields__
_NEEDED = ("company", "product", "precision", "peak_op_per_s", "power_w")
_NUMBERS = (
    *("peak_op_per_s", "power_w", "memory_bytes", "memory_bandwidth_bytes_per_s"),
    *("link_bandwidth_bytes_per_s", "price_usd"),
)
_NEVER_EMPTY = ("precision", "use", "form_factor", "technology", "peak_op_per_s", "power_w")
_SURVEY_COLUMNS = {
    "company": "Company",
    "product": "Product",
    "label": "Label",
    "precision": "Precision",
    "peak_op_per_s": "PeakPerformance",
    "power_w": "Power",
    "technology": "Technology",
    "use": "IorT",
    "form_factor": "FormFactor",
    "source": "ReferenceURL",
}
_OWN_COLUMNS = {c: c for c in COLUMNS}
_IGNORED_COLUMNS = {
    *("Country", "PlotLocation", "Hide", "PlotLocationZ", "HideZ", "AI Model", "Updated"),
    *("Notes", "Reference"),
}


class _UnusableRowError(Exception):
    """A cell makes its row unusable; the fault is recorded."""


def read_table(path: Path, year: int | None = None) -> CatalogueTable:
    """Read a table of accelerators, in wattlaw's layout or that of the Lincoln AI Computing Survey.

    ``year`` is the survey's year; by default the year in the file's name.
    Raises RecordError if there is no such file, DataError if it is not a table of accelerators.
    """
    raw = read_csv(path, comment="#", fill_short_rows=True)
    is_survey = "PeakPerformance" in raw.header and "Product" in raw.header
    columns = _SURVEY_COLUMNS if is_survey else _OWN_COLUMNS
    _check_header(raw, columns, is_survey)
    if is_survey:
        year = year or _year_in_name(path)
    entries, lines = [], []
    for row in raw.rows:
        cells = _RowReader(raw, row.line, row.cells, columns)
        try:
            entries.append(cells.entry(year if is_survey else None))
        except _UnusableRowError:
            continue
        lines.append(row.line)
    table = CatalogueTable(raw.file, entries, lines, raw.faults)
    if not is_survey:
        table = keep_first_rows(table)
    faults = list(table.faults)
    for doubt in find_doubts(table):
        column = columns.get(doubt.column, doubt.column)
        faults.append(msgspec.structs.replace(doubt, column=column))
    return table._replace(faults=_merge_repeated(faults))


def _check_header(raw: CsvTable, columns: dict[str, str], is_survey: bool) -> None:
    """Record missing and unknown columns. Raises DataError if the table names no accelerators."""
    if not {columns["company"], columns["product"]} & set(raw.header):
        raise DataError(
            f"{raw.file}: line {raw.header_line}: not a table of accelerators; "
            f"it needs the columns {', '.join(_NEEDED)}, "
            f"this one has {', '.join(raw.header[:6]) or 'none'}"
        )
    for name in _NEEDED:
        if columns[name] not in raw.header:
            text = "the column is missing; its values are read as unknown"
            raw.add_fault(raw.header_line, columns[name], text, "doubted", "missing-column")
    version = _version(raw)
    known = set(columns.values())
    if is_survey:
        known |= _IGNORED_COLUMNS
    for name in raw.header:
        if name not in known and version <= FORMAT:
            text = f"an unknown column; {nearest(name, known)}"
            raw.add_fault(raw.header_line, name, text, "doubted", "unknown-column")


def _version(raw: CsvTable) -> int:
    for line in raw.preface:
        match = re.match(r"# wattlaw accelerators (\d+)", line)
        if match is None:
            continue
        version = int(match[1])
        if version > FORMAT:
            text = (
                f"layout {version} of a newer wattlaw (this one reads {FORMAT}); "
                "the known columns are read"
            )
            raw.add_fault(1, "", text, "doubted", "newer-version")
        return version
    return FORMAT


class _RowReader:
    """Reads the cells of one row; faults are recorded in the table."""

    def __init__(
        self, raw: CsvTable, line: int, cells: dict[str, str], columns: dict[str, str]
    ) -> None:
        self.raw, self.line, self.cells, self.columns = raw, line, cells, columns

    def text(self, name: str) -> str:
        """Return the cell of a field of the entry; "" if the table has no such column."""
        return self.cells.get(self.columns.get(name, ""), "")

    def entry(self, survey: int | None) -> CatalogueEntry:
        """Return the row as an entry; ``survey`` is the year of the survey's table."""
        for name in ("company", "product"):
            if not self.text(name):
                self._drop(name, "no value; the row cannot be identified", "no-name")
        values: dict[str, object] = {
            name: self.text(name) for name in ("company", "product", "note")
        }
        values["label"] = self.text("label") or self.text("product")
        values["source"] = " ".join(re.split(r"[;\s]+", self.text("source")))
        identity = slug(self.text("company"), self.text("product"))
        values["accelerator"] = self.text("accelerator") or identity
        for name in VOCABULARIES:
            if name in self.columns:
                values[name] = self._word(name)
        for name in _NUMBERS:
            if name in self.columns:
                values[name] = self._number(name)
        if survey is not None:
            values |= {"year": survey, "year_from": "listed", "surveys": (survey,)}
            self._check_date("Updated")
        elif "year" in self.columns:
            values |= {"year": self._year(), "surveys": self._surveys()}
        return msgspec.convert(values, CatalogueEntry)

    def _drop(self, name: str, text: str, rule: str) -> NoReturn:
        self.raw.add_fault(self.line, self.columns[name], text, "dropped", rule)
        raise _UnusableRowError

    def _doubt(self, name: str, text: str, rule: str) -> None:
        self.raw.add_fault(self.line, self.columns[name], text, "doubted", rule)

    def _doubt_empty(self, name: str) -> None:
        if name in _NEVER_EMPTY and self.columns[name] in self.cells:
            text = "no value" if name in _NUMBERS else "no value, read as unknown"
            self._doubt(name, text, "no-value")

    def _word(self, name: str) -> str:
        text = self.text(name)
        word = normalise(name, text)
        if not text:
            self._doubt_empty(name)
        elif word is None:
            valid = ", ".join(VOCABULARIES[name][0])
            self._doubt(
                name, f"unknown word {text!r}, read as unknown; valid: {valid}", f"unknown-{name}"
            )
        elif word == "unknown" != text:
            self._doubt(name, f"{text!r} is too vague, read as unknown", "vague-word")
        elif word != text:
            column, said = self.columns[name], f"{text!r} read as {word!r}"
            self.raw.add_fault(self.line, column, said, "mended", "vocabulary")
        return word or "unknown"

    def _number(self, name: str) -> float | None:
        text = self.text(name)
        if not text:
            self._doubt_empty(name)
            return None
        try:
            value = float(text.replace(" ", ""))
        except ValueError:
            self._drop(name, f"{text!r} is not a number; write it like 3.12e14", "not-a-number")
        if not (math.isfinite(value) and value > 0):
            self._drop(name, f"{text} is not above 0", "not-positive")
        return value

    def _year(self) -> int | None:
        text = self.text("year")
        if not text:
            return None
        if not re.fullmatch(r"(19|20)\d\d", text):
            self._doubt("year", f"{text!r} is not a year such as 2024", "not-a-year")
            return None
        return int(text)

    def _surveys(self) -> tuple[int, ...]:
        years = []
        for word in self.text("surveys").split():
            if re.fullmatch(r"20\d\d", word):
                years.append(int(word))
            else:
                text = f"{word!r} is not a year; write several like 2021 2022"
                self._doubt("surveys", text, "not-a-year")
        return tuple(years)

    def _check_date(self, column: str) -> None:
        text = self.cells.get(column, "")
        match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d\d)", text)
        if text and not (match and 1 <= int(match[1]) <= 12 and 1 <= int(match[2]) <= 31):
            said = f"{text!r} is not a date M/D/YY"
            self.raw.add_fault(self.line, column, said, "doubted", "not-a-date")
        elif match and int(match[3]) < 15:
            said = f"{text!r} is before 2015; the surveys began in 2018"
            self.raw.add_fault(self.line, column, said, "doubted", "strange-date")


def _year_in_name(path: Path) -> int | None:
    years = re.findall(r"20\d\d", path.name)
    return int(years[-1]) if years else None


def _merge_repeated(faults: list[TableFault]) -> list[TableFault]:
    """Return the faults, with equal faults of several lines reported once, at the first line."""
    groups: dict[tuple[str, str, str], list[TableFault]] = {}
    for one in faults:
        groups.setdefault((one.file, one.column, one.fault), []).append(one)
    merged = []
    for same in groups.values():
        first, more = same[0], len(same) - 1
        text = f"{first.fault} (and {more} more lines)" if more else first.fault
        merged.append(msgspec.structs.replace(first, fault=text))
    return sorted(merged, key=lambda f: (f.file, f.line, f.column))

"""Reads a table of accelerators, in wattlaw's layout or the surveys', and names every fault of it.

Good rows are kept whatever is wrong with others. A row is dropped only where it says nothing usable:
no company or product, a negative or zero figure, a word for which there is no reading.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec

from wattlaw.accelerators.catalogue import rules
from wattlaw.accelerators.catalogue.entry import (
    VOCABULARIES,
    Entry,
    Fault,
    Handling,
    Table,
    normalise,
    slug,
)
from wattlaw.core.csv_table import CsvRow as Row
from wattlaw.core.csv_table import CsvTable as RawTable
from wattlaw.core.csv_table import read_csv
from wattlaw.core.errors import DataError, nearest

FORMAT = 1
"""Version of the catalogue's layout: the number in its first line, ``# wattlaw accelerators 1``."""

COLUMNS = Entry.__struct_fields__
_NEEDED = ("company", "product", "precision", "peak_op_per_s", "power_w")
_NUMBERS = ("peak_op_per_s", "power_w", "memory_bytes", "memory_bandwidth_bytes_per_s",
            "link_bandwidth_bytes_per_s", "price_usd")  # fmt: skip
_SURVEY = {
    "company": "Company", "product": "Product", "label": "Label", "peak_op_per_s": "PeakPerformance",
    "precision": "Precision", "power_w": "Power", "technology": "Technology", "use": "IorT",
    "form_factor": "FormFactor", "source": "ReferenceURL",
}  # fmt: skip
_WIDELY_KNOWN = {
    "Country",
    "PlotLocation",
    "Hide",
    "PlotLocationZ",
    "HideZ",
    "AI Model",
    "Updated",
    "Notes",
    "Reference",
}


class _Dropped(Exception):
    """A cell that makes its row unusable."""


def read_table(path: Path, year: int | None = None) -> Table:
    """Read a table of accelerators in wattlaw's layout or in that of the Lincoln AI Computing Survey.

    ``year`` is the survey's year; by default the year in the file's name.
    Raises RecordError where there is no such file and DataError where it is no table of accelerators.
    """
    raw = read_csv(path, comment="#", fill_short_rows=True)
    columns = _layout(raw)
    if columns is _SURVEY:
        year = year or _year_of(path)
    entries, lines = [], []
    for row in raw.rows:
        try:
            entries.append(_entry(raw, row, columns, year if columns is _SURVEY else None))
            lines.append(row.line)
        except _Dropped:
            continue
    table = Table(raw.file, entries, lines, raw.faults)
    if columns is not _SURVEY:
        table = rules.one_row_each(table)
    doubts = [
        msgspec.structs.replace(f, column=columns.get(f.column, f.column))
        for f in rules.doubts(table)
    ]
    return table._replace(faults=gathered([*table.faults, *doubts]))


def _layout(raw: RawTable) -> dict[str, str]:
    columns = (
        _SURVEY
        if "PeakPerformance" in raw.header and "Product" in raw.header
        else {c: c for c in COLUMNS}
    )
    if not {columns["company"], columns["product"]} & set(raw.header):
        raise DataError(
            f"{raw.file}: line {raw.header_line}: no table of accelerators; "
            f"it needs the columns {', '.join(_NEEDED)}, this one has {', '.join(raw.header[:6]) or 'none'}"
        )
    for name in _NEEDED:
        if columns[name] not in raw.header:
            text = "the column is missing; its values are read as not known"
            fault(
                raw.faults,
                (raw.file, raw.header_line, columns[name]),
                text,
                "doubted",
                "missing-column",
            )
    version = _version(raw)
    known = {*columns.values(), *_WIDELY_KNOWN} if columns is _SURVEY else set(columns)
    for name in raw.header:
        if name not in known and version <= FORMAT:
            text = f"a column that is not known; {nearest(name, known)}"
            fault(raw.faults, (raw.file, raw.header_line, name), text, "doubted", "unknown-column")
    return columns


def _version(raw: RawTable) -> int:
    for line in raw.preface:
        if match := re.match(r"# wattlaw accelerators (\d+)", line):
            version = int(match[1])
            if version > FORMAT:
                text = f"layout {version} of a newer wattlaw (this one knows {FORMAT}); the known columns are read"
                fault(raw.faults, (raw.file, 1, ""), text, "doubted", "newer-version")
            return version
    return FORMAT


def _entry(raw: RawTable, row: Row, columns: dict[str, str], year: int | None) -> Entry:
    cell = {name: row.cells.get(column, "") for name, column in columns.items()}
    values: dict[str, object] = {
        name: cell.get(name, "") for name in ("company", "product", "label", "source", "note")
    }
    for name in ("company", "product"):
        if not cell[name]:
            _drop(raw, row, columns[name], "no value; the row can't be told from others", "no-name")
    values["source"] = " ".join(re.split(r"[;\s]+", cell["source"]) if cell.get("source") else ())
    values["accelerator"] = cell.get("accelerator") or slug(cell["company"], cell["product"])
    values["label"] = cell["label"] or cell["product"]
    for name in VOCABULARIES:
        if name in columns:
            values[name] = _word(raw, row, name, columns[name])
    for name in _NUMBERS:
        if name in columns:
            values[name] = _number(raw, row, columns[name])
    if year is not None:
        values |= {"year": year, "year_from": "listed", "surveys": (year,)}
        _date(raw, row, "Updated")
    elif "year" in columns:
        values |= {"year": _whole(raw, row, "year"), "surveys": _years(raw, row, "surveys")}
    return Entry(**values)  # type: ignore[arg-type]


def _drop(raw: RawTable, row: Row, column: str, text: str, name: str) -> None:
    fault(raw.faults, (raw.file, row.line, column), text, "dropped", name)
    raise _Dropped


def _word(raw: RawTable, row: Row, name: str, column: str) -> str:
    text = row.cells.get(column, "")
    where = (raw.file, row.line, column)
    word = normalise(name, text)
    if word is None:
        valid = ", ".join(VOCABULARIES[name][0])
        fault(
            raw.faults,
            where,
            f"{text!r} is not known, read as unknown; valid: {valid}",
            "doubted",
            f"unknown-{name}",
        )
        return "unknown"
    if (
        not text
        and column in row.cells
        and name in ("precision", "use", "form_factor", "technology")
    ):
        fault(raw.faults, where, "no value, read as unknown", "doubted", "no-value")
    elif text and word == "unknown" != text:
        fault(
            raw.faults, where, f"{text!r} says too little, read as unknown", "doubted", "vague-word"
        )
    elif text and word != text:
        fault(raw.faults, where, f"{text!r} read as {word!r}", "mended", "vocabulary")
    return word


def _number(raw: RawTable, row: Row, column: str) -> float | None:
    text = row.cells.get(column, "")
    if not text:
        if column in row.cells and column in (
            "PeakPerformance",
            "Power",
            "peak_op_per_s",
            "power_w",
        ):
            fault(raw.faults, (raw.file, row.line, column), "no value", "doubted", "no-value")
        return None
    try:
        value = float(text.replace(" ", ""))
    except ValueError:
        _drop(raw, row, column, f"{text!r} is no number; write it like 3.12e14", "not-a-number")
    if not (math.isfinite(value) and value > 0):
        _drop(raw, row, column, f"{text} is not above 0", "not-positive")
    return value


def _whole(raw: RawTable, row: Row, column: str) -> int | None:
    text = row.cells.get(column, "")
    if not text:
        return None
    if not re.fullmatch(r"(19|20)\d\d", text):
        fault(
            raw.faults,
            (raw.file, row.line, column),
            f"{text!r} is no year such as 2024",
            "doubted",
            "not-a-year",
        )
        return None
    return int(text)


def _years(raw: RawTable, row: Row, column: str) -> tuple[int, ...]:
    words = row.cells.get(column, "").split()
    if bad := [w for w in words if not re.fullmatch(r"20\d\d", w)]:
        text = f"{bad[0]!r} is no year; write them like 2021 2022"
        fault(raw.faults, (raw.file, row.line, column), text, "doubted", "not-a-year")
    return tuple(int(w) for w in words if w not in bad)


def _date(raw: RawTable, row: Row, column: str) -> None:
    text = row.cells.get(column, "")
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d\d)", text)
    if text and not (match and 1 <= int(match[1]) <= 12 and 1 <= int(match[2]) <= 31):
        fault(
            raw.faults,
            (raw.file, row.line, column),
            f"{text!r} is no date M/D/YY",
            "doubted",
            "not-a-date",
        )
    elif match and int(match[3]) < 15:
        text = f"{text!r} is before 2015, the surveys began in 2018"
        fault(raw.faults, (raw.file, row.line, column), text, "doubted", "strange-date")


def _year_of(path: Path) -> int | None:
    years = re.findall(r"20\d\d", path.name)
    return int(years[-1]) if years else None


def fault(
    faults: list[Fault], where: tuple[str, int, str], text: str, handling: Handling, name: str
) -> None:
    """Note a fault at (file, line, column)."""
    faults.append(Fault(*where, text, handling, name))


def gathered(faults: list[Fault]) -> list[Fault]:
    """Return the faults, those with the same text of several lines merged at the first line."""
    groups: dict[tuple[str, str, str], list[Fault]] = {}
    for one in faults:
        groups.setdefault((one.file, one.column, one.fault), []).append(one)
    merged = []
    for same in groups.values():
        first, more = same[0], len(same) - 1
        text = f"{first.fault} (and {more} more lines)" if more else first.fault
        merged.append(Fault(first.file, first.line, first.column, text, first.handling, first.name))
    return sorted(merged, key=lambda f: (f.file, f.line, f.column))

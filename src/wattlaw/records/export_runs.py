"""Exports runs as CSV, Parquet or JSON for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.plugins import need
from wattlaw.core.quantities import all_quantities
from wattlaw.core.run import Run
from wattlaw.records.columns import COLUMN_NAMES, FlatRow, column_of, flat_row
from wattlaw.records.index import arrow_array, arrow_types
from wattlaw.records.settings_table import reading_of, recorded_quantities

FORMATS = ("csv", "parquet", "json")


def export(runs: Sequence[Run], path: str | Path, format: str | None = None) -> Path:
    """Write runs to a file; without ``format`` the file's ending decides.

    CSV and Parquet have one row a run: the columns of an index, and for each quantity, recorded or
    derived, ``<name>``, ``<name>_status`` ("measured", "estimated", "missing") and, if there is
    a spread, ``<name>_low`` and ``<name>_high`` (5th and 95th percentile). JSON has the whole
    records.
    Raises UsageError for another format, MissingPartError for Parquet without pyarrow.
    """
    path = Path(path)
    data = exported(runs, format or _format_of(path))
    make_folder(path.parent)
    write_whole(path, data)
    return path


def exported(runs: Sequence[Run], format: str) -> bytes:
    """Return the bytes of an export."""
    match format:
        case "csv":
            return _csv(runs)
        case "parquet":
            return _parquet(runs)
        case "json":
            whole = {"wattlaw": __version__, "kind": "runs", "items": list(runs)}
            return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
        case _:
            raise UnknownNameError("format", format, FORMATS)


def _flat_rows(runs: Sequence[Run]) -> tuple[list[str], list[FlatRow]]:
    """Return the columns that at least one run fills, and the rows without their missing values."""
    recorded = recorded_quantities(runs)
    names = list(dict.fromkeys([*recorded, *all_quantities()]))
    rows = [flat_row(run) | _quantity_cells(run, names) for run in runs]
    filled = {column for row in rows for column, cell in row.items() if cell is not None}
    for name in recorded:
        # a quantity that is missing in every run has its column too, since a run gives the reason
        filled |= {column_of(name), f"{column_of(name)}_status"}
    columns = list(COLUMN_NAMES)
    for name in names:
        for ending in ("", "_status", "_low", "_high"):
            column = column_of(name) + ending
            if column in filled:
                columns.append(column)
    return columns, rows


def _quantity_cells(run: Run, names: Sequence[str]) -> FlatRow:
    cells: FlatRow = {}
    for name in names:
        reading, column = reading_of(run, name), column_of(name)
        if reading.value is not None or name in run.quantities:
            cells |= {column: reading.value, f"{column}_status": reading.status}
        if reading.low is not None and reading.high is not None:
            cells |= {f"{column}_low": reading.low, f"{column}_high": reading.high}
    return cells


def _csv(runs: Sequence[Run]) -> bytes:
    columns, rows = _flat_rows(runs)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for run, row in zip(runs, rows, strict=True):
        warnings = "; ".join(note.name for note in run.warnings)
        writer.writerow(row | {"warnings": warnings})
    return text.getvalue().encode("utf-8", "replace")


def _parquet(runs: Sequence[Run]) -> bytes:
    arrow, parquet = need("pyarrow", "a Parquet file"), need("pyarrow.parquet", "a Parquet file")
    columns, rows = _flat_rows(runs)
    types = arrow_types(arrow)
    for column in columns:
        kind = "text" if column.endswith("_status") else "number"
        types.setdefault(column, types[kind])
    arrays = {}
    for column in columns:
        arrays[column] = arrow_array(arrow, [row.get(column) for row in rows], types[column])
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table(arrays), sink, compression="zstd")
    return bytes(sink.getvalue())


def _format_of(path: Path) -> str:
    ending = path.suffix.removeprefix(".").lower()
    if ending in FORMATS:
        return ending
    raise UsageError(
        f"{path}: the ending names no format; name it .csv, .parquet or .json, or give --format"
    )

"""Writes runs as CSV, Parquet or JSON for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.plugins import need
from wattlaw.core.quantities import all_quantities
from wattlaw.core.run import Run
from wattlaw.records.columns import COLUMNS, column_of, row
from wattlaw.records.index import array, types_of
from wattlaw.records.table import value

FORMATS = ("csv", "parquet", "json")


def export(runs: Sequence[Run], path: str | Path, format: str | None = None) -> Path:
    """Write runs to a file; without ``format`` the file's ending says which.

    CSV and Parquet have one row a run: the columns of an index, and of each quantity, recorded or derived,
    ``<name>``, ``<name>_status`` ("measured", "estimated", "missing") and where there is a spread
    ``<name>_low`` and ``<name>_high`` (5th and 95th percentile). JSON has the whole records.
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


def flat(runs: Sequence[Run]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns that at least one run fills, and the rows; a missing value is not in its row."""
    recorded = dict.fromkeys(name for run in runs for name in run.quantities)
    names = list(dict.fromkeys([*recorded, *all_quantities()]))
    rows = [row(run) | _quantities(run, names) for run in runs]
    filled = {column for one in rows for column, v in one.items() if v is not None}
    # a quantity that is missing in every run is of interest where a run says why
    said = {column_of(n) for n in recorded} | {f"{column_of(n)}_status" for n in recorded}
    columns = [f"{column_of(n)}{end}" for n in names for end in ("", "_status", "_low", "_high")]
    return [*(c.name for c in COLUMNS), *(c for c in columns if c in filled or c in said)], rows


def _quantities(run: Run, names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        reading, column = value(run, name), column_of(name)
        if reading.value is not None or name in run.quantities:
            found |= {column: reading.value, f"{column}_status": reading.status}
        if reading.low is not None and reading.high is not None:
            found |= {f"{column}_low": reading.low, f"{column}_high": reading.high}
    return found


def _csv(runs: Sequence[Run]) -> bytes:
    columns, rows = flat(runs)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in rows:
        writer.writerow(one | {"warnings": "; ".join(one["warnings"])})
    return text.getvalue().encode("utf-8", "replace")


def _parquet(runs: Sequence[Run]) -> bytes:
    arrow, parquet = need("pyarrow", "a Parquet file"), need("pyarrow.parquet", "a Parquet file")
    columns, rows = flat(runs)
    types = types_of(arrow)
    types |= {
        n: types["text" if n.endswith("_status") else "number"] for n in columns if n not in types
    }
    arrays = {n: array(arrow, [one.get(n) for one in rows], types[n]) for n in columns}
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table(arrays), sink, compression="zstd")
    return bytes(sink.getvalue())


def _format_of(path: Path) -> str:
    ending = path.suffix.removeprefix(".").lower()
    for format in FORMATS:
        if ending == format:
            return format
    raise UsageError(
        f"{path}: the ending says no format; name it .csv, .parquet or .json, or give --format"
    )

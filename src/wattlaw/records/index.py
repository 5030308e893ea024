"""The index of a sweep: ``index.parquet``, one row a run, for reading 100,000 runs in seconds and for DuckDB.

Beside the flat columns (see columns.py) a row holds the exact text of the run's summary, and the folder,
time and length of the file that it was read from. Rows without a folder were imported and are nowhere else.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import DamagedRunError, NewerFormatError
from wattlaw.core.files import write_whole
from wattlaw.core.plugins import need
from wattlaw.core.run import Run
from wattlaw.records.columns import COLUMNS, PLACE, column_of, row

FORMAT = 1
"""Version of index.parquet that this wattlaw writes. It reads this one and every older one."""

_KEY = b"wattlaw_index"
_CHUNK = 4096


class Row(NamedTuple):
    """What an index keeps of a run besides its columns.

    folder    name of the trial's folder beside the index; "" where there is none
    mtime_ns, size   time of change (ns) and length (bytes) of the summary when it was read
    summary   bytes of the summary
    """

    folder: str
    mtime_ns: int
    size: int
    summary: bytes


class _Header(msgspec.Struct):
    format: int
    wattlaw: str = ""


def installed() -> bool:
    """Say whether an index can be read and written here."""
    return importlib.util.find_spec("pyarrow") is not None


def read_rows(index: Path) -> Iterator[Row]:
    """Give the rows of an index, a few thousand at a time in memory.

    Raises DamagedRunError, NewerFormatError, or MissingPartError where pyarrow is not installed.
    """
    parquet, arrow = (
        need("pyarrow.parquet", f"reading {index}"),
        need("pyarrow", f"reading {index}"),
    )
    again = f"`wattlaw runs compact {index.parent}` makes it anew from the folders"
    try:
        with parquet.ParquetFile(index, pre_buffer=False, page_checksum_verification=True) as file:
            _check(file.schema_arrow.metadata, index, again)
            for batch in file.iter_batches(1024, columns=list(PLACE), use_threads=False):
                batch = batch.set_column(3, "summary", batch.column("summary").cast(arrow.binary()))
                yield from map(Row._make, zip(*(c.to_pylist() for c in batch.columns), strict=True))
    except (arrow.ArrowException, OSError) as error:
        raise DamagedRunError(
            f"{index} is damaged: {str(error).splitlines()[0]}; {again}"
        ) from None


def write_rows(index: Path, pairs: Iterable[tuple[Run, Row]]) -> int:
    """Write an index as a whole and return how many rows it has."""
    arrow, parquet = (
        need("pyarrow", "writing an index"),
        need("pyarrow.parquet", "writing an index"),
    )
    tables, chunk = [], _Chunk(arrow)
    for run, place in pairs:
        chunk.add(run, place)
        if chunk.length == _CHUNK:
            tables.append(chunk.table())
            chunk = _Chunk(arrow)
    tables.append(chunk.table())
    header = msgspec.json.encode(_Header(FORMAT, __version__))
    table = arrow.concat_tables(tables, promote_options="default").replace_schema_metadata(
        {_KEY: header}
    )
    sink = arrow.BufferOutputStream()
    # texts that differ from row to row gain nothing from a dictionary, and reading one takes memory
    repeated = [
        f.name for f in table.schema if f.type == arrow.string() and f.name not in ("trial", *PLACE)
    ]
    parquet.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=_CHUNK,
        use_dictionary=repeated,
        write_page_checksum=True,
    )
    write_whole(index, sink.getvalue())
    return int(table.num_rows)


def types_of(arrow: Any) -> dict[str, Any]:
    """Return the arrow types of the fixed columns and, as "text", "whole" and "number", those of the others."""
    types = {"text": arrow.string(), "whole": arrow.int64(), "number": arrow.float64()}
    return types | {c.name: types.get(c.type) or arrow.list_(arrow.string()) for c in COLUMNS}


def array(arrow: Any, values: list[Any], type_: Any) -> Any:
    """Return an arrow array; a whole number that 64 bits cannot hold becomes empty."""
    try:
        return arrow.array(values, type_)
    except OverflowError:
        return arrow.array(
            [v if isinstance(v, int) and abs(v) < 2**63 else None for v in values], type_
        )


class _Chunk:
    """Columns of some thousand runs, on their way into a table."""

    def __init__(self, arrow: Any) -> None:
        self.arrow, self.length = arrow, 0
        self.types = types_of(arrow)
        self.types |= dict(
            zip(PLACE, (self.types[t] for t in ("text", "whole", "whole")), strict=False)
        )
        self.values: dict[str, list[Any]] = {column.name: [] for column in COLUMNS}
        self.rows: list[Row] = []

    def add(self, run: Run, place: Row) -> None:
        for name, value in row(run).items():
            self.values[name].append(value)
        for name, reading in run.quantities.items():
            self._put(column_of(name), reading.value, self.types["number"])
            self._put(f"{column_of(name)}_status", reading.status, self.types["text"])
        self.rows.append(place)
        self.length += 1

    def _put(self, name: str, value: Any, type_: Any) -> None:
        if name not in self.values:
            self.types[name], self.values[name] = type_, []
        values = self.values[name]
        # runs before this one did not have the quantity
        values.extend([None] * (self.length - len(values)))
        values.append(value)

    def table(self) -> Any:
        for values in self.values.values():
            values.extend([None] * (self.length - len(values)))
        for name in PLACE[:3]:
            self.values[name] = [getattr(place, name) for place in self.rows]
        arrays = {n: array(self.arrow, v, self.types[n]) for n, v in self.values.items()}
        summaries = self.arrow.array([place.summary for place in self.rows], self.arrow.binary())
        return self.arrow.table(arrays | {"summary": summaries.cast(self.arrow.string())})


def _check(metadata: dict[bytes, bytes] | None, index: Path, again: str) -> None:
    try:
        header = msgspec.json.decode((metadata or {})[_KEY], type=_Header)
    except (KeyError, msgspec.MsgspecError):
        raise DamagedRunError(f"{index} is damaged: it is no index of wattlaw; {again}") from None
    if header.format > FORMAT:
        raise NewerFormatError(
            f"{index} has format {header.format}, written by wattlaw {header.wattlaw or 'of a later version'}; "
            f"this one reads up to {FORMAT}: upgrade with `pip install -U wattlaw`"
        )

"""The index of a sweep, ``index.parquet``: one row a run.

It reads 100,000 runs in seconds, also in DuckDB. Beside the flat columns (see columns.py) a row
holds the exact text of the run's summary, and the folder, time and length of the file that it was
read from. Rows without a folder were imported and exist in the index alone.
"""

from __future__ import annotations

import importlib.util
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import DamagedRunError, NewerFormatError
from wattlaw.core.files import write_whole
from wattlaw.core.plugins import need
from wattlaw.core.run import Run
from wattlaw.records.columns import COLUMN_NAMES, COLUMNS, PLACE, column_of, flat_row

FORMAT = 1
"""Version of index.parquet that this wattlaw writes. It reads this one and every older one."""

Arrow: TypeAlias = Any
"""The module pyarrow, or an object of it: the library has no types."""

_KEY = b"wattlaw_index"
_CHUNK = 4096


class IndexRow(NamedTuple):
    """What an index keeps of a run besides its columns.

    folder    name of the trial's folder beside the index; "" if there is none
    mtime_ns, size   time of change (ns) and length (bytes) of the summary when it was read
    summary   bytes of the summary
    """

    folder: str
    mtime_ns: int
    size: int
    summary: bytes


class _IndexHeader(msgspec.Struct):
    format: int
    wattlaw: str = ""


def can_use_index() -> bool:
    """Return whether an index can be read and written here."""
    return importlib.util.find_spec("pyarrow") is not None


def read_rows(index: Path) -> Iterator[IndexRow]:
    """Yield the rows of an index, a few thousand at a time in memory.

    Raises DamagedRunError, NewerFormatError, or MissingPartError if pyarrow is not installed.
    """
    arrow = need("pyarrow", f"reading {index}")
    parquet = need("pyarrow.parquet", f"reading {index}")
    advice = f"rebuild it from the folders: `wattlaw runs compact {index.parent}`"
    try:
        with parquet.ParquetFile(index, pre_buffer=False, page_checksum_verification=True) as file:
            _check_header(file.schema_arrow.metadata, index, advice)
            for batch in file.iter_batches(1024, columns=list(PLACE), use_threads=False):
                batch = batch.set_column(3, "summary", batch.column("summary").cast(arrow.binary()))
                columns = [column.to_pylist() for column in batch.columns]
                yield from map(IndexRow._make, zip(*columns, strict=True))
    except (arrow.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        raise DamagedRunError(f"{index} is damaged: {cause}; {advice}") from None


def write_rows(index: Path, pairs: Iterable[tuple[Run, IndexRow]]) -> int:
    """Write an index as a whole and return the number of its rows."""
    arrow = need("pyarrow", "writing an index")
    parquet = need("pyarrow.parquet", "writing an index")
    tables, chunk = [], _IndexChunk(arrow)
    for run, place in pairs:
        chunk.add(run, place)
        if chunk.length == _CHUNK:
            tables.append(chunk.table())
            chunk = _IndexChunk(arrow)
    tables.append(chunk.table())
    header = msgspec.json.encode(_IndexHeader(FORMAT, __version__))
    table = arrow.concat_tables(tables, promote_options="default")
    table = table.replace_schema_metadata({_KEY: header})
    sink = arrow.BufferOutputStream()
    parquet.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=_CHUNK,
        use_dictionary=_repeated_texts(arrow, table),
        write_page_checksum=True,
    )
    write_whole(index, sink.getvalue())
    return int(table.num_rows)


def arrow_types(arrow: Arrow) -> dict[str, Arrow]:
    """Return the types of the fixed columns; others are "text", "whole" or "number"."""
    types = {"text": arrow.string(), "whole": arrow.int64(), "number": arrow.float64()}
    texts = arrow.list_(arrow.string())
    return types | {column.name: types.get(column.type, texts) for column in COLUMNS}


def arrow_array(arrow: Arrow, values: Sequence[object], type_: Arrow) -> Arrow:
    """Return an arrow array; an integer that does not fit in 64 bits becomes empty."""
    try:
        return arrow.array(values, type_)
    except OverflowError:
        return arrow.array(list(map(_fitting, values)), type_)


def _fitting(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _repeated_texts(arrow: Arrow, table: Arrow) -> list[str]:
    # texts that differ from row to row gain nothing from a dictionary, and reading one takes memory
    names = []
    for field in table.schema:
        if field.type == arrow.string() and field.name not in ("trial", *PLACE):
            names.append(field.name)
    return names


class _IndexChunk:
    """Columns of a few thousand runs, collected for a table."""

    def __init__(self, arrow: Arrow) -> None:
        self.arrow, self.length = arrow, 0
        self.types = arrow_types(arrow)
        for name, kind in zip(PLACE[:3], ("text", "whole", "whole"), strict=True):
            self.types[name] = self.types[kind]
        self.values: dict[str, list[object]] = {name: [] for name in COLUMN_NAMES}
        self.rows: list[IndexRow] = []

    def add(self, run: Run, place: IndexRow) -> None:
        for name, value in flat_row(run).items():
            self.values[name].append(value)
        for name, reading in run.quantities.items():
            self._put(column_of(name), reading.value, self.types["number"])
            self._put(f"{column_of(name)}_status", reading.status, self.types["text"])
        self.rows.append(place)
        self.length += 1

    def _put(self, name: str, value: object, type_: Arrow) -> None:
        if name not in self.values:
            self.types[name], self.values[name] = type_, []
        values = self.values[name]
        # runs before this one did not have the quantity
        values.extend([None] * (self.length - len(values)))
        values.append(value)

    def table(self) -> Arrow:
        for values in self.values.values():
            values.extend([None] * (self.length - len(values)))
        for name in PLACE[:3]:
            self.values[name] = list(map(operator.attrgetter(name), self.rows))
        arrays = {}
        for name, values in self.values.items():
            arrays[name] = arrow_array(self.arrow, values, self.types[name])
        summaries = self.arrow.array([place.summary for place in self.rows], self.arrow.binary())
        return self.arrow.table(arrays | {"summary": summaries.cast(self.arrow.string())})


def _check_header(metadata: dict[bytes, bytes] | None, index: Path, advice: str) -> None:
    try:
        header = msgspec.json.decode((metadata or {})[_KEY], type=_IndexHeader)
    except (KeyError, msgspec.MsgspecError):
        raise DamagedRunError(
            f"{index} is damaged: it is not an index of wattlaw; {advice}"
        ) from None
    if header.format > FORMAT:
        writer = f"wattlaw {header.wattlaw or 'of a later version'}"
        raise NewerFormatError(
            f"{index} has format {header.format}, written by {writer}; this version reads up to "
            f"{FORMAT}: upgrade with `pip install -U wattlaw`"
        )

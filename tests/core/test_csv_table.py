"""The one reader of CSV tables."""

from __future__ import annotations

import gzip

import pytest

from wattlaw.core.csv_table import read_csv
from wattlaw.core.errors import DataError, RecordError


def table(folder, data, **options):
    path = folder / "t.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = read_csv(path, **options)
    rows = [(row.line, row.cells) for row in found.rows]
    return found, rows


def test_a_row_has_its_line_and_clean_cells(tmp_path):
    found, rows = table(tmp_path, 'a, b\n1 , "x, y"\n\n2,"two\nlines"\n3,z\n')
    assert found.header == ["a", "b"]
    assert rows == [
        (2, {"a": "1", "b": "x, y"}),
        (4, {"a": "2", "b": "two lines"}),
        (6, {"a": "3", "b": "z"}),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_every_common_encoding_is_read(tmp_path, encoding):
    _, rows = table(tmp_path, "name,n\nMüller,1\n".encode(encoding))
    assert rows == [(2, {"name": "Müller", "n": "1"})]


def test_a_short_row_is_dropped_or_filled(tmp_path):
    found, rows = table(tmp_path, "a,b\n1\n")
    assert rows == []
    assert found.faults[0].fault == "1 cell under 2 columns"
    _, rows = table(tmp_path, "a,b\n1\n", fill_short_rows=True)
    assert rows == [(2, {"a": "1", "b": ""})]


def test_a_long_row_is_dropped_unless_its_last_cells_are_empty(tmp_path):
    found, rows = table(tmp_path, "a,b\n1,2,,\n1,2,3\n")
    assert rows == [(2, {"a": "1", "b": "2"})]
    assert [(f.line, f.name) for f in found.faults] == [(3, "too-many-cells")]


def test_an_open_quote_costs_its_own_row_only(tmp_path):
    found, rows = table(tmp_path, 'a,b\n"1,2\n3,4\n5,6\n')
    assert [cells["a"] for _, cells in rows] == ["3", "5"]
    assert [(f.line, f.name) for f in found.faults] == [(2, "open-quote")]


def test_lines_before_the_header_are_the_preface(tmp_path):
    found, rows = table(tmp_path, "# made by hand\na,b\n1,2\n", comment="#")
    assert found.preface == ["# made by hand"]
    assert (found.header_line, rows) == (2, [(3, {"a": "1", "b": "2"})])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "there is no header"),
        (b"\n \n", "there is no header"),
        (bytes(range(128, 256)), "the file is not text"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "is compressed; unpack it first"),
    ],
)
def test_a_file_that_is_not_a_table_is_a_one_line_error(tmp_path, data, reason):
    with pytest.raises(DataError, match=reason):
        table(tmp_path, data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"there is no .*absent\.csv"):
        read_csv(tmp_path / "absent.csv")

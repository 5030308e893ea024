"""ASE databases with columns that ASE would not write."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import numpy as np
import pytest

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources.molecule_files import read_molecules

ase = pytest.importorskip("ase")
NESTED = "[" * 100_000
ROWS = 4


@pytest.fixture
def waters():
    draw = np.random.default_rng(0)
    places = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    return [ase.Atoms([8, 1, 1], places + 0.05 * draw.normal(size=(3, 3))) for _ in range(ROWS)]


def written(path, waters):
    with pytest.importorskip("ase.db").connect(path) as base:
        for atoms in waters:
            base.write(atoms, key_value_pairs={"gap": 1.5})
        if path.suffix == ".db":
            base.metadata = {"_distance_unit": "Ang"}
    return path


def one_is_left_out(path):
    with pytest.raises(DataError, match=rf"{path.name}, row 3: not a molecule that can be read"):
        read_molecules(path)
    found = read_molecules(path, "skip")
    assert (len(found.records), found.skipped) == (ROWS - 1, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key_value_pairs", "[]"),
        ("key_value_pairs", "5"),
        ("key_value_pairs", '{"gap": [1, [2]]}'),
        ("key_value_pairs", NESTED),
        ("data", "[1]"),
        ("data", b"\x08" + bytes(7) + b"[1]"),
        ("data", b"\x08" + bytes(7) + NESTED.encode()),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_row_with_values_of_the_wrong_type_is_named_or_skipped(tmp_path, waters, column, value):
    path = written(tmp_path / "some.db", waters)
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute(f"UPDATE systems SET {column} = ? WHERE id = 3", (value,))
    one_is_left_out(path)


@pytest.mark.parametrize(
    "content", ["x", "5", "[]", "null", NESTED, b"\xff" * 8, '{"_property_unit_dict": [1]}']
)
def test_a_description_of_the_wrong_type_is_named(tmp_path, waters, content):
    path = written(tmp_path / "some.db", waters)
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE information SET value = ? WHERE name = 'metadata'", (content,))
    with pytest.raises(
        DataError, match=r"some\.db: its metadata, in the table information, is damaged"
    ):
        read_molecules(path)


def test_a_schema_that_is_not_text_is_named(tmp_path, waters):
    path = written(tmp_path / "some.db", waters)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CREATE TABLE systems", b"CREATE TABLE \xff \xc1tems", 1))
    with pytest.raises(DataError, match=r"some\.db: a damaged database"):
        read_molecules(path)


@pytest.mark.parametrize("numbers", [5, 10**30, {"__ndarray__": [[3, 1], "int64", [8, 1, 1]]}])
def test_a_json_row_with_values_of_the_wrong_type_is_named_or_skipped(tmp_path, waters, numbers):
    path = written(tmp_path / "some.json", waters)
    whole = json.loads(path.read_text())
    whole["3"]["numbers"] = numbers
    path.write_text(json.dumps(whole))
    one_is_left_out(path)

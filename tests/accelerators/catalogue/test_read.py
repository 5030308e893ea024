"""Tables of accelerators are read despite faults, which are named by line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.accelerators.catalogue.entry import CatalogueTable
from wattlaw.accelerators.catalogue.read import read_table
from wattlaw.accelerators.catalogue.rules import find_power_changes
from wattlaw.core.errors import DataError, RecordError

HEADER = "company,product,precision,peak_op_per_s,power_w,form_factor\n"
GOOD = "Acme,A1,fp16,1e14,300,card\n"
SURVEY = "Company,Product,Label,PeakPerformance,Precision,Power,Technology,IorT,FormFactor,Updated,ReferenceURL\n"


def read(tmp_path: Path, text: str | bytes, name: str = "mine.csv") -> CatalogueTable:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


def faults(table: CatalogueTable) -> set[tuple[int, str, str]]:
    return {(f.line, f.column, f.name) for f in table.faults}


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        ("Acme,B,fp16,1e14,0,card", "power_w", "not-positive"),
        ("Acme,B,fp16,1e14,-5,card", "power_w", "not-positive"),
        ("Acme,B,fp16,inf,5,card", "peak_op_per_s", "not-positive"),
        ("Acme,B,fp16,fast,5,card", "peak_op_per_s", "not-a-number"),
        ("Acme,,fp16,1e14,5,card", "product", "no-name"),
        ("Acme,B,fp16,1e14,5,card,and,more", "", "too-many-cells"),
        (",,,,,", "", "blank-row"),
        ("Acme,A1,fp16,9e14,300,card", "accelerator", "disagreement"),
        ("Acme,A1,fp16,1e14,300,card", "accelerator", "repeated-row"),
    ],
)
def test_an_unusable_row_is_dropped_and_named(
    tmp_path: Path, row: str, column: str, name: str
) -> None:
    table = read(tmp_path, HEADER + GOOD + row + "\nAcme,C1,int8,2e14,100,chip\n")
    assert (3, column, name) in faults(table)
    assert [e.product for e in table.entries] == ["A1", "C1"]
    assert table.lines == [2, 4]


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        ("Acme,B,fp17,1e14,5,card", "precision", "unknown-precision"),
        ("Acme,B,fp16,1e14,5,shoe", "form_factor", "unknown-form_factor"),
        ("Acme,B,fp16,1e14,,card", "power_w", "no-value"),
        ("Acme,B,fp16,80,225,card", "peak_op_per_s", "unit-slip"),
        ("Acme,B,fp16,1e13,0.001,card", "peak_op_per_s", "high-outlier"),
    ],
)
def test_a_doubtful_row_is_kept_and_named(tmp_path: Path, row: str, column: str, name: str) -> None:
    table = read(tmp_path, HEADER + GOOD + row + "\n")
    assert (3, column, name) in faults(table)
    assert [e.product for e in table.entries] == ["A1", "B"]


def test_a_missing_column_is_named_at_the_header_and_the_rows_are_kept(tmp_path: Path) -> None:
    table = read(tmp_path, "company,product,precision,peak_op_per_s\nAcme,A1,fp16,1e14\n")
    assert (1, "power_w", "missing-column") in faults(table)
    assert table.entries[0].power_w is None
    assert table.entries[0].op_per_joule is None


def test_a_catalogue_of_a_newer_version_is_named_and_its_known_columns_are_read(
    tmp_path: Path,
) -> None:
    text = (
        "# wattlaw accelerators 9\n"
        + HEADER.replace("\n", ",colour\n")
        + GOOD.replace("\n", ",red\n")
    )
    table = read(tmp_path, text)
    assert faults(table) == {(1, "", "newer-version")}
    assert table.entries[0].peak_op_per_s == 1e14


def test_byte_order_marks_tabs_line_ends_and_encodings_are_repaired(tmp_path: Path) -> None:
    text = (
        "\ufeff"
        + HEADER
        + "Acme\t,A1,\ufefffp16,1e14,300,card\r\nM\u00fcller,B,fp16,1e14,300,card\n"
    )
    table = read(tmp_path, text.encode())
    assert {"byte-order-mark", "tab", "line-ends"} <= {f.name for f in table.faults}
    assert [e.company for e in table.entries] == ["Acme", "M\u00fcller"]
    latin = read(tmp_path, (HEADER + "M\u00fcller,B,fp16,1e14,300,card\n").encode("latin-1"))
    assert (2, "", "encoding") in faults(latin)
    assert latin.entries[0].company == "M\u00fcller"


def test_the_terms_of_all_survey_years_become_one_vocabulary(tmp_path: Path) -> None:
    rows = [
        "Acme,A,A,1e12,float,10,Dataflow/FPGA,Training,Card,6/9/20,https://a.example;https://b.example",
        "Acme,B,B,1e12,fp16.32,10,GPU,training,card,,",
        "Acme,C,C,1e12,int4.8,10,PIM,Inference,Chip,13/9/20,",
        "Acme,D,D,1e12,AI,10,CGRA,Video,System,10/9/02,",
    ]
    table = read(tmp_path, SURVEY + "\n".join(rows) + "\n", "survey_2021.csv")
    parsed = [(e.precision, e.technology, e.use, e.form_factor) for e in table.entries]
    assert parsed == [
        ("fp32", "fpga", "training", "card"),
        ("fp16", "gpu", "training", "card"),
        ("int4", "pim", "inference", "chip"),
        ("unknown", "cgra", "unknown", "system"),
    ]
    assert table.entries[0].source == "https://a.example https://b.example"
    assert {e.surveys for e in table.entries} == {(2021,)}
    assert {
        (4, "Updated", "not-a-date"),
        (5, "Updated", "strange-date"),
        (5, "IorT", "vague-word"),
    } <= faults(table)


def test_a_contradictory_row_and_a_duplicate_label_are_kept_with_a_warning(
    tmp_path: Path,
) -> None:
    rows = [
        "Acme,A,X,1e12,int8,10,GPU,training,Card,,",
        "Acme,A,X,2e12,int8,10,GPU,training,Card,,",
    ]
    rows.append("Other,Z,X,1e12,int8,10,GPU,training,Card,,")
    table = read(tmp_path, SURVEY + "\n".join(rows) + "\n", "survey_2021.csv")
    assert len(table.entries) == 3
    assert {(3, "", "disagreement"), (4, "Label", "repeated-label")} <= faults(table)


def test_a_power_that_changes_between_years_is_named(tmp_path: Path) -> None:
    row = "Green,GAP9,G,1.5e11,int8,{},CPU,inference,Chip,,\n"
    tables = [
        read(tmp_path, SURVEY + row.format(w), f"survey_{y}.csv")
        for y, w in ((2020, 49.8), (2021, 4.98))
    ]
    (found,) = find_power_changes(tables)
    assert (found.line, found.column, found.name) == (2, "power_w", "power-changed")
    assert not list(find_power_changes([tables[0], tables[0]]))


def test_a_wrong_table_lists_the_columns_that_accelerators_need(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.csv: line 1: .*company, product, precision"):
        read(tmp_path, "a,b,c\n1,2,3\n")
    with pytest.raises(DataError, match="no header"):
        read(tmp_path, "")
    with pytest.raises(RecordError, match="there is no"):
        read_table(tmp_path / "absent.csv")


@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_do_not_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed_2021.csv"
    path.write_bytes((HEADER.encode() if headed else b"") + data)
    try:
        table = read_table(path)
    except DataError:
        return
    assert all(e.company and e.product for e in table.entries)
    assert all(e.power_w is None or e.power_w > 0 for e in table.entries)
    assert all(f.line >= 1 and f.fault for f in table.faults)


def test_an_open_quote_drops_only_its_row(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = (
        'Acme,A,fp16,1e14,300,"two\nlines"', 'Acme,"B,fp16,1e14,300,', "Acme,C,fp16,1e14,300,x",
        'Acme,D,fp16,1e14,300,"a ""word"""', 'Acme,E,fp16,1e14,300,5" disc', 'Acme,"F,fp16,1e14,300,',
    )  # fmt: skip
    path.write_text(
        "company,product,precision,peak_op_per_s,power_w,note\n" + "\n".join(rows) + "\n"
    )
    table = read_table(path)
    assert [e.product for e in table.entries] == ["A", "C", "D", "E"]
    assert table.lines == [2, 5, 6, 7]
    (fault,) = table.faults
    assert (fault.line, fault.name, fault.handling) == (4, "open-quote", "dropped")
    assert fault.fault.endswith("(and 1 more lines)")

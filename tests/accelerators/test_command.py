"""The commands: ranges, rows of a site's own table, units, and candidates with assumptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.accelerators.commands import CSV_HEAD, command

from wattlaw.accelerators.catalogue.catalogue import built_in, representative
from wattlaw.accelerators.catalogue.read import read_table
from wattlaw.accelerators.choosing.choose import MIN_STEP_S, choose
from wattlaw.accelerators.figures.trends import plot_trend


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        ("--power=70-", lambda e: (e["power_w"] or 0) >= 70),
        ("--power=-1", lambda e: 0 < (e["power_w"] or 0) <= 1),
        ("--years=2025-", lambda e: (e["year"] or 0) >= 2025),
        ("--years=-2015", lambda e: 0 < (e["year"] or 0) <= 2015),
    ],
)
def test_a_span_may_be_open_at_an_end(
    capsys: pytest.CaptureFixture[str], span: str, kept: Callable[[dict[str, Any]], bool]
) -> None:
    everything = json.loads(command(capsys, "list", "--json")[1])["items"]
    found = json.loads(command(capsys, "list", "--json", span)[1])["items"]
    assert found == [e for e in everything if kept(e)]
    assert 0 < len(found) < len(everything)


def test_a_span_without_ends_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = command(capsys, "list", "--power", "-")
    assert (code, "70-400" in errors) == (2, True)


def test_a_difference_has_units(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "diff", "2021", "2022")
    (line,) = [line for line in out.splitlines() if "graphcore-c2" in line]
    assert code == 0
    assert "250 TOPS" in line
    assert "125 TOPS" in line


def test_a_sites_own_row_of_one_precision_keeps_the_other_precisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(CSV_HEAD + "NVIDIA,H100 SXM5 80GB,bf16,1.1e15,800\n")
    code, out, _ = command(
        capsys, "show", "nvidia-h100-sxm5-80gb", "--catalogue", str(tmp_path / "mine.csv")
    )
    facts = {tuple(line.split()) for line in out.splitlines()}
    assert code == 0
    assert facts >= {
        ("memory", "80", "GB"),
        ("memory", "bandwidth", "3.35", "TB/s"),
        ("form", "factor", "card"),
        ("technology", "gpu"),
        ("year", "2022"),
    }


def test_a_fault_of_a_whole_row_has_no_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(CSV_HEAD + "A,B,bf16,1e14,300\nA,C,bf16,1e14,300,1,2\n")
    _, _, errors = command(
        capsys, "list", "--company", "A", "--catalogue", str(tmp_path / "mine.csv")
    )
    assert "mine.csv:3: 7 cells under 5 columns" in errors


def test_memory_in_gigabytes_instead_of_bytes_is_recognised(tmp_path: Path) -> None:
    columns = "memory_bytes,memory_bandwidth_bytes_per_s,link_bandwidth_bytes_per_s"
    (tmp_path / "mine.csv").write_text(
        f"{CSV_HEAD.strip()},{columns}\nA,B,bf16,1e14,300,80,2000,900\n"
    )
    faults = read_table(tmp_path / "mine.csv").faults
    assert {f.column for f in faults if f.name == "unit-slip"} == set(columns.split(","))


@pytest.mark.parametrize(
    ("word", "read"), [("float16", "fp16"), ("Float32", "fp32"), ("float64", "fp64")]
)
def test_the_names_of_programming_languages_are_read_as_precisions(
    tmp_path: Path, word: str, read: str
) -> None:
    (tmp_path / "mine.csv").write_text(CSV_HEAD + f"A,B,{word},1e14,300\n")
    (entry,) = read_table(tmp_path / "mine.csv").entries
    assert entry.precision == read


@pytest.mark.parametrize("by", ["segment", "precision", "technology", "form_factor", "use"])
def test_the_figure_of_trends_groups_by_the_given_field(by: str) -> None:
    drawn = plot_trend(representative(built_in().entries), by=by).to_dict()  # type: ignore[arg-type]
    first = drawn["concat"][0]
    assert first["title"] == f"efficiency by {by.replace('_', ' ')}"
    word = {
        "segment": "embedded",
        "precision": "int8",
        "technology": "fpga",
        "form_factor": "card",
        "use": "training",
    }
    assert word[by] in json.dumps(first)


def test_a_candidate_with_an_assumed_link_is_marked_in_its_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, errors = command(capsys, "choose", "--workload", "bert-base", "--most", "100")
    rows = [line for line in out.splitlines() if "roofline" in line]
    taken = sum("link assumed" in line for line in rows)
    assert code == 0
    assert f"for {taken} of {len(rows)} candidates" in errors
    assert 0 < taken < len(rows)


def test_a_step_at_the_minimum_has_no_interval() -> None:
    found = choose("bert-base", built_in().entries, preset="tiny").candidates
    held = [c for c in found if c.held_at_floor]
    assert held
    assert all(c.time_s.low is None and c.energy_j.high is None for c in held)
    assert all(c.time_s.value >= MIN_STEP_S for c in held)


@pytest.mark.parametrize("count", ["0", "-1"])
def test_fewer_than_one_candidate_is_refused(
    capsys: pytest.CaptureFixture[str], count: str
) -> None:
    code, _, errors = command(capsys, "choose", "--workload", "bert-base", "--most", count)
    assert (code, "--most" in errors) == (2, True)

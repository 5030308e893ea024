"""Tables of settings, exported files, and comparisons of runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from tests.factory import make_run

from wattlaw.core.errors import RecordError, UnknownNameError, UsageError
from wattlaw.core.reading import Reading, missing
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.records import export, exported
from wattlaw.records.settings_table import columns_of, tabulate


def run_with(value: float | None, devices: int = 1, repeat: int = 0, **changes: object) -> Run:
    reading = missing("no meter") if value is None else Reading(value)
    return make_run(devices, repeat, quantities={"step_time_s": reading}, **changes)


def test_a_row_is_a_setting_with_the_geometric_mean_of_its_repeats():
    runs = [run_with(v, d, r) for d in (2, 1) for r, v in enumerate((0.3, 0.1, 0.2))]
    table = tabulate(runs, columns=["step_time_s"])
    assert [row.group for row in table.rows] == [
        {"workload": "schnet", "devices": n} for n in (1, 2)
    ]
    mean = pytest.approx((0.3 * 0.1 * 0.2) ** (1 / 3))
    assert [row.quantities["step_time_s"].value for row in table.rows] == [mean, mean]
    assert table.rows[0].quantities["step_time_s"].n == 3
    assert table.shared["batch_per_device"] == 32
    assert "devices_per_node" not in table.shared
    assert [note.name for note in table.rows[1].warnings] == ["oversubscribed"]


def test_seeds_are_repeats_and_options_are_settings():
    runs = [
        run_with(0.1, setting=Setting("gpt2", seed=seed, options={"lr": lr, "compile": True}))
        for seed in (0, 1)
        for lr in (0.1, 0.2)
    ]
    runs.append(run_with(0.1, setting=Setting("gpt2", options={"compile": True, "lr": 0.1})))
    assert [(row.group["lr"], row.runs) for row in tabulate(runs).rows] == [(0.1, 3), (0.2, 2)]


def test_a_failed_run_is_counted_and_left_out_of_means():
    runs = [run_with(0.1), run_with(9.0, repeat=1, state="failed")]
    (row,) = tabulate(runs, columns=["step_time_s"]).rows
    assert (row.runs, row.failed, row.quantities["step_time_s"].value) == (1, 1, 0.1)
    assert row.quantities["step_time_s"].low is None


def test_a_group_shows_what_is_missing_and_what_is_estimated():
    (row,) = tabulate(
        [make_run(1, 0), make_run(1, 1)], columns=["energy_per_sample_j", "gpu_energy_j"]
    ).rows
    assert row.quantities["energy_per_sample_j"].status == "estimated"
    assert row.quantities["gpu_energy_j"] == missing("no GPU on this machine")
    (row,) = tabulate([run_with(0.1), run_with(None, repeat=1)], columns=["step_time_s"]).rows
    assert row.quantities["step_time_s"].how.startswith("1 of 2 runs")


def test_runs_are_grouped_by_the_requested_fields():
    runs = [run_with(0.1, d, r) for d in (1, 2) for r in range(3)]
    assert [row.runs for row in tabulate(runs, by=["workload"]).rows] == [6]
    with pytest.raises(UnknownNameError, match="did you mean 'devices'"):
        tabulate(runs, by=["device"])


def test_a_quantity_of_some_runs_is_missing_in_the_others_and_a_misspelt_one_is_refused():
    runs = [make_run(1, quantities={"mae": Reading(0.5)}), make_run(2)]
    values = [row.quantities["mae"].value for row in tabulate(runs, columns=["mae"]).rows]
    assert values == [0.5, None]
    with pytest.raises(UnknownNameError, match="step_time_s"):
        tabulate(runs, columns=["step_times_s"])


def test_csv_has_one_row_per_run_with_recorded_and_derived_quantities():
    runs = [
        make_run(1),
        make_run(2, state="failed", quantities={}, error='Traceback:\n  x\nValueError: bad, "x"\n'),
    ]
    first, second = csv.DictReader(io.StringIO(exported(runs, "csv").decode()))
    assert float(first["step_time_s"]) == 0.1
    assert float(first["cpu_energy_per_sample_j"]) == 65 / 960
    assert first["cpu_energy_per_sample_j_status"] == "estimated"
    assert (first["gpu_energy_j"], first["gpu_energy_j_status"]) == ("", "missing")
    assert (second["step_time_s"], second["error"], second["warnings"]) == (
        "",
        'ValueError: bad, "x"',
        "oversubscribed",
    )


def test_parquet_has_the_same_values_typed(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = [make_run(1), make_run(2, quantities={})]
    table = parquet.read_table(export(runs, tmp_path / "new" / "runs.parquet"))
    rows = list(csv.DictReader(io.StringIO(exported(runs, "csv").decode())))
    assert table.column_names == list(rows[0])
    assert table["step_time_s"].to_pylist() == [0.1, None]
    assert table["devices"].to_pylist() == [1, 2]
    assert table["warnings"].to_pylist() == [[], ["oversubscribed"]]


def test_json_has_the_whole_records(tmp_path: Path):
    runs = [make_run(1), make_run(2)]
    whole = json.loads(export(runs, tmp_path / "runs.json").read_bytes())
    assert whole["kind"] == "runs"
    assert msgspec.convert(whole["items"], list[Run]) == runs


def test_an_unknown_file_format_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(UsageError, match="the ending names no format"):
        export([make_run(1)], tmp_path / "runs.xlsx")
    with pytest.raises(UnknownNameError, match="unknown format 'xls'"):
        export([make_run(1)], tmp_path / "runs.csv", "xls")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="is in the way"):
        export([make_run(1)], tmp_path / "file" / "runs.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_runs_without_steps_show_their_totals():
    counted = make_run(quantities={"elapsed_s": Reading(2.0), "gpu_energy_j": Reading(400.0)})
    assert columns_of([counted])[:2] == ["elapsed_s", "energy_j"]
    assert columns_of([make_run(), counted])[0] == "step_time_s"

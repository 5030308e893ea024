"""The index of a sweep gives the same runs as its folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.factory import make_run

import wattlaw
from wattlaw.core.errors import NewerFormatError, RecordError
from wattlaw.core.reading import Reading
from wattlaw.core.run_folder import INDEX, SUMMARY, read_run, write_run
from wattlaw.core.setting import Setting
from wattlaw.records import compact, keep_index, write_index
from wattlaw.records.columns import COLUMNS

duckdb = pytest.importorskip("duckdb")
parquet = pytest.importorskip("pyarrow.parquet")


def by_trial(runs: list) -> dict:
    return {run.trial: run for run in runs}


def test_an_index_gives_the_same_runs_as_the_folders(sweep: Path):
    before = wattlaw.load_runs(sweep)
    assert compact(sweep) == [(sweep / INDEX, 6, (), 0)]
    assert wattlaw.load_runs(sweep) == before
    table = parquet.read_table(sweep / INDEX)
    for folder, text in zip(table["folder"].to_pylist(), table["summary"].to_pylist(), strict=True):
        assert text.encode() == (sweep / folder / SUMMARY).read_bytes()


def test_runs_are_read_from_the_index_when_there_is_one(sweep: Path):
    compact(sweep)
    summary = next(sweep.glob(f"*/{SUMMARY}"))
    stat = summary.stat()
    summary.write_bytes(b"x" * stat.st_size)
    os.utime(summary, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(wattlaw.load_runs(sweep, on_damaged="raise")) == 6


def test_a_trial_that_is_newer_than_the_index_or_not_in_it_is_read_from_its_folder(sweep: Path):
    compact(sweep)
    first, second, *_ = sorted(sweep.glob(f"*/{SUMMARY}"))
    changed = msgspec.structs.replace(
        read_run(first), state="failed", error="ZeroDivisionError: division by zero"
    )
    write_run(first.parent, changed)
    added = make_run(4)
    write_run(sweep / added.trial, added)
    shutil.rmtree(second.parent)
    runs = by_trial(wattlaw.load_runs(sweep.parent))
    assert runs[changed.trial] == changed
    assert runs[added.trial] == added
    assert second.parent.name not in runs
    assert len(runs) == 6


def test_a_trial_without_its_summary_is_unfinished(sweep: Path):
    compact(sweep)
    summary = sorted(sweep.glob(f"*/{SUMMARY}"))[0]
    (summary.parent / "attempt-1").mkdir()
    summary.unlink()
    runs = wattlaw.load_runs(sweep)
    assert len(runs) == 5
    assert runs.unfinished == (summary.parent,)


def test_an_index_by_itself_is_enough(sweep: Path, tmp_path: Path):
    before = wattlaw.load_runs(sweep)
    compact(sweep)
    alone = tmp_path / "elsewhere" / "demo"
    alone.mkdir(parents=True)
    shutil.copy(sweep / INDEX, alone)
    assert wattlaw.load_runs(alone.parent) == wattlaw.load_runs(alone / INDEX) == before


def test_imported_runs_are_only_in_the_index_and_survive_compacting(sweep: Path):
    before = wattlaw.load_runs(sweep)
    imported = [make_run(8, repeat, source="mlperf") for repeat in range(2)]
    write_index(sweep, imported)
    changed = make_run(8, 0, 0.05, source="mlperf")
    write_index(sweep, [changed])
    compact(sweep)
    assert wattlaw.load_runs(sweep) == [*before, imported[1], changed]


def test_two_imported_runs_with_the_same_name_are_refused_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(RecordError, match="two runs are named"):
        write_index(tmp_path / "new", [make_run(1), make_run(1)])
    assert not (tmp_path / "new" / INDEX).exists()


def test_a_damaged_run_is_left_out_of_the_index_and_named_by_every_load(sweep: Path):
    broken = sorted(sweep.glob(f"*/{SUMMARY}"))[3]
    broken.write_bytes(b"{")
    (written,) = compact(sweep)
    assert written.runs == 5
    assert [d.path for d in written.damaged] == [broken]
    assert [d.path for d in wattlaw.load_runs(sweep).damaged] == [broken]


@pytest.mark.parametrize("spoil", ["cut", "flip", "other", "newer", "empty"])
def test_a_damaged_index_is_named_and_the_folders_are_read(sweep: Path, spoil: str):
    before = wattlaw.load_runs(sweep)
    compact(sweep)
    index = sweep / INDEX
    data = index.read_bytes()
    table = parquet.read_table(index)
    match spoil:
        case "cut":
            index.write_bytes(data[:-100])
        case "flip":
            at = data.index(b"\x28\xb5\x2f\xfd") + 30  # inside the first compressed page
            index.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        case "other":
            parquet.write_table(table.replace_schema_metadata({}), index)
        case "newer":
            parquet.write_table(
                table.replace_schema_metadata({"wattlaw_index": '{"format": 9}'}), index
            )
        case "empty":
            index.write_bytes(b"")
    runs = wattlaw.load_runs(sweep, on_damaged="ignore")
    assert runs == before
    if spoil != "flip":  # the page may be one that is not read
        assert [d.path for d in runs.damaged] == [index]
        assert "\n" not in runs.damaged[0].reason
    if spoil == "newer":
        assert isinstance(runs.damaged[0].error, NewerFormatError)
    (written,) = compact(sweep)
    assert written.runs == 6
    assert wattlaw.load_runs(sweep, on_damaged="raise") == before


def test_an_index_stays_whole_when_it_cannot_be_replaced(sweep: Path):
    compact(sweep)
    before = (sweep / INDEX).read_bytes()
    script = (
        "import resource, sys\nfrom wattlaw.records import compact\nimport pyarrow.parquet\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\ncompact(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(sweep)], capture_output=True, text=True, check=False
    )
    assert "would exceed the largest file allowed here" in done.stderr.splitlines()[-1]
    assert (sweep / INDEX).read_bytes() == before
    assert not list(sweep.glob(".*"))


def test_an_index_that_cannot_be_written_is_a_warning_of_the_sweep(sweep: Path, caplog):
    (sweep / INDEX).mkdir()
    keep_index(sweep)
    assert "no index was written" in caplog.text
    (sweep / INDEX).rmdir()
    keep_index(sweep)
    assert (sweep / INDEX).is_file()


def test_a_quantity_may_have_any_name(tmp_path: Path):
    names = ["trial", "number", "summary", "loss_status", "loss", "", "Ω m"]
    run = make_run(1, quantities={name: Reading(float(n)) for n, name in enumerate(names)})
    write_index(tmp_path, [run, make_run(2)])
    assert wattlaw.load_runs(tmp_path)[0] == run
    assert parquet.read_table(tmp_path / INDEX)["quantity_trial"].to_pylist() == [0.0, None]


def test_duckdb_queries_all_indexes_in_place(sweep: Path):
    other = make_run(4, setting=Setting("resnet", options={"lr": 0.1}), sweep="other")
    write_run(sweep.parent / "other" / other.trial, other)
    compact(sweep.parent)
    rows = duckdb.sql(
        "SELECT workload, devices, count(*), median(step_time_s),"
        " any_value(gpu_energy_j), any_value(gpu_energy_j_status),"
        " any_value(cpu_energy_j_status), any_value(options->>'lr'), any_value(summary->>'$.setting.workload'),"
        " any_value(warnings) "
        f"FROM read_parquet('{sweep.parent}/*/{INDEX}', union_by_name=true) GROUP BY ALL ORDER BY workload, devices"
    ).fetchall()
    assert [(r[0], r[1], r[2]) for r in rows] == [
        ("resnet", 1, 1),
        ("schnet", 1, 3),
        ("schnet", 2, 3),
    ]
    assert rows[1][3] == pytest.approx(0.101)
    assert rows[1][4:7] == (None, "missing", "estimated")
    assert rows[0][7:9] == ("0.1", "resnet")
    assert rows[1][9] == []
    assert rows[2][9] == ["oversubscribed"]


def test_every_field_of_a_setting_has_its_column():
    renamed = {"sm_clock_mhz": "sm_clock_limit_mhz", "memory_clock_mhz": "memory_clock_limit_mhz"}
    columns = {c.name for c in COLUMNS} | {"stop"}
    assert {renamed.get(name, name) for name in Setting.__struct_fields__} <= columns
    assert {f"stop_{name}" for name in ("steps", "epochs", "seconds")} <= columns


def test_without_pyarrow_the_folders_are_read_and_an_index_alone_is_named(
    sweep: Path, tmp_path: Path
):
    compact(sweep)
    write_index(tmp_path / "imported", [make_run(8)])
    script = (
        "import sys\nsys.modules['pyarrow'] = None\nimport importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name.startswith('pyarrow') else find(name)\n"
        "import wattlaw\nfor folder in sys.argv[1:]: print(len(wattlaw.load_runs(folder)))"
    )
    words = [sys.executable, "-c", script, str(sweep), str(tmp_path / "imported")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "0"]
    assert done.stderr.count("\n") == 1
    assert "needs pyarrow: pip install 'wattlaw[analysis]'" in done.stderr

"""Imports of real folders: duplicate names, broken links, duplicate columns."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest
from tests.importers.records import CARBON, LIGHTNING, LOG, SACCT, WINDOWS, ZEUS, results

from wattlaw.cli.main import main
from wattlaw.core.errors import DataError
from wattlaw.importers.importer import import_runs, number
from wattlaw.records import load_runs, write_index


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [("lightning", "metrics.csv", LIGHTNING), ("zeus", "summary_power_v100.csv", ZEUS)],
)
def test_what_is_not_a_file_does_not_stop_the_import_of_others(tmp_path, source, name, text):
    for folder in ("good", "folder", "gone", "circle", "pipe"):
        (tmp_path / folder).mkdir()
    (tmp_path / "good" / name).write_text(text)
    (tmp_path / "folder" / name).mkdir()
    (tmp_path / "gone" / name).symlink_to("nowhere")
    (tmp_path / "circle" / name).symlink_to(name)
    os.mkfifo(tmp_path / "pipe" / name)
    found = import_runs(source, tmp_path)
    assert {r.trial for r in found.runs} == {
        r.trial for r in import_runs(source, tmp_path / "good" / name).runs
    }
    assert {s.reason for s in found.skipped} == {"it is not a readable file"}
    assert {"folder", "pipe"} <= {Path(s.file).parent.name for s in found.skipped}


def test_a_broken_link_among_results_is_named(tmp_path):
    results(tmp_path / "v3.0")
    log = next((tmp_path / "v3.0").rglob("result_0.txt"))
    (log.parent / "result_1.txt").symlink_to("nowhere")
    found = import_runs("mlperf", tmp_path / "v3.0")
    assert len(found.runs) == 1
    assert "result_1.txt: it is not a readable file" in str(found.skipped[0])


def test_versions_of_several_experiments_stay_separate(tmp_path):
    for experiment in ("a", "b"):
        (tmp_path / experiment / "version_0").mkdir(parents=True)
        (tmp_path / experiment / "version_0" / "metrics.csv").write_text(LIGHTNING)
    names = [r.trial for r in import_runs("lightning", tmp_path).runs]
    assert names == ["lightning-a-version_0", "lightning-b-version_0"]


def test_a_requeued_job_and_tables_with_the_same_name_give_separate_runs(tmp_path):
    (path := tmp_path / "sacct.txt").write_text(SACCT + SACCT.split("\n")[1] + "\n")
    assert [r.trial for r in import_runs("sacct", path).runs] == ["slurm-7", "slurm-8", "slurm-7-2"]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "summary_power_v100.csv").write_text(ZEUS)
    names = [r.trial for r in import_runs("zeus", tmp_path).runs]
    assert len(set(names)) == 4
    assert (
        len(
            load_runs(write_index(tmp_path / "out", import_runs("zeus", tmp_path).runs).path.parent)
        )
        == 4
    )


def test_the_longest_row_of_a_tracker_is_used(tmp_path):
    row = "2024-01-01T10:00:00,bert,a1,{},0.001,{},0,2\n"
    table = CARBON + row.format(300.0, 0.006) + row.format(200.0, 0.004)
    (path := tmp_path / "emissions.csv").write_text(table)
    found = import_runs("codecarbon", path)
    assert [(r.trial, r.quantities["elapsed_s"].value) for r in found.runs] == [("a1", 300.0)]
    assert sum(s.reason.startswith("one of several rows of a run") for s in found.skipped) == 2


def test_a_duplicate_column_is_not_guessed(tmp_path):
    (path := tmp_path / "x.csv").write_text("gpus,rate,rate,note,note\n1,100,200,a,b\n")
    with pytest.raises(DataError, match=r"x\.csv:1: there are two columns 'rate'"):
        import_runs("csv", path, columns={"devices": "gpus", "samples_per_s": "rate"})
    (path := tmp_path / "y.csv").write_text(
        "devices,samples_per_s,step_time_s,step_time_s\n1,100,1,2\n"
    )
    found = import_runs("csv", path)
    assert set(found.runs[0].quantities) == {"samples_per_s"}
    assert "y.csv:1: there are two columns 'step_time_s'; neither is read" in str(found.skipped[0])


def test_a_cell_with_an_unknown_precision_drops_only_its_row(tmp_path):
    (path := tmp_path / "x.csv").write_text("precision,samples_per_s\nbf16,1\nhalf,2\n")
    found = import_runs("csv", path)
    assert len(found.runs) == 1
    assert "x.csv:3: unknown precision 'half'" in str(found.skipped[0])


def test_an_import_that_replaces_another_reports_it(tmp_path, capsys):
    for name, rate in (("a", 100), ("b", 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(f"samples_per_s\n{rate}\n")

    def imported(name):
        with pytest.raises(SystemExit):
            main(["import", "csv", str(tmp_path / name / "x.csv"), "-o", str(tmp_path / "out")])
        return capsys.readouterr().err

    assert "replaced" not in imported("a")
    assert "replaced" not in imported("a")
    assert "replaced 1 earlier run of the same name" in imported("b")


def test_a_compressed_file_is_reported_as_compressed(tmp_path):
    for source, name in (("csv", "x.csv.gz"), ("sacct", "jobs.gz"), ("nvidia-smi", "smi.csv.gz")):
        (tmp_path / name).write_bytes(gzip.compress(SACCT.encode()))
        with pytest.raises(DataError, match="is compressed; unpack it first"):
            import_runs(source, tmp_path / name)


def test_control_characters_of_a_header_are_not_printed(tmp_path):
    (path := tmp_path / "x.csv").write_text("\x1b[31mgpus,ra\x08te\n1,2\n")
    with pytest.raises(DataError, match=r"x\.csv:1: the file is not text"):
        import_runs("csv", path, columns={"samples_per_s": "rate"})


def test_a_number_of_four_hundred_digits_is_not_a_value(tmp_path):
    assert number(10**400) is None
    assert number(-(10**400)) is None
    assert number(float("nan")) is None
    results(tmp_path, log=LOG.replace("3200", "9" * 400))
    assert import_runs("mlperf", tmp_path).runs[0].setting.batch_per_device is None


def test_a_duplicate_meter_drops_only_its_file(tmp_path):
    (path := tmp_path / "V100+x+gpu0.csv").write_text(WINDOWS.replace("gpu1_energy", "gpu0_energy"))
    (tmp_path / "summary_power_v100.csv").write_text(ZEUS)
    found = import_runs("zeus", tmp_path)
    assert len(found.runs) == 2
    assert (
        str(found.skipped[0])
        == f"{path}:1: there are two columns 'gpu0_energy'; leave one in the file"
    )


def test_a_zip_with_broken_lzma_is_reported_as_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x/result_0.txt", "a long enough text " * 50)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:70] = bytes(255 - b for b in data[60:70])
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.zip: the archive is damaged"):
        import_runs("mlperf", tmp_path / "a.zip")

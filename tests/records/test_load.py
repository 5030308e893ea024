"""Loading runs from folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import wattlaw
import wattlaw.records
from wattlaw.core.errors import DamagedRunError, NewerFormatError, RecordError
from wattlaw.core.run_folder import SUMMARY


def test_runs_are_found_from_the_folder_of_all_of_a_sweep_and_of_a_trial(sweep: Path):
    trial = sorted(p for p in sweep.iterdir())[0]
    assert len(wattlaw.load_runs(sweep.parent)) == len(wattlaw.load_runs(sweep)) == 6
    assert [r.trial for r in wattlaw.load_runs(trial)] == [trial.name]
    assert [r.trial for r in wattlaw.load_runs(trial / SUMMARY)] == [trial.name]


@pytest.mark.parametrize(("above", "seen"), [(0, 6), (1, 6), (2, 6), (3, 0)])
def test_an_index_is_found_from_the_same_folders_as_its_trials(
    sweep: Path, tmp_path: Path, above: int, seen: int
):
    pytest.importorskip("pyarrow")
    alone = tmp_path / "a" / "b"
    sweep = shutil.copytree(sweep, alone / "runs" / "demo")
    place = [sweep, *sweep.parents][above]
    assert len(wattlaw.load_runs(place, on_damaged="ignore")) == seen
    wattlaw.records.compact(sweep)
    assert len(wattlaw.load_runs(place, on_damaged="ignore")) == seen


def test_a_damaged_run_is_named_and_left_out(sweep: Path, caplog: pytest.LogCaptureFixture):
    broken = sorted(sweep.glob(f"*/{SUMMARY}"))[2]
    broken.write_bytes(broken.read_bytes()[:100])
    runs = wattlaw.load_runs(sweep)
    assert len(runs) == 5
    assert [d.path for d in runs.damaged] == [broken]
    assert str(broken) in runs.damaged[0].reason
    assert [r.message for r in caplog.records] == [f"warning: left out: {runs.damaged[0].reason}"]
    with pytest.raises(DamagedRunError):
        wattlaw.load_runs(sweep, on_damaged="raise")


def test_a_run_of_a_newer_format_is_named_and_left_out(sweep: Path):
    newer = sorted(sweep.glob(f"*/{SUMMARY}"))[0]
    newer.write_bytes(b'{"format": 99, "wattlaw": "7.0", "setting": {"workload": 3}}')
    runs = wattlaw.load_runs(sweep, on_damaged="ignore")
    assert len(runs) == 5
    assert "format 99" in runs.notes[0].message
    with pytest.raises(NewerFormatError, match="upgrade"):
        wattlaw.load_runs(sweep, on_damaged="raise")


def test_a_started_trial_that_did_not_end_is_unfinished(sweep: Path):
    (sweep / "schnet-abc-r0" / "attempt-1").mkdir(parents=True)
    runs = wattlaw.load_runs(sweep)
    assert len(runs) == 6
    assert runs.unfinished == (sweep / "schnet-abc-r0",)


def test_a_missing_folder_is_an_error_and_an_empty_one_has_no_runs(tmp_path: Path):
    assert wattlaw.load_runs(tmp_path) == []
    with pytest.raises(RecordError, match="there is no folder"):
        wattlaw.load_runs(tmp_path / "none")

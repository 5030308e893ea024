"""``wattlaw runs``: data on stdout, messages on stderr, one-line errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factory import make_run

from wattlaw.cli.main import main
from wattlaw.core.run_folder import SUMMARY, new_attempt, write_run
from wattlaw.core.setting import Setting, Stop


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """Run the command line and return exit code, stdout and stderr."""

    def called(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return called


def test_a_sweep_is_shown_as_a_row_for_each_setting(sweep: Path, call):
    code, out, err = call("runs", "show", sweep)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("schnet")]
    assert [row[:3] for row in rows] == [["schnet", "1", "3"], ["schnet", "2", "3"]]
    assert "101 ms" in out
    assert "est." in out
    assert "oversubscribed" in out
    assert "energy_per_sample_j est.: estimated by cpu: linear CPU power model" in err


def test_fields_shared_by_all_rows_are_shown_above_the_table(tmp_path: Path, call):
    options = {"activation_checkpointing": True, "strategy": "fsdp"}
    run = make_run(setting=Setting("gpt2", preset="tiny", stop=Stop(steps=30), options=options))
    write_run(tmp_path / "runs" / "demo" / run.trial, run)
    _, out, _ = call("runs", "show", tmp_path / "runs" / "demo")
    assert "activation_checkpointing yes" in out.splitlines()[0]
    assert "strategy fsdp" in out.splitlines()[0]


def test_a_missing_quantity_is_shown_with_its_reason(sweep: Path, call):
    _, out, err = call("runs", "show", sweep, "--columns", "step_time_s,gpu_energy_j")
    assert "gpu_energy_j –: missing, because no GPU on this machine" in err
    assert "gpu_energy" not in out


def test_shown_json_has_the_status_of_every_reading(sweep: Path, call):
    _, out, _ = call("runs", "show", sweep, "--json")
    whole = json.loads(out)
    assert (whole["kind"], whole["overall"]["runs"], len(whole["items"])) == ("runs", 6, 2)
    assert whole["items"][0]["group"] == {"workload": "schnet", "devices": 1}
    assert whole["items"][0]["quantities"]["step_time_s"]["status"] == "measured"
    assert whole["items"][0]["quantities"]["energy_per_sample_j"]["status"] == "estimated"


def test_one_trial_is_shown_in_full(sweep: Path, call):
    trial = sorted(sweep.iterdir())[0]
    _, out, _ = call("runs", "show", trial)
    for word in (
        trial.name,
        "cpu_energy_j",
        "estimated",
        "missing",
        "no GPU on this machine",
        "derived",
    ):
        assert word in out
    _, out, _ = call("runs", "show", trial, "--json")
    assert json.loads(out)["items"][0]["trial"] == trial.name


def test_failed_runs_are_shown_with_the_end_of_their_errors(sweep: Path, call):
    error = (
        "Traceback (most recent call last):\n"
        + "  frame\n" * 40
        + "RuntimeError: CUDA out of memory"
    )
    failed = make_run(4, state="failed", error=error, quantities={})
    write_run(sweep / failed.trial, failed)
    _, out, err = call("runs", "show", sweep, "--failed")
    assert failed.trial in out
    assert "CUDA out of memory" in out
    assert out.count("frame") == 11
    assert "1 of 7 runs failed" in err
    _, out, _ = call("runs", "show", sweep)
    assert "0 + 1 failed" in out


def test_two_folders_are_compared(sweep: Path, tmp_path: Path, call):
    for devices in (1, 2):
        for repeat in range(3):
            run = make_run(devices, repeat, 0.2 / devices * (1 + 0.01 * repeat))
            write_run(tmp_path / "other" / run.trial, run)
    code, out, err = call("runs", "compare", sweep, tmp_path / "other", "--columns", "step_time_s")
    assert code == 0
    assert out.count("worse") == 2
    assert "larger than the noise: 2 of 2 differences" in err
    code, out, _ = call("runs", "compare", sweep, tmp_path / "other", "--json")
    assert json.loads(out)["overall"] == {"matched": 2, "only_a": 0, "only_b": 0}
    assert json.loads(out)["items"][0]["ratio"]["value"] > 0


def test_runs_are_compacted_and_exported(sweep: Path, tmp_path: Path, call):
    pytest.importorskip("pyarrow")
    code, out, _ = call("runs", "compact", sweep.parent, "--json")
    assert (code, json.loads(out)["items"][0]["runs"]) == (0, 6)
    _, out, _ = call("runs", "export", sweep)
    assert len(list(csv.DictReader(io.StringIO(out)))) == 6
    code, out, err = call("runs", "export", sweep, "-o", tmp_path / "all.parquet")
    assert (code, out, err) == (0, "", f"6 runs in {tmp_path / 'all.parquet'}\n")


def test_a_damaged_run_is_named_on_stderr_and_the_others_are_shown(sweep: Path):
    broken = sorted(sweep.glob(f"*/{SUMMARY}"))[0]
    broken.write_bytes(broken.read_bytes()[:50])
    words = [sys.executable, "-m", "wattlaw", "runs", "show", str(sweep), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.startswith(f"warning: left out: {broken} is damaged: ")
    assert done.stderr.count("\n") == 1
    whole = json.loads(done.stdout)
    assert whole["overall"]["runs"] == 5
    assert whole["warnings"][0]["name"] == "damaged_run"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "{none}"], 1, "there is no folder {none}"),
        (["show", "{empty}"], 1, "there are no runs in {empty}; 1 trial started and not finished"),
        (["show", "{sweep}", "--columns", "step_times_s"], 2, "did you mean 'step_time_s'"),
        (["show", "{sweep}", "--by", "device"], 2, "did you mean 'devices'"),
        (["shw", "{sweep}"], 2, "No such command 'shw'"),
        (["compact", "{empty}"], 1, "there are no runs in {empty}"),
        (["export", "{sweep}", "-o", "{empty}/x.txt"], 2, "name it .csv, .parquet or .json"),
        (["export", "{sweep}", "-o", "{empty}"], 2, "the ending names no format"),
        (["compare", "{sweep}", "{none}"], 1, "there is no folder {none}"),
    ],
)
def test_a_wrong_call_is_a_one_line_error(
    sweep: Path, tmp_path: Path, call, words: list[str], code: int, message: str
):
    new_attempt(tmp_path / "empty" / "demo" / "schnet-0-r0")
    places = {"none": tmp_path / "none", "empty": tmp_path / "empty", "sweep": sweep}
    ended, out, err = call("runs", *(word.format(**places) for word in words))
    assert (ended, out) == (code, "")
    assert message.format(**places) in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [["runs", "export"], ["runs", "show"], ["runs", "show", "--json"]]
)
def test_a_full_disk_behind_stdout_is_a_one_line_error(sweep: Path, words: list[str]):
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "wattlaw", *words, str(sweep)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "wattlaw: the output: No space left on device"
    assert "Traceback" not in done.stderr

"""Sweeps: planning, killing, resuming, retrying and status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import psutil
import pytest

from tests.runner.conftest import wattlaw
from wattlaw.core.files import make_folder
from wattlaw.executors.claims import RUNNERS, Runner

SWEEP = """
name = "naps"
repeats = 2
[setting]
command = "python {script} {{nap}} {log}"
[over]
nap = [0.1, 0.2, 0.3]
"""


@pytest.fixture
def sweep(tmp_path):
    script = tmp_path / "nap.py"
    script.write_text(
        "import os, sys, time\n"
        "open(sys.argv[2], 'a').write(f'begin {sys.argv[1]}\\n')\n"
        "time.sleep(float(sys.argv[1]))\n"
        "open(sys.argv[2], 'a').write(f'end {sys.argv[1]}\\n')\n"
    )
    log = tmp_path / "log"
    path = tmp_path / "naps.toml"
    path.write_text(SWEEP.format(script=script, log=log))
    return path, log


def start(path, out, **options):
    words = [sys.executable, "-m", "wattlaw", "sweep", "start", str(path), "-o", str(out)]
    return subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
    )


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def summaries(out):
    return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("naps/*/summary.json")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_resumes_without_repeating_or_losing_a_trial(sweep, tmp_path, number):
    path, log = sweep
    out = tmp_path / "runs"
    runner = start(path, out)
    wait_for(lambda: len(summaries(out)) >= 2)
    runner.send_signal(number)
    errors = runner.communicate(timeout=30)[1]
    assert runner.returncode == (-9 if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "sweep resume" in errors
    before = summaries(out)
    assert 2 <= len(before) < 6
    ended = log.read_text().count("end")
    done = wattlaw("sweep", "resume", str(path), "-o", str(out))
    assert done.returncode == 0, done.stderr
    after = summaries(out)
    assert len(after) == 6
    assert {k: after[k] for k in before} == before
    assert log.read_text().count("end") - ended == 6 - len(before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_runner_leaves_no_descendant_process(tmp_path, number):
    path = tmp_path / "naps.toml"
    path.write_text(
        "name = 'naps'\nrepeats = 1\n[setting]\ncommand = \"bash -c 'sleep 300; echo'\"\n"
    )
    runner = start(path, tmp_path / "runs")
    wait_for(
        lambda: any(
            "sleep" in p.name() for p in psutil.Process(runner.pid).children(recursive=True)
        )
    )
    family = psutil.Process(runner.pid).children(recursive=True)
    assert len(family) >= 4  # bash, sleep, the sampler, the keeper
    runner.send_signal(number)
    runner.communicate(timeout=20)
    wait_for(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 15
    )


def test_status_shows_which_process_runs_which_trial_and_cancel_stops_all_of_this_machine(
    sweep, tmp_path
):
    path, log = sweep
    path.write_text(path.read_text().replace("[0.1, 0.2, 0.3]", "[30.5]"))
    out = tmp_path / "runs"
    first = start(path, out)
    wait_for(lambda: log.exists())
    second = start(path, out)
    wait_for(lambda: log.read_text().count("begin") == 2)
    words = ["sweep", "status", str(path), "-o", str(out)]
    overall = json.loads(wattlaw(*words, "--json").stdout)["overall"]
    assert overall["running_pid"] in (first.pid, second.pid)
    running = {row["pid"]: row["trial"] for row in overall["running"]}
    assert running.keys() == {first.pid, second.pid}
    assert {trial[-3:] for trial in running.values()} == {"-r0", "-r1"}
    shown = wattlaw(*words)
    assert "2 processes run it" in shown.stderr
    assert f"process {first.pid} of" in shown.stdout
    cancelled = wattlaw("sweep", "cancel", str(path), "-o", str(out))
    assert cancelled.returncode == 0, cancelled.stderr
    for runner in (first, second):
        errors = runner.communicate(timeout=20)[1]
        assert runner.returncode == 130, errors
        assert f"process {runner.pid} of" in cancelled.stderr
    assert wattlaw("sweep", "cancel", str(path), "-o", str(out)).returncode == 2
    assert log.read_text().count("end") == 0


def test_a_sweep_that_runs_on_another_host_is_not_cancelled_from_here(sweep, tmp_path):
    path, _ = sweep
    folder = tmp_path / "runs" / "naps"
    with subprocess.Popen(["sleep", "60"]) as bystander:
        runner = Runner(
            name="elsewhere", host="elsewhere", machine="m", pid=bystander.pid, start_ticks=1
        )
        make_folder(folder / RUNNERS).joinpath("elsewhere.json").write_bytes(
            msgspec.json.encode(runner)
        )
        refused = wattlaw("sweep", "cancel", str(path), "-o", str(tmp_path / "runs"))
        assert bystander.poll() is None
        bystander.kill()
    assert refused.returncode == 2
    assert "cancel it there" in refused.stderr


def test_two_processes_share_a_sweep_and_run_each_trial_once(sweep, tmp_path):
    path, log = sweep
    path.write_text(path.read_text().replace("[0.1, 0.2, 0.3]", "[0.6, 0.7, 0.8]"))
    out = tmp_path / "runs"
    both = [start(path, out), start(path, out)]
    for runner in both:
        errors = runner.communicate(timeout=60)[1]
        assert runner.returncode == 0, errors
        assert "in another process" in errors
    assert len(summaries(out)) == 6
    assert log.read_text().count("begin") == 6
    assert len(list(out.glob("naps/*/attempt-*"))) == 6
    records = [json.loads(p.read_text()) for p in out.glob("naps/*/summary.json")]
    names = [note["name"] for record in records for note in record["warnings"]]
    assert "trials_side_by_side" in names
    assert not list(out.glob("naps/.runners/*"))
    assert not list(out.glob("naps/*/attempt-*/.claim.json"))


def test_a_trial_whose_process_was_killed_is_taken_over_by_the_other(sweep, tmp_path):
    path, log = sweep
    path.write_text(path.read_text().replace("[0.1, 0.2, 0.3]", "[6.0]"))
    out = tmp_path / "runs"
    first, second = start(path, out), start(path, out)
    wait_for(lambda: log.exists() and log.read_text().count("begin") == 2)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=20)
    errors = second.communicate(timeout=60)[1]
    assert second.returncode == 0, errors
    assert len(summaries(out)) == 2
    summary = json.loads(next(out.glob("naps/*/attempt-2")).with_name("summary.json").read_text())
    assert "trials_side_by_side" not in [note["name"] for note in summary["warnings"]]
    assert (log.read_text().count("begin"), log.read_text().count("end")) == (3, 2)
    assert sorted(p.name for p in out.glob("naps/*/attempt-*")) == ["attempt-1"] * 2 + ["attempt-2"]


def test_a_worker_in_any_folder_runs_a_prepared_trial_only_once(sweep, tmp_path):
    path, log = sweep
    out = tmp_path / "runs"
    prepared = wattlaw("sweep", "prepare", str(path), "-o", str(out), cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    specs = prepared.stdout.split()
    assert len(specs) == 6
    assert not log.exists()
    spec = json.loads((tmp_path / specs[0]).read_text())
    assert spec["code"]["file"].endswith("nap.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for _ in range(2):
        done = wattlaw("worker", str(tmp_path / specs[0]), cwd=elsewhere)
        assert done.returncode == 0, done.stderr
    assert list(summaries(out)) == [spec["id"]]
    assert log.read_text().count("end") == 1
    rest = wattlaw("sweep", "start", str(path), "-o", str(out))
    assert rest.returncode == 0, rest.stderr
    assert log.read_text().count("end") == 6


def test_a_prepared_trial_fails_if_its_script_has_changed_and_retry_runs_the_new_one(
    sweep, tmp_path
):
    path, log = sweep
    out = tmp_path / "runs"
    specs = wattlaw("sweep", "prepare", str(path), "-o", str(out)).stdout.split()
    script = tmp_path / "nap.py"
    script.write_text(script.read_text() + "# a comment\n")
    failed = wattlaw("worker", specs[0])
    assert failed.returncode == 1
    assert "nap.py has changed since the trial was prepared" in failed.stderr
    assert not log.exists()
    again = wattlaw("sweep", "prepare", str(path), "-o", str(out), "--retry").stdout.split()
    assert sorted(again) == sorted(specs)
    assert wattlaw("worker", specs[0]).returncode == 0
    assert log.read_text().count("end") == 1


def test_cancel_stops_a_sweep_that_a_shell_put_in_the_background(sweep, tmp_path):
    path, log = sweep
    path.write_text(path.read_text().replace("[0.1, 0.2, 0.3]", "[30.5]"))
    out = tmp_path / "runs"
    ignored = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); from wattlaw.cli.main import main; main()"
    words = [sys.executable, "-c", ignored, "sweep", "start", str(path), "-o", str(out)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as runner:
        wait_for(lambda: log.exists())
        assert wattlaw("sweep", "cancel", str(path), "-o", str(out)).returncode == 0
        assert runner.wait(10) == 130


def test_a_trial_with_a_damaged_summary_runs_again(sweep, tmp_path):
    path, log = sweep
    out = tmp_path / "runs"
    assert wattlaw("sweep", "start", str(path), "-o", str(out)).returncode == 0
    damaged = sorted(out.glob("naps/*/summary.json"))[0]
    damaged.write_text('{"format": 1, "tri')
    assert (
        json.loads(wattlaw("sweep", "status", str(path), "-o", str(out), "--json").stdout)[
            "overall"
        ]["left"]
        == 1
    )
    assert wattlaw("sweep", "resume", str(path), "-o", str(out)).returncode == 0
    assert log.read_text().count("end") == 7
    assert json.loads(damaged.read_text())["attempt"] == 2


def test_a_dry_run_prints_every_trial_with_its_time_and_runs_none(sweep, tmp_path):
    path, log = sweep
    plan = wattlaw("sweep", "start", str(path), "-o", str(tmp_path / "runs"), "--dry-run", "--json")
    whole = json.loads(plan.stdout)
    assert len(whole["items"]) == 6
    assert all(item["seconds"] > 0 for item in whole["items"])
    assert whole["overall"]["is_guess"] is True
    assert not log.exists()


def test_failed_trials_run_again_only_on_retry(tmp_path):
    flag = tmp_path / "mended"
    path = tmp_path / "flaky.toml"
    code = f"import os,sys; sys.exit(0 if os.path.exists('{flag}') else 5)"
    path.write_text(
        f'name = "flaky"\nrepeats = 2\n[setting]\ncommand = """python -c "{code}" """\n'
    )
    out = tmp_path / "runs"
    first = wattlaw("sweep", "start", str(path), "-o", str(out))
    assert first.returncode == 1
    assert "2 of 2 trials failed" in first.stderr
    assert wattlaw("sweep", "resume", str(path), "-o", str(out)).returncode == 1
    flag.touch()
    again = wattlaw("sweep", "retry", str(path), "-o", str(out))
    assert again.returncode == 0, again.stderr
    assert sorted(p.name for p in out.glob("flaky/*-r0/attempt-*")) == ["attempt-1", "attempt-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = [", "Invalid value"),
        ('nam = "x"', "did you mean 'name'"),
        ('name = "a/b"', "letters"),
        ("repeats = 0", "at least 1"),
        ("[over]\ndevices = []", "at least one value"),
        ("[setting]\nworkload = 'schnet'\nstop = { step = 3 }", "stop"),
        ("[setting]\nworkload = 3", "workload"),
    ],
)
def test_a_wrong_sweep_file_gets_one_line_and_exit_code_2(tmp_path, text, message):
    path = tmp_path / "s.toml"
    path.write_text(text)
    done = wattlaw("sweep", "start", str(path), "-o", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_missing_sweep_file_is_named(tmp_path):
    done = wattlaw("sweep", "start", str(tmp_path / "no.toml"))
    assert done.returncode == 1
    assert "there is no" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file system of its own, which needs root")
def test_a_full_disk_stops_a_sweep_with_one_line_and_leaves_nothing_half_written(sweep, tmp_path):
    path, _ = sweep
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("needs leave to mount a file system")
    try:
        done = wattlaw("sweep", "start", str(path), "-o", str(small / "runs"))
        assert done.returncode == 1
        assert "no space left" in done.stderr
        assert not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", str(small)], check=True)

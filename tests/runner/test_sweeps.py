"""Sweeps that are planned, killed, resumed, retried and watched."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.runner.conftest import wattlaw

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
def test_a_stopped_sweep_goes_on_without_repeating_or_losing_a_trial(sweep, tmp_path, number):
    path, log = sweep
    out = tmp_path / "runs"
    runner = start(path, out)
    wait_for(lambda: len(summaries(out)) >= 2)
    runner.send_signal(number)
    said = runner.communicate(timeout=30)[1]
    assert runner.returncode == (-9 if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "sweep resume" in said
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
def test_a_stopped_runner_leaves_no_process_behind_not_even_a_grandchild(tmp_path, number):
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


def test_a_second_runner_of_one_sweep_is_refused_and_cancel_stops_the_first(sweep, tmp_path):
    path, log = sweep
    path.write_text(path.read_text().replace("[0.1, 0.2, 0.3]", "[30.5]"))
    out = tmp_path / "runs"
    runner = start(path, out)
    wait_for(lambda: log.exists())
    second = wattlaw("sweep", "start", str(path), "-o", str(out))
    assert second.returncode == 1
    assert f"process {runner.pid} of" in second.stderr
    status = wattlaw("sweep", "status", str(path), "-o", str(out), "--json")
    assert json.loads(status.stdout)["overall"]["running_pid"] == runner.pid
    assert wattlaw("sweep", "cancel", str(path), "-o", str(out)).returncode == 0
    runner.communicate(timeout=20)
    assert runner.returncode == 130
    assert wattlaw("sweep", "cancel", str(path), "-o", str(out)).returncode == 2


def test_a_sweep_that_runs_on_another_host_is_not_cancelled_from_here(sweep, tmp_path):
    path, _ = sweep
    folder = tmp_path / "runs" / "naps"
    folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as bystander, open(folder / ".running", "w") as lock:
        lock.write(json.dumps({"host": "elsewhere", "pid": bystander.pid}))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = wattlaw("sweep", "cancel", str(path), "-o", str(tmp_path / "runs"))
        assert bystander.poll() is None
        bystander.kill()
    assert refused.returncode == 2
    assert "cancel it there" in refused.stderr


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


def test_a_damaged_summary_is_no_result_its_trial_runs_again(sweep, tmp_path):
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
    ("text", "says"),
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
def test_a_wrong_sweep_file_gets_one_line_and_exit_code_2(tmp_path, text, says):
    path = tmp_path / "s.toml"
    path.write_text(text)
    done = wattlaw("sweep", "start", str(path), "-o", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert says in done.stderr
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

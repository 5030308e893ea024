"""Claims of trials by processes on this machine, on others, and in Slurm jobs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time

import msgspec
import pytest

from wattlaw.core.files import make_folder
from wattlaw.core.process_identity import machine_id, start_ticks
from wattlaw.executors import claims
from wattlaw.executors.claims import CLAIM, RUNNERS, Runner, holder_of, is_latest, joined, runners


def elsewhere(folder, *, age_s=0.0, **fields):
    """Write the heartbeat file and the claim of a runner on another machine, of some age."""
    runner = Runner(name="other", host="far", machine="far", pid=1, start_ticks=1, **fields)
    path = make_folder(folder / RUNNERS) / "other.json"
    path.write_bytes(msgspec.json.encode(runner))
    os.utime(path, (time.time() - age_s,) * 2)
    attempt = make_folder(folder / "trial" / "attempt-1")
    (attempt / CLAIM).write_bytes(msgspec.json.encode(runner))
    return attempt


def claimed(folder):
    """Return the attempt of the trial that this process claims; None if another has claimed it."""
    with joined(folder) as mine:
        attempt = mine.claim(folder / "trial", lambda: True)
        return attempt.name if attempt else None


def squeue(tmp_path, monkeypatch, script):
    program = make_folder(tmp_path / "bin") / "squeue"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_claim_is_shown_while_it_lasts_and_leaves_no_file(tmp_path):
    with joined(tmp_path) as mine:
        attempt = mine.claim(tmp_path / "trial", lambda: True)
        assert attempt == tmp_path / "trial" / "attempt-1"
        assert holder_of(attempt).pid == os.getpid()
        (shown,) = runners(tmp_path)
        assert (shown.trial, shown.attempt, shown.is_here) == ("trial", 1, True)
        assert mine.claim(tmp_path / "trial", lambda: True) is None
        mine.release(attempt)
        assert holder_of(attempt) is None
        mine.show_idle()
        assert runners(tmp_path)[0].trial == ""
    assert runners(tmp_path) == []
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_finished_trial_cannot_be_claimed(tmp_path):
    with joined(tmp_path) as mine:
        assert mine.claim(tmp_path / "trial", lambda: False) is None
        answers = iter([True, False])
        assert mine.claim(tmp_path / "trial", lambda: next(answers)) is None
    assert not list(tmp_path.glob("trial/attempt-*"))


def _claim_many(folder, barrier, found):
    with joined(folder) as mine:
        for number in range(20):
            barrier.wait(30)
            if mine.claim(folder / f"trial-{number}", lambda: True):
                found.put(number)
        barrier.wait(30)


def test_of_many_processes_that_claim_a_trial_at_the_same_moment_one_gets_it(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_claim_many, args=(tmp_path, barrier, found)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    got = sorted(found.get(timeout=60) for _ in range(20))
    for process in processes:
        process.join(30)
    assert got == list(range(20))
    assert found.empty()
    assert len(list(tmp_path.glob("trial-*/attempt-*"))) == 20


def test_a_runner_on_another_machine_keeps_its_trial_while_its_heartbeat_lasts(tmp_path):
    attempt = elsewhere(tmp_path, age_s=claims.LOST_S - 20)
    assert claimed(tmp_path) is None
    assert is_latest(attempt)
    elsewhere(tmp_path, age_s=claims.LOST_S + 1)
    assert claimed(tmp_path) == "attempt-2"
    assert not is_latest(attempt)


def test_heartbeats_are_dated_by_the_file_system_and_not_by_the_local_clock(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    assert claimed(tmp_path) is None


def test_a_runner_writes_heartbeats_and_continues_if_it_was_considered_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    with joined(tmp_path) as mine:
        os.utime(mine.path, (1.0, 1.0))
        until = time.monotonic() + 20
        while mine.path.stat().st_mtime == 1.0 and time.monotonic() < until:
            time.sleep(0.02)
        assert mine.path.stat().st_mtime > 1.0
        mine.path.unlink()
        while not mine.path.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert [runner.pid for runner in runners(tmp_path)] == [os.getpid()]


def test_an_ended_process_has_no_claim_on_this_machine(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        fields = {"machine": machine_id(), "start_ticks": start_ticks(process.pid)}
        runner = Runner(name="here", host="h", pid=process.pid, **fields)
        (make_folder(tmp_path / RUNNERS) / "here.json").write_bytes(msgspec.json.encode(runner))
        (make_folder(tmp_path / "trial" / "attempt-1") / CLAIM).write_bytes(
            msgspec.json.encode(runner)
        )
        assert claimed(tmp_path) is None
        process.kill()
        process.poll()
        assert claimed(tmp_path) == "attempt-2"


def test_another_process_with_the_same_number_is_not_the_runner(tmp_path):
    runner = Runner(name="old", host="h", machine=machine_id(), pid=os.getpid(), start_ticks=1)
    (make_folder(tmp_path / RUNNERS) / "old.json").write_bytes(msgspec.json.encode(runner))
    assert runners(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "age_s", "is_alive"),
    [
        ("echo RUNNING", 100, True),
        ("exit 0", 100, False),
        ("echo PENDING", 100, False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", 100, False),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", 100, True),
        ("exit 0", 30, True),
        ("echo RUNNING", 200, False),
    ],
)
def test_a_late_runner_of_a_slurm_job_is_dead_once_slurm_reports_its_end(
    tmp_path, monkeypatch, script, age_s, is_alive
):
    claims._is_job_active.cache_clear()
    squeue(tmp_path, monkeypatch, script)
    elsewhere(tmp_path, age_s=age_s, slurm_job="77")
    assert (claimed(tmp_path) is None) is is_alive


def test_a_requeued_job_takes_over_its_own_trial_without_waiting(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    elsewhere(tmp_path, slurm_job="77", slurm_restarts=1)
    assert claimed(tmp_path) is None
    elsewhere(tmp_path, slurm_job="77", slurm_restarts=0)
    assert claimed(tmp_path) == "attempt-2"


def test_a_runner_whose_file_is_gone_has_ended(tmp_path):
    elsewhere(tmp_path)
    (tmp_path / RUNNERS / "other.json").unlink()
    assert claimed(tmp_path) == "attempt-2"


@pytest.mark.parametrize(
    ("fields", "is_shared"),
    [
        ({}, True),
        ({"cores": (2, 3)}, False),
        ({"machine": "far"}, False),
        ({"gpus": "1,2"}, False),
        ({"gpus": "0"}, True),
    ],
)
def test_trials_disturb_each_other_where_they_share_cores_and_gpus(fields, is_shared):
    one = Runner(name="a", host="h", machine="m", pid=1, start_ticks=1, cores=(0, 1), gpus="0")
    other = msgspec.structs.replace(one, name="b", **fields)
    assert one.shares_devices(other) is is_shared
    assert other.shares_devices(one) is is_shared
    assert one.shares_devices(msgspec.structs.replace(one, gpus=""))

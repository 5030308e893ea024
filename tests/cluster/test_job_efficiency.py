"""The efficiency of one job, from the output of sacct."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wattlaw.cluster.job_efficiency import page, text
from wattlaw.core.errors import DataError, UsageError
from wattlaw.core.reading import measured
from wattlaw.measuring.reduce.device_use import DeviceUse
from wattlaw.measuring.reduce.summary import Summary
from wattlaw.slurm.accounting import FIELDS, read_job, run_sacct

GIB = 2**30


def table(**job: str) -> str:
    values = {
        "JobID": "123", "JobIDRaw": "123", "JobName": "bert", "User": "ada", "State": "COMPLETED", "ElapsedRaw": "3600",
        "TimelimitRaw": "1440", "AllocNodes": "1", "AllocCPUS": "40", "TotalCPU": "04:00:00", "ReqMem": "320G",
        "AllocTRES": "billing=40,cpu=40,gres/gpu=2,mem=320G,node=1", "NodeList": "n7", **job,
    }  # fmt: skip
    step = {
        "JobID": "123.0", "JobIDRaw": "123.0", "State": "COMPLETED", "MaxRSS": "20G", "ConsumedEnergyRaw": "0",
        "AllocNodes": "1", "TRESUsageInAve": "cpu=04:00:00,gres/gpuutil=31", "AllocCPUS": "40", "ElapsedRaw": "3600",
    }  # fmt: skip
    return (
        "\n".join(
            "|".join(row.get(f, "") for f in FIELDS)
            for row in ({f: f for f in FIELDS}, values, step)
        )
        + "\n"
    )


def gpu(device: str, utilisation: float) -> DeviceUse:
    return DeviceUse(
        host="n7", device=device, boundary="gpu", energy=measured(1e6), utilisation=utilisation
    )


def test_a_page_compares_the_request_with_the_use() -> None:
    shown = text(page(read_job(table())))
    assert shown.splitlines()[0] == "job 123 (bert) of ada: COMPLETED, 1 node n7"
    assert "time     1 h 00 min of 24 h 00 min  4%" in shown
    assert "CPUs     4.0 cores busy of 40 cores  10%" in shown
    assert "memory   20 GiB of 320 GiB  6%" in shown
    assert "GPUs     0.6 GPUs busy (Slurm's accounting) of 2 GPUs  31%" in shown
    assert "energy   missing: Slurm reads no energy on this cluster" in shown


def test_a_saved_table_of_many_jobs_gives_the_page_of_the_named_one() -> None:
    both = table() + table(JobID="124", JobIDRaw="124", JobName="vgg").splitlines()[1] + "\n"
    assert read_job(both, "124").name == "vgg"
    with pytest.raises(UsageError, match=r"unknown job '122'; did you mean '12[34]'"):
        read_job(both, "122")
    array = (
        table(JobID="123_1")
        + table(JobID="123_2", JobIDRaw="125", JobName="vgg").splitlines()[1]
        + "\n"
    )
    assert [read_job(array, name).name for name in ("123_2", "125")] == ["vgg", "vgg"]
    with pytest.raises(
        UsageError, match="2 jobs of one array or group; name one of them, such as 123_1"
    ):
        read_job(array, "123")


def test_an_energy_of_zero_or_no_value_is_missing() -> None:
    assert (
        page(read_job(table(ConsumedEnergyRaw="18446744073709551614"))).energy.status == "missing"
    )
    assert page(read_job(table(ConsumedEnergyRaw="7200000"))).energy.value == 7.2e6


def test_idle_devices_come_first_among_at_most_three_pieces_of_advice() -> None:
    used = (gpu("gpu:0", 0.9), gpu("gpu:1", 0.01))
    found = page(
        read_job(table()), [Summary(quantities={"gpu_energy_j": measured(2e6)}, devices=used)]
    )
    assert found.idle == ("gpu:1 on n7",)
    assert found.energy.value == 2e6
    assert len(found.advice) == 3
    assert found.advice[0] == "1 of 2 GPUs were idle: request 1 GPU"


def test_a_well_used_job_gets_no_advice() -> None:
    well = table(TotalCPU="1-06:00:00", TimelimitRaw="90", AllocTRES="cpu=40,mem=24G,node=1")
    assert page(read_job(well)).advice == ()


def test_the_memory_per_cpu_of_older_slurms_is_parsed() -> None:
    use = read_job(table(ReqMem="8500Mc", AllocTRES="cpu=40,node=1"))
    assert use.memory_asked_bytes == 8500 * 2**20 * 40


def test_the_memory_of_all_tasks_is_added_up() -> None:
    lines = table().splitlines()
    step = dict(zip(FIELDS, lines[2].split("|"), strict=True))

    def used(**more: str) -> float | None:
        return read_job(
            "\n".join([*lines[:2], "|".join({**step, **more}[f] for f in FIELDS)])
        ).memory_used_bytes

    assert used(NTasks="4") == 4 * 20 * GIB
    assert used(NTasks="4", TRESUsageInTot="cpu=1,mem=30G") == 30 * GIB


def test_an_unknown_job_is_an_error() -> None:
    with pytest.raises(DataError, match="sacct knows no such job"):
        read_job("|".join(FIELDS) + "\n")
    with pytest.raises(UsageError, match="not a job ID"):
        run_sacct("--all")


def test_tasks_of_an_array_are_not_mixed() -> None:
    head, job, _ = table().splitlines()
    other = job.replace("123|123|", "122_2|122|").replace("20G", "21G")
    with pytest.raises(
        UsageError, match="2 jobs of one array or group; name one of them, such as 123"
    ):
        read_job("\n".join([head, job, other]))


def test_a_running_job_has_no_cpu_time_and_no_memory_yet() -> None:
    use = read_job(table(State="RUNNING", TotalCPU="00:00:00"))
    assert (use.cpu_time_s, use.memory_used_bytes) == (None, None)
    assert "unknown until the job ends, of 40 cores" in text(page(use))


def test_a_pending_job_has_used_nothing() -> None:
    with pytest.raises(DataError, match="job 123 is PENDING: it has not run"):
        read_job(table(State="PENDING", AllocNodes="0", ElapsedRaw="0"))


def test_outside_slurm_the_error_names_the_next_step(tmp_path) -> None:
    program = tmp_path / "sacct"
    program.write_text(
        "#!/bin/sh\necho 'sacct: fatal: Could not establish a configuration source' >&2; exit 1\n"
    )
    program.chmod(0o755)
    for path, shown in (
        (str(tmp_path), "run this on a machine of the Slurm cluster, or give"),
        ("/nowhere", "is not installed"),
    ):
        words = [sys.executable, "-m", "wattlaw", "job", "5"]
        done = subprocess.run(
            words, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 1
        assert shown in done.stderr


def test_the_command_reads_a_saved_table() -> None:
    words = [sys.executable, "-m", "wattlaw", "job", "123", "--sacct", "-"]
    done = subprocess.run(words, input=table(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("job 123 (bert)")

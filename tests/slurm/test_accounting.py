"""The parser of sacct's output, as a table and as JSON."""

from __future__ import annotations

from wattlaw.slurm.accounting import job_of_json, job_of_row, seconds_of


def test_times_are_read_in_every_form_that_sacct_prints() -> None:
    forms = ("04:05.500", "03:04:05", "2-03:04:05", "none")
    assert [seconds_of(form) for form in forms] == [245.5, 11045, 183845, None]


def test_a_job_of_a_table_and_of_json_is_the_same_job() -> None:
    row = {
        "JobID": "9", "JobName": "train", "State": "COMPLETED", "Elapsed": "00:01:40", "NNodes": "1",
        "AllocCPUS": "4", "AllocTRES": "cpu=4,gres/gpu:volta=2", "ConsumedEnergy": "0.5K",
        "Partition": "gpu", "Start": "5", "TimelimitRaw": "10",
    }  # fmt: skip
    resources = [
        {"type": "cpu", "name": "", "count": 4},
        {"type": "gres", "name": "gpu", "count": 2},
        {"type": "energy", "name": "", "count": 500},
    ]
    job = {
        "job_id": 9, "name": "train", "state": {"current": ["COMPLETED"]}, "allocation_nodes": 1,
        "time": {"elapsed": 100, "start": 5, "limit": {"number": 10}}, "partition": "gpu",
        "tres": {"allocated": resources},
    }  # fmt: skip
    assert job_of_row(row) == job_of_json(job)
    assert (job_of_row(row).gpus, job_of_row(row).energy_j, job_of_row(row).limit_s) == (
        2,
        500,
        600,
    )


def test_a_row_without_columns_is_a_job_without_accounting() -> None:
    job = job_of_row({"JobID": "7"})
    assert (job.id, job.nodes, job.gpus, job.elapsed_s) == ("7", 0, 0, 0)
    assert (job.cpu_time_s, job.memory_used_bytes, job.energy_j) == (None, None, None)

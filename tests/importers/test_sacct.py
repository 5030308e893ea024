"""Tables of sacct of several versions: GPUs, nodes, names with quotes, and jobs that go on."""

from __future__ import annotations

import json

import pytest

from wattlaw.core.errors import DataError
from wattlaw.importers.importer import import_runs


def imported(tmp_path, header, *rows):
    (path := tmp_path / "sacct.txt").write_text("\n".join([header, *rows]) + "\n")
    return import_runs("sacct", path)


def imported_json(tmp_path, **job):
    job = {"job_id": 1, "name": "train", "state": {"current": ["COMPLETED"]}} | job
    (path := tmp_path / "sacct.json").write_text(json.dumps({"jobs": [job]}))
    (run,) = import_runs("sacct", path).runs
    return run


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:4", 4),
        ("gpu", 1),
        ("gpu:a100", 1),
        ("gpu:1080ti:2", 2),
        ("gpu:a100:4(IDX:0-3)", 4),
        ("craynetwork:1,gpu:a100:2,gpu:v100:3", 5),
    ],
)
def test_gpus_of_old_versions_stand_in_alloc_gres(tmp_path, gres, gpus):
    header = "JobID|JobName|State|Elapsed|AllocGRES|AllocTRES"
    found = imported(tmp_path, header, f"1|train|COMPLETED|01:00:00|{gres}|cpu=24,node=1")
    assert found.runs[0].setting.devices == gpus
    assert found.runs[0].machine.device_type == "cuda"


def test_nodes_are_read_from_tres_if_no_column_has_them(tmp_path):
    header = "JobID|JobName|State|Elapsed|AllocTRES"
    found = imported(tmp_path, header, "7|train|COMPLETED|01:00:00|cpu=256,gres/gpu=16,node=4")
    setting = found.runs[0].setting
    assert (setting.nodes, setting.devices_per_node) == (4, 4)


def test_two_types_of_gpus_are_added_up(tmp_path):
    header = "JobID|State|ElapsedRaw|AllocTRES"
    tres = "cpu=8,gres/gpu:a100=2,gres/gpu:v100=3,node=1"
    assert imported(tmp_path, header, f"1|COMPLETED|600|{tres}").runs[0].setting.devices == 5
    allocated = [
        {"type": "gres", "name": "gpu:a100", "count": 2},
        {"type": "gres", "name": "gpu:v100", "count": 3},
    ]
    run = imported_json(tmp_path, time={"elapsed": 600}, tres={"allocated": allocated})
    assert run.setting.devices == 5


def test_a_job_whose_nodes_differ_in_gpus_is_skipped_with_both_numbers(tmp_path):
    header = "JobID|State|ElapsedRaw|AllocTRES"
    with pytest.raises(DataError, match="5 GPUs on 2 nodes is not the same number on each node"):
        imported(tmp_path, header, "1|COMPLETED|600|gres/gpu=5,node=2")


def test_a_quote_in_a_name_is_a_character_like_others(tmp_path):
    header = "JobID|JobName|State|ElapsedRaw"
    rows = ['1|"best" of 3|COMPLETED|600', '2|"oops|COMPLETED|600', "3|plain|COMPLETED|600"]
    found = imported(tmp_path, header, *rows)
    assert [run.setting.workload for run in found.runs] == ['"best" of 3', '"oops', "plain"]
    assert found.skipped == []


@pytest.mark.parametrize(
    "state",
    ["RUNNING", "PENDING", "REQUEUED", "SUSPENDED", "COMPLETING", "REQUEUE_HOLD", "RESIZING"],
)
def test_a_job_that_goes_on_is_neither_done_nor_failed(tmp_path, state):
    header = "JobID|State|ElapsedRaw"
    found = imported(tmp_path, header, f"1|{state}|600", "2|COMPLETED|600", f"3|{state}|60")
    assert [run.trial for run in found.runs] == ["slurm-2"]
    (note,) = found.notes
    assert f"sacct.txt:2: job 1: it has not ended: its state is {state}" in note.message
    assert "1 more of this kind" in note.message


@pytest.mark.parametrize("state", ["CANCELLED by 1000", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"])
def test_a_job_that_ended_otherwise_has_failed(tmp_path, state):
    (run,) = imported(tmp_path, "JobID|State|ElapsedRaw", f"1|{state}|600").runs
    assert (run.state, run.error) == ("failed", f"ended {state}")


def test_numbers_of_new_json_are_objects(tmp_path):
    energy = {"set": True, "infinite": False, "number": 5000}
    unset = {"set": False, "infinite": False, "number": 0}
    run = imported_json(
        tmp_path,
        time={"elapsed": {"set": True, "infinite": False, "number": 600}, "limit": unset},
        allocation_nodes={"set": True, "infinite": False, "number": 2},
        steps=[{"statistics": {"energy": {"consumed": energy}}}],
    )
    assert run.setting.nodes == 2
    assert run.quantities["elapsed_s"].value == 600
    assert run.quantities["node_energy_j"].value == 5000

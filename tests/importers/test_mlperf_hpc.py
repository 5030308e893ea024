"""The layout of MLPerf's HPC rounds: a folder of strong or weak scaling below the system."""

from __future__ import annotations

import json

import pytest
from tests.importers.records import LOG, event

from wattlaw.core.errors import DataError
from wattlaw.importers.importer import import_runs

LOG_WITHOUT_SUBMITTER = LOG.replace("submission_org", "another_key")


def hpc_results(folder, scaling, logs, nodes=8):
    home = folder / "hpc_results_v3.0" / "Centre"
    system = {"number_of_nodes": nodes, "accelerators_per_node": 4}
    (home / "systems").mkdir(parents=True)
    (home / "systems" / "cluster.json").write_text(json.dumps(system))
    place = home / "results" / "cluster" / scaling / "cosmoflow"
    place.mkdir(parents=True)
    for index, log in enumerate(logs):
        (place / f"result_{index}.txt").write_text(log)
    return home.parent


def test_a_strong_scaling_run_has_the_whole_system_and_the_submitter_of_its_path(tmp_path):
    (run,) = import_runs("mlperf", hpc_results(tmp_path, "strong", [LOG_WITHOUT_SUBMITTER])).runs
    assert (run.setting.nodes, run.setting.devices_per_node) == (8, 4)
    assert run.labels["submitter"] == "Centre"


def test_weak_scaling_instances_share_the_nodes_of_the_system(tmp_path):
    runs = import_runs("mlperf", hpc_results(tmp_path, "weak", [LOG] * 4)).runs
    assert [run.setting.nodes for run in runs] == [2, 2, 2, 2]


def test_the_nodes_that_an_instance_logs_count(tmp_path):
    log = event("number_of_nodes", 1) + "\n" + LOG
    runs = import_runs("mlperf", hpc_results(tmp_path, "weak", [log] * 3)).runs
    assert [run.setting.nodes for run in runs] == [1, 1, 1]


def test_instances_whose_nodes_are_not_known_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 instances share 8 nodes"):
        import_runs("mlperf", hpc_results(tmp_path, "weak", [LOG] * 3))

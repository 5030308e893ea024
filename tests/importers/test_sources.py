"""What each source provides: quantities, statuses, warnings, skipped parts."""

from __future__ import annotations

import os
import random

import pytest
from tests.importers.records import (
    CARBON,
    COLUMNS,
    DMON,
    LIGHTNING,
    LOG,
    MLPERF_TABLE,
    PLAIN,
    POWER,
    SACCT,
    SACCT_JSON,
    SMI,
    SOURCES,
    WINDOWS,
    ZEUS,
    event,
    results,
)

from wattlaw.core.errors import DataError, UnknownNameError, UsageError, WattlawError
from wattlaw.importers.importer import import_runs, number

FULL = os.environ.get("DEPTH") == "full"


def options(source):
    return {"columns": COLUMNS} if source == "csv" else {}


def test_an_mlperf_log_gives_time_samples_and_a_rate_from_its_time_stamps(tmp_path):
    (run,) = import_runs("mlperf", results(tmp_path)).runs
    assert run.setting.devices == 8
    assert run.setting.batch_per_device == 400
    assert run.quantities["elapsed_s"].value == 800
    assert run.quantities["samples_per_s"].value == pytest.approx(35 * 1_281_167 / 800)
    assert run.labels == {"round": "v4.1", "submitter": "Someone"}
    assert not [n for n in run.warnings if n.name == "throughput_disagrees"]


def test_the_samples_of_an_evaluation_are_not_counted_as_trained(tmp_path):
    log = "\n".join(
        [
            event("submission_benchmark", "bert"),
            event("global_batch_size", 50),
            event("eval_samples", 1000),
            event("run_start", ms=1_000_000),
            event(
                "eval_stop",
                200_000,
                ms=1_500_000,
                epoch_count=200_000,
                step_num=4000,
                samples_count=1000,
            ),
            event("eval_accuracy", 0.72, ms=1_500_000, epoch_num=200_000),
            event("run_stop", ms=1_800_000, status="success"),
        ]
    )
    (run,) = import_runs("mlperf", results(tmp_path, log)).runs
    assert run.quantities["samples"].value == 200_000
    assert run.quantities["samples_per_s"].value == 250


def test_node_energy_is_the_trapezoid_of_the_run_with_ac_and_dc(tmp_path):
    (run,) = import_runs("mlperf", results(tmp_path)).runs
    energy = run.quantities["node_energy_j"]
    assert energy.value == pytest.approx(800 * (1000 + 1400))
    assert "AC" in energy.how
    assert "DC at conversion_eff 0.9" in energy.how


def test_a_throughput_in_another_unit_is_a_named_warning(tmp_path):
    per_device = LOG.replace("60000.0", "7500.0")
    (run,) = import_runs("mlperf", results(tmp_path, per_device)).runs
    assert [n.name for n in run.warnings] == ["throughput_unit"]
    (run,) = import_runs("mlperf", results(tmp_path, LOG.replace("60000.0", "1.0"))).runs
    assert [n.name for n in run.warnings] == ["throughput_disagrees"]


def test_energy_is_missing_if_power_does_not_cover_the_run(tmp_path):
    half = "\n".join(POWER.splitlines()[:400])
    (run,) = import_runs("mlperf", results(tmp_path, power=half)).runs
    assert run.quantities["node_energy_j"].value is None
    assert "do not cover" in run.quantities["node_energy_j"].how


def test_a_truncated_log_is_reported_by_name(tmp_path):
    with pytest.raises(DataError, match=r"result_0\.txt: the log has no run_stop"):
        import_runs("mlperf", results(tmp_path, LOG.rpartition("\n")[0]))


def test_a_bad_cell_is_reported_with_file_line_and_column(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(MLPERF_TABLE)
    found = import_runs("mlperf", path)
    assert len(found.runs) == 1
    assert str(found.skipped[0]) == f"{path}:3: accelerators_per_node: 'x' is not a positive number"


def test_nvidia_smi_energy_is_summed_over_gpus_and_a_gap_is_reported(tmp_path):
    (path := tmp_path / "smi.csv").write_text(SMI)
    found = import_runs("nvidia-smi", path)
    assert found.runs[0].quantities["gpu_energy_j"].value == pytest.approx(1500 + 4000)
    assert found.runs[0].machine.device_name == "Tesla V100"
    assert found.skipped[0].line == 5
    (path := tmp_path / "dmon.txt").write_text(DMON)
    assert (
        import_runs("nvidia-smi", path, interval_s=2.0).runs[0].quantities["gpu_energy_j"].value
        == 240
    )


def test_a_zero_of_codecarbon_is_missing_and_its_model_is_an_estimate(tmp_path):
    (path := tmp_path / "emissions.csv").write_text(CARBON)
    found = import_runs("codecarbon", path)
    (run,) = found.runs
    assert run.quantities["gpu_energy_j"].value == pytest.approx(7200)
    assert run.quantities["cpu_energy_j"].status == "estimated"
    assert run.quantities["dram_energy_j"].status == "missing"
    assert found.skipped[0].column == "duration"


def test_slurm_jobs_become_runs_and_their_steps_do_not(tmp_path):
    (path := tmp_path / "sacct.txt").write_text(SACCT)
    done, failed = import_runs("sacct", path).runs
    assert (done.setting.nodes, done.setting.devices, done.state) == (2, 4, "done")
    assert done.quantities["node_energy_j"].value == 5e6
    assert failed.state == "failed"
    assert failed.quantities["node_energy_j"].value is None
    (path := tmp_path / "sacct.json").write_text(SACCT_JSON)
    (run,) = import_runs("sacct", path).runs
    assert (run.setting.devices, run.quantities["node_energy_j"].value) == (2, 500)


def test_lightning_zeus_and_plain_tables_become_runs(tmp_path):
    (path := tmp_path / "metrics.csv").write_text(LIGHTNING)
    assert import_runs("lightning", path).runs[0].quantities["loss_last"].value == 65.0
    (path := tmp_path / "summary_power_v100.csv").write_text(ZEUS)
    runs = import_runs("zeus", path).runs
    assert [r.setting.power_cap_w for r in runs] == [125, 150]
    assert runs[0].quantities["gpu_energy_j"].value == 1080
    (path := tmp_path / "V100+resnet+gpu0,1.csv").write_text(WINDOWS)
    assert import_runs("zeus", path).runs[0].quantities["gpu_energy_j"].value == 2200
    (path := tmp_path / "plain.csv").write_text(PLAIN)
    found = import_runs("csv", path, columns=COLUMNS)
    assert [r.setting.devices for r in found.runs] == [1, 2]
    assert "'six' is not a number" in str(found.skipped[0])


def test_wrong_requests_list_the_valid_values(tmp_path):
    (path := tmp_path / "plain.csv").write_text(PLAIN)
    with pytest.raises(UnknownNameError, match="did you mean 'mlperf'"):
        import_runs("mlperv", path)
    with pytest.raises(WattlawError, match="there is no"):
        import_runs("zeus", tmp_path / "nothing")
    with pytest.raises(UnknownNameError, match="elapsed_s"):
        import_runs("csv", path, columns={"elapsed": "seconds"})
    with pytest.raises(DataError, match="there is no column 'second'; did you mean 'seconds'"):
        import_runs("csv", path, columns={"elapsed_s": "second"})
    with pytest.raises(UsageError, match="no column is mapped"):
        import_runs("csv", path)


@pytest.mark.parametrize(
    ("cell", "reason"), [("1 0", "'1 0' is not a positive number"), ("-3", "not a positive number")]
)
def test_a_row_with_two_numbers_in_a_cell_is_skipped(tmp_path, cell, reason):
    (path := tmp_path / "summary_power_v100.csv").write_text(ZEUS.replace(",150,", f",{cell},"))
    found = import_runs("zeus", path)
    assert len(found.runs) == 1
    assert reason in str(found.skipped[0])
    assert [number(text) for text in ("250.00 W", "98 %", "7", "1 0", "", "W")] == [
        250,
        98,
        7,
        None,
        None,
        None,
    ]


def test_a_batch_of_half_a_sample_is_skipped_with_its_line(tmp_path):
    (path := tmp_path / "summary_power_v100.csv").write_text(
        ZEUS.replace(",1024,adadelta,150", ",0.5,adadelta,150")
    )
    found = import_runs("zeus", path)
    assert len(found.runs) == 1
    assert "summary_power_v100.csv:3: batch_per_device is 0" in str(found.skipped[0])


@pytest.mark.parametrize("source", [*SOURCES, "mlperf folder", "mlperf archive", "sacct json"])
def test_damaged_input_gives_runs_or_a_one_line_error(source, tmp_path):
    rng = random.Random(source)
    name, text = SOURCES.get(source, ("result_0.txt", LOG))
    if source == "sacct json":
        name, text = "sacct.json", SACCT_JSON
    for _ in range(1000 if FULL else 20):
        damaged = _damaged(text.encode(), rng)
        path = tmp_path / name
        if source == "mlperf folder":
            path = results(tmp_path)
            next(path.rglob("result_0.txt")).write_bytes(damaged)
            next(path.rglob("node_0.txt")).write_bytes(_damaged(POWER[:3000].encode(), rng))
        elif source == "mlperf archive":
            path = _archive(tmp_path, rng)
        else:
            path.write_bytes(damaged)
        try:
            found = import_runs(source.split(" ")[0], path, **options(source))
        except WattlawError as error:
            line = str(error)
        else:
            line = ""
            assert found.runs
        assert "\n" not in line


def _damaged(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data = data[:at]
            case 1:
                data[at:at] = rng.randbytes(rng.randint(1, 30))
            case 2:
                data[at : at + rng.randint(1, 40)] = b""
            case 3:
                data[at:at] = rng.choice(
                    [b"\0\0", b'"', b",,,", b"\r", b"1e999", b"-", b"nan", b"\xff\xfe", b"{[", b"|"]
                )
            case 4:
                data[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(data)


def _archive(folder, rng):
    import tarfile

    home, path = results(folder), folder / "results_v4.1.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        archive.add(home, arcname=".")
    path.write_bytes(_damaged(path.read_bytes(), rng))
    return path


def test_published_mlperf_power_is_the_trapezoid_to_a_thousandth(published):
    found = import_runs("mlperf", published / "mlperf" / "training_results_v4.1_excerpt.tar.xz")
    metered = [r for r in found.runs if r.quantities["node_energy_j"].value]
    assert len(found.runs) > 300
    assert len(metered) == 3
    for run in metered:
        mean_w = run.quantities["node_energy_j"].value / run.quantities["elapsed_s"].value
        assert 40e3 < mean_w < 80e3


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("-5", "'-5' is negative"),
        ("0", "'0': a time or a rate of a run is never 0"),
        ("100 ms", "'100 ms' has another unit; samples_per_s is in 1/s"),
        ("9 %", "has another unit"),
    ],
)
def test_an_impossible_cell_is_skipped_with_its_line_and_column(tmp_path, cell, reason):
    (tmp_path / "x.csv").write_text(f"gpus,rate\n1,100\n2,{cell}\n")
    found = import_runs(
        "csv", tmp_path / "x.csv", columns={"devices": "gpus", "samples_per_s": "rate"}
    )
    assert len(found.runs) == 1
    assert "x.csv:3: rate: " in str(found.skipped[0])
    assert reason in str(found.skipped[0])


def test_a_binary_file_is_reported_without_its_content(tmp_path):
    (tmp_path / "x.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match=r"x\.csv:1: the file is not text"):
        import_runs("csv", tmp_path / "x.csv")

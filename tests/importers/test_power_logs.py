"""Logs of nvidia-smi: how many GPUs there are, and which time was sampled."""

from __future__ import annotations

import pytest
from tests.importers.records import DMON, POWER, results

from wattlaw.cli.main import main
from wattlaw.core.errors import DataError, UsageError
from wattlaw.importers.importer import import_runs

QUERY = "timestamp, power.draw [W]"
HEADER = "timestamp, index, power.draw [W]"


def stamp(seconds):
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"2025/01/01 {12 + int(hours):02}:{int(minutes):02}:{rest:06.3f}"


def query_log(rows, header=QUERY):
    """A log of (time in s, cells) rows."""
    lines = [header]
    lines += [f"{stamp(time)}, {', '.join(cells)}" for time, *cells in rows]
    return "\n".join(lines) + "\n"


def dmon_log(times):
    head = "#Time        gpu   pwr\n#HH:MM:SS    Idx     W\n"
    return head + "".join(f" {time}      0   200\n" for time in times)


def imported(tmp_path, text, **options):
    (path := tmp_path / "log.csv").write_text(text)
    (run,) = import_runs("nvidia-smi", path, **options).runs
    return run


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.09])
@pytest.mark.parametrize("rounds", [2, 11])
def test_rows_without_an_id_are_counted_by_their_times(tmp_path, delay_s, rounds):
    rows = [
        (second + gpu * delay_s, f"{power} W")
        for second in range(rounds)
        for gpu, power in enumerate([300, 60, 60, 60])
    ]
    run = imported(tmp_path, query_log(rows))
    assert run.setting.devices == 4
    assert run.quantities["gpu_energy_j"].value == pytest.approx(480 * (rounds - 1))
    assert run.quantities["gpu_mean_power_w"].value == pytest.approx(480)


def test_one_gpu_without_an_id_is_one_gpu_also_in_two_sessions(tmp_path):
    session = query_log([(second, "100 W") for second in range(11)])
    later = query_log([(second + 7200, "100 W") for second in range(11)])
    run = imported(tmp_path, session + later)
    assert run.setting.devices == 1
    assert run.quantities["gpu_energy_j"].value == 2000


def test_rows_whose_times_do_not_show_the_number_of_gpus_are_refused(tmp_path):
    rows = [(second + gpu / 1000, "100 W") for second in range(9) for gpu in range(4)]
    del rows[6]
    with pytest.raises(DataError, match="no column names the GPU"):
        imported(tmp_path, query_log(rows))


@pytest.mark.parametrize("column", ["uuid", "gpu_uuid", "gpu_bus_id", "serial", "pci.bus"])
def test_any_column_that_names_a_gpu_tells_gpus_apart(tmp_path, column):
    rows = [(second, name, "100 W") for second in range(3) for name in ("a", "b", "a2", "c")]
    del rows[-1]
    run = imported(tmp_path, query_log(rows, f"timestamp, {column}, power.draw [W]"))
    assert run.setting.devices == 4
    assert run.quantities["gpu_energy_j"].value == pytest.approx(3 * 200 + 100)


def test_a_serial_number_that_is_not_available_names_no_gpu(tmp_path):
    rows = [(second, "[N/A]", "100 W") for second in range(5) for _ in range(2)]
    run = imported(tmp_path, query_log(rows, "timestamp, serial, power.draw [W]"))
    assert run.setting.devices == 2


def test_a_gap_is_left_out_of_energy_and_time_and_named(tmp_path):
    seconds = [*range(11), *range(3600, 3611)]
    run = imported(tmp_path, query_log([(s, "0", "100 W") for s in seconds], HEADER))
    assert run.quantities["gpu_energy_j"].value == 2000
    assert run.quantities["elapsed_s"].value == 20
    assert run.quantities["gpu_mean_power_w"].value == 100
    (note,) = run.warnings
    assert note.name == "sampling_gap"
    assert "3590 s in 1 gap" in note.message


def test_two_sessions_of_different_periods_lose_nothing_but_the_time_between(tmp_path):
    seconds = [*range(21), *range(7200, 7260, 10)]
    run = imported(tmp_path, query_log([(s, "0", "100 W") for s in seconds], HEADER))
    assert run.quantities["gpu_energy_j"].value == 100 * (20 + 50)


def test_a_gpu_that_was_lost_early_is_named(tmp_path):
    rows = [(s, gpu, "100 W") for s in range(11) for gpu in ("0", "1") if gpu == "0" or s < 5]
    run = imported(tmp_path, query_log(rows, HEADER))
    assert run.quantities["gpu_mean_power_w"].value == 200
    assert [note.name for note in run.warnings] == ["partly_sampled"]
    assert "GPU 1 covers 4 of 10 s" in run.warnings[0].message


def test_dmon_takes_its_printed_time(tmp_path):
    run = imported(tmp_path, dmon_log(["12:00:00", "12:00:05", "12:00:10"]))
    assert run.quantities["gpu_energy_j"].value == 2000
    run = imported(tmp_path, dmon_log(["23:59:55", "00:00:00", "00:00:05"]))
    assert run.quantities["gpu_energy_j"].value == 2000


def test_dmon_without_a_time_needs_the_interval(tmp_path, capsys):
    (path := tmp_path / "dmon.txt").write_text(DMON)
    with pytest.raises(UsageError, match="--interval SECONDS"):
        import_runs("nvidia-smi", path)
    with pytest.raises(UsageError, match="not between 0 s and one day"):
        import_runs("nvidia-smi", path, interval_s=-1.0)
    command = ["import", "nvidia-smi", str(path), "--interval", "5", "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    assert "1 run in" in capsys.readouterr().err


def power_without(first, last):
    lines = POWER.splitlines()
    return "\n".join(lines[:first] + lines[last:])


def test_a_short_gap_in_the_power_of_a_node_is_named_and_a_long_one_withholds_it(tmp_path):
    (run,) = import_runs("mlperf", results(tmp_path, power=power_without(200, 210))).runs
    assert run.quantities["node_energy_j"].value == pytest.approx(800 * (1000 + 1400))
    assert [n.name for n in run.warnings if n.name == "sampling_gap"] == ["sampling_gap"]
    (run,) = import_runs("mlperf", results(tmp_path, power=power_without(200, 400))).runs
    assert run.quantities["node_energy_j"].value is None


def test_node_power_of_three_second_readings_covers_a_run(tmp_path):
    power = "\n".join(POWER.splitlines()[13:-7:3])
    (run,) = import_runs("mlperf", results(tmp_path, power=power)).runs
    assert run.quantities["node_energy_j"].value == pytest.approx(800 * 2400, rel=1e-3)

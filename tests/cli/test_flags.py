"""No option is silently ignored: a mode refuses those that it does not use."""

from __future__ import annotations

import pytest
from tests.factory import law_run, make_run, scaled

from wattlaw.cli.main import main
from wattlaw.core.run_folder import write_run


@pytest.fixture
def folder(tmp_path):
    for index, made in enumerate(scaled({1: 1.0, 2: 0.55, 4: 0.31})):
        write_run(tmp_path / "runs" / "demo" / f"t{index}", made)
    return tmp_path / "runs"


def call(capsysbinary, *words):
    """Return exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    out, err = capsysbinary.readouterr()
    return stop.value.code, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["advise", "DIR", "--pareto", "time", "device_time", "--max-slowdown", "-5", "--limit", "nonsense"],
            "--max-slowdown and --limit have no effect with --pareto; it goes with --tunable, ",
        ),
        (
            ["advise", "DIR", "--backtest", "3", "--limit", "nonsense", "--minimise", "time"],
            "--minimise and --limit have no effect with --backtest; it goes with --max-slowdown and --json",
        ),
        (
            ["advise", "DIR", "--backtest", "3", "--pareto", "time", "energy"],
            "--pareto has no effect with --backtest",
        ),
        (
            ["advise", "DIR", "--pareto", "time", "device_time", "--pue", "1.2"],
            "--pue has no effect without a cost, as in --pareto time cost",
        ),
        (
            ["advise", "DIR", "--price-per-device-hour", "2"],
            "--price-per-device-hour has no effect without a cost, as in --minimise cost or --limit",
        ),
        (
            ["advise", "DIR", "--confidence", "0.9"],
            "--confidence has no effect without --max-slowdown or --limit",
        ),
        (["advise", "DIR", "--samples", "9"], "samples is used only by a limit on a total"),
        (
            ["advise", "DIR", "--limit", "device_hours=0.001"],
            "a limit on device_hours, a total, needs the number of samples that it is for",
        ),
        (
            ["fit", "DIR", "--backtest", "next", "--law", "usl", "--over", "power_cap_w"],
            "--over and --law have no effect with --backtest; it goes with --target and --json",
        ),
        (
            ["runs", "show", "DIR", "--failed", "--by", "devices"],
            "--by has no effect with --failed; it goes with --json",
        ),
        (
            ["accelerators", "measured", "--precision", "fp16"],
            "--precision has no effect without DIR",
        ),
        (
            ["accelerators", "choose", "--workload", "bert-base", "--most", "3", "--json"],
            "--most has no effect with --json, which prints every candidate",
        ),
        (
            ["statement", "DIR", "--currency", "USD"],
            "--currency has no effect without --price",
        ),
        (
            ["sweep", "start", "sweep.toml", "--dry-run", "--executor", "slurm"],
            "--executor has no effect with --dry-run",
        ),
        (
            ["study", "run", "quickstart", "--dry-run", "--max-slowdown", "0.1"],
            "--max-slowdown has no effect with --dry-run; it goes with --scale and --out",
        ),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_named_with_valid_combinations(
    folder, capsysbinary, words, line
):
    code, out, err = call(capsysbinary, *(folder if word == "DIR" else word for word in words))
    assert code == 2
    assert out == ""
    assert line in err
    assert err.count("\n") == 1


def test_one_trial_is_shown_in_full_and_takes_no_columns(tmp_path, capsysbinary):
    made = make_run()
    write_run(tmp_path / "demo" / made.trial, made)
    place = tmp_path / "demo" / made.trial
    assert call(capsysbinary, "runs", "show", place)[0] == 0
    code, _, err = call(capsysbinary, "runs", "show", place, "--columns", "step_time_s")
    assert code == 2
    assert "--columns has no effect with a single trial, which is shown in full" in err


def test_options_of_user_code_are_compared_if_declared_tunable(tmp_path, capsysbinary):
    for index, workers in enumerate((1, 2)):
        made = law_run(1.0 / workers, 1, 0, workers=workers)
        write_run(tmp_path / "runs" / "demo" / f"t{index}", made)
    command = ["advise", tmp_path / "runs", "--minimise", "time"]
    _, out, _ = call(capsysbinary, *command)
    assert out.count("is the only setting that was run") == 2
    _, out, _ = call(capsysbinary, *command, "--tunable", "workers")
    assert "take 1 process, workers 2, the fastest setting" in out

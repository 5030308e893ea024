"""wattlaw import, fit, advise and predict as a user types them."""

from __future__ import annotations

import json

import pytest
from tests.factory import scaled

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
        main([str(w) for w in words])
    out, err = capsysbinary.readouterr()
    return stop.value.code, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "kind", "keys"),
    [
        (["fit"], "fit", {"group", "target", "over", "law", "parameters", "n", "held_out_error"}),
        (["fit", "--law", "alpha-beta"], "fit", {"group", "parameters"}),
        (["fit", "--backtest", "next"], "backtest", {"hidden", "predicted", "low", "high", "measured", "error"}),
        (["advise"], "advise", {"group", "setting", "predicted", "gain", "probability_bound_holds"}),
        (["advise", "--pareto", "time", "cost", "--price-per-device-hour", "2"], "pareto", {"setting", "values", "n"}),
        (["advise", "--unmeasured", "--limit", "time=0.4"], "advise", {"next_run", "next_run_saves", "extrapolated"}),
        (["predict", "--devices", "8"], "predict", {"group", "setting", "quantities", "extrapolated", "forms"}),
    ],
)  # fmt: skip
def test_json_has_the_published_items(folder, capsysbinary, words, kind, keys):
    code, out, _ = call(capsysbinary, words[0], folder, *words[1:], "--json")
    found = json.loads(out)
    assert code == 0
    assert found["kind"] == kind
    assert keys <= set(found["items"][0])


@pytest.mark.parametrize(
    "words",
    [
        ["fit"],
        ["fit", "--backtest", "next"],
        ["advise", "--max-slowdown", "0.1"],
        ["predict", "--devices", "3"],
    ],
)
def test_without_json_the_output_is_text_and_tables(folder, capsysbinary, words):
    code, out, _ = call(capsysbinary, words[0], folder, *words[1:])
    assert code == 0
    assert "schnet" in out


def test_an_import_can_be_fitted_and_reports_what_it_skipped(tmp_path, capsysbinary):
    (tmp_path / "mine.csv").write_text("gpus,rate\n1,100\n2,190\n4,350\n8,no\n")
    code, _, err = call(
        capsysbinary, "import", "csv", tmp_path / "mine.csv", "-o", tmp_path / "runs",
        "--column", "devices=gpus", "--column", "samples_per_s=rate",
    )  # fmt: skip
    assert code == 0
    assert "mine.csv:5: rate: 'no' is not a number" in err
    assert call(capsysbinary, "fit", tmp_path / "runs")[0] == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fit", "--law", "powr"], "unknown law 'powr'; did you mean 'power' or"),
        (
            ["fit", "--backtest", "next", "--target", "step_time_s"],
            "--backtest predicts time_per_sample_s or",
        ),
        (
            ["advise", "--limit", "x"],
            "'x' is not a limit; write NAME=VALUE, such as gpu_energy_j=3 kWh",
        ),
        (["advise", "--limit", "time="], "time_per_sample_s is ''; give a number in s"),
        (["advise", "--limit", "tyme=1"], "unknown quantity 'tyme'; did you mean"),
        (
            ["advise", "--limit", "time=-1"],
            "the limit on time_per_sample_s is -1; it must be a positive number",
        ),
        (
            ["advise", "--limit", "time=nan"],
            "the limit on time_per_sample_s is nan; it must be a positive number",
        ),
        (
            ["advise", "--limit", "time=1", "--limit", "time=2"],
            "time has two limits, 1 s and 2 s; give one --limit for it",
        ),
        (["advise", "--limit", "time=1e-9"], "no setting satisfies time_per_sample_s ≤ 1 ns"),
        (
            ["advise", "--limit", "time=1e-9", "--unmeasured"],
            "no setting satisfies time_per_sample_s ≤ 1 ns with",
        ),
        (
            ["advise", "--confidence", "1", "--max-slowdown", "0.1"],
            "confidence is 1.0; give a probability",
        ),
        (
            ["advise", "--max-slowdown", "1e308"],
            "max_slowdown is 1e+308; give a share from 0 to 1e+06, such as 0.05",
        ),
        (
            ["predict", "--devices", "4", "--samples", "1e300"],
            "samples is 1e+300; give a number from 1e-30 to 1e+30",
        ),
        (["advise", "--max-slowdown", "-0.1"], "max_slowdown is -0.1; give a share"),
        (
            ["advise", "--minimise", "energy", "--unmeasured"],
            "no run has both time_per_sample_s and energy_per_sam",
        ),
        (
            ["advise", "--minimise", "cost", "--price-per-kwh", "1"],
            "energy has a price, but no meter measured it",
        ),
        (
            ["advise", "--minimise", "cost", "--price-per-device-hour", "1", "--pue", "2"],
            "give a price per kWh with it",
        ),
        (
            ["advise", "--pareto", "time", "time"],
            "a front needs two quantities; both are time_per_sample_s",
        ),
        (
            ["advise", "--pareto", "time", "energy"],
            "no run has both time_per_sample_s and energy_per_sample_j",
        ),
        (["advise", "--pareto", "time"], "'--pareto' requires 2 arguments"),
        (["advise", "--backtest", "2"], "2 probes; a cap law needs at least 3"),
        (
            ["advise", "--minimise", "cost"],
            "a cost needs a price per device-hour, per kWh, or both",
        ),
        (["advise", "--pareto", "time", "energie"], "unknown quantity 'energie'"),
        (["predict", "--devices", "4", "--pue", "0.9", "--price-per-kwh", "1"], "the PUE is 0.9"),
        (["advise", "--backtest", "3"], "no group of runs has measured GPU energy"),
        (["predict", "--devices", "0"], "devices is 0"),
        (["predict", "--devices", "four"], "'four' is not a valid integer"),
        (["predict", "--devices", "4", "--pue", "1.2"], "give a price per kWh with it"),
        (
            ["predict", "--devices", "4", "--price-per-device-hour", "inf"],
            "price_per_device_hour is inf",
        ),
        (
            ["predict", "--devices", "4", "--message-bytes", "-1"],
            "message_bytes is -1.0; give a positive number",
        ),
        (
            ["predict", "--devices", "4", "--link-bytes-per-s", "0"],
            "link_bytes_per_s is 0.0; give a positive number",
        ),
        (
            ["predict", "--devices", "4", "--power-cap-w", "100"],
            "a cap law needs runs at three power caps",
        ),
        (
            ["predict", "--devices", "4", "--nodes", "8"],
            "nodes is 8; give 1 to the number of devices",
        ),
        (["predict", "--devices", "90000"], "spans a factor of"),
        (["fit", "--law", "cap"], "law cap explains time_per_sample_s"),
        (["fit", "--law", "usl", "--over", "colour"], "no run has a number for 'colour'"),
    ],
)
def test_a_wrong_request_is_one_line_on_stderr(folder, capsysbinary, words, line):
    code, out, err = call(capsysbinary, words[0], folder, *words[1:])
    assert code in (1, 2)
    assert out == ""
    assert line in err
    assert err.count("\n") == 1

"""The share of peak that devices achieved, in the report and in `wattlaw runs show`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlaw.cli.main import main
from wattlaw.core.reading import measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.run_folder import write_run
from wattlaw.core.setting import setting_from
from wattlaw.report.context import Context
from wattlaw.report.sections.peak_shares import accelerators


def run(device: str, device_type: str = "cuda", repeat: int = 0) -> Run:
    setting = setting_from(
        {"workload": "resnet50", "preset": "base", "precision": "bf16", "devices": 1}
    )
    machine = Machine(device_type=device_type, device_name=device)
    quantities = {"samples_per_s": measured(1000.0 + repeat), "gpu_mean_power_w": measured(300.0)}
    return Run(
        setting=setting, trial=f"t{repeat}", repeat=repeat, machine=machine, quantities=quantities
    )


def test_the_report_shows_the_share_of_peak_of_known_devices() -> None:
    section = accelerators(Context([run("NVIDIA A100-SXM4-80GB", repeat=r) for r in range(3)]))
    assert section is not None
    (row,) = section.tables[0].rows
    assert row[2:4] == ["NVIDIA A100-SXM4-80GB", "bf16"]
    assert row[5].endswith("%")
    assert section.figures
    assert not section.missing


def test_an_unknown_device_is_named_and_nothing_is_drawn() -> None:
    section = accelerators(Context([run("Tesla X")]))
    assert section is not None
    assert not section.figures
    assert "unknown device 'Tesla X'" in section.missing
    assert section.tables[0].rows[0][5] == "unknown"


def test_runs_on_processors_have_no_such_section() -> None:
    assert accelerators(Context([run("Xeon", device_type="cpu")])) is None


@pytest.mark.parametrize(
    ("device", "expected"), [("NVIDIA A100-SXM4-80GB", "7.3 %"), ("Tesla X", "unknown device")]
)
def test_a_trial_is_shown_with_its_share_of_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str, expected: str
) -> None:
    write_run(tmp_path / "t0", run(device))
    with pytest.raises(SystemExit):
        main(["runs", "show", str(tmp_path / "t0")])
    (line,) = [
        x for x in capsys.readouterr().out.splitlines() if x.strip().startswith("share_of_peak")
    ]
    assert expected in line

"""The paragraph for a paper: totals by status, without assumptions."""

from __future__ import annotations

import msgspec
import pytest

from wattlaw.analysis.statement import statement
from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Reading, estimated, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting

KWH = 3.6e6


def run(gpu: Reading, cpu: Reading, devices: int = 2) -> Run:
    return Run(
        setting=Setting(workload="w", devices_per_node=devices),
        trial="t",
        wattlaw="0.1.0",
        machine=Machine(device_type="cuda", device_name="H100"),
        quantities={
            "elapsed_s": measured(1800.0),
            "gpu_energy_j": gpu,
            "cpu_energy_j": cpu,
            "node_energy_j": missing("no meter"),
        },
    )


def test_measured_and_estimated_energies_are_stated_separately() -> None:
    summary = statement(
        [run(measured(2 * KWH, "nvml counter"), estimated(0.5 * KWH, "model: x"))] * 2
    )
    assert "Energy of the GPUs: 4 kWh (measured) [nvml counter]." in summary.text
    assert "Energy of the CPU packages: 1 kWh (estimated) [model: x]." in summary.text
    assert "Not measured: memory (not recorded), whole nodes (no meter)." in summary.text
    assert "2 device-hours in 1 hour of measured windows" in summary.text
    assert "CO2" not in summary.text
    assert (summary.counted_j, summary.counted_status) == (5 * KWH, "estimated")


def test_imported_records_are_not_described_as_measured_by_us() -> None:
    ours = run(measured(KWH), missing("shared"))
    theirs = [msgspec.structs.replace(ours, source="mlperf", wattlaw="")] * 2
    assert statement([ours]).text.startswith(
        "We measured 1 training run with wattlaw 0.1.0 on H100: "
    )
    only = statement(theirs).text
    assert only.startswith("We took 2 training runs from imported records (mlperf), made on H100: ")
    assert "measured windows" not in only
    both = statement([ours, *theirs]).text
    assert both.startswith(
        "We measured 1 training run with wattlaw 0.1.0 and took 2 from imported records (mlperf), made on H100: "
    )


def test_emissions_and_cost_follow_from_the_given_factors() -> None:
    summary = statement(
        [run(measured(10 * KWH), missing("shared"))], grid_g_per_kwh=400, pue=1.5, price_per_kwh=0.2
    )
    assert summary.co2e_kg == pytest.approx(10 * 1.5 * 400 / 1000)
    assert summary.money == pytest.approx(10 * 1.5 * 0.2)
    assert (
        "The energy of the GPUs means 6 kg CO2e at a PUE of 1.5 and 400 g CO2e/kWh." in summary.text
    )


def test_a_run_without_energy_is_counted_as_missing_and_not_as_zero() -> None:
    summary = statement(
        [run(measured(KWH, "nvml counter"), missing("x")), run(missing("GPU lost"), missing("x"))]
    )
    assert (
        "1 kWh (measured in 1 of 2 runs) [nvml counter; missing in 1 run: GPU lost]" in summary.text
    )


def test_without_any_energy_no_emission_is_stated() -> None:
    summary = statement([run(missing("x"), missing("x"))], grid_g_per_kwh=400)
    assert summary.co2e_kg is None
    assert "no energy is known" in summary.text


@pytest.mark.parametrize(
    "wrong", [{"pue": 0.9}, {"grid_g_per_kwh": -1}, {"price_per_kwh": float("nan")}]
)
def test_impossible_factors_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be at least"):
        statement([run(measured(1), measured(1))], **wrong)

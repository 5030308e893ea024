"""Readings that no device can give are gaps with a warning, and never become a result."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wattlaw.core.warning_texts import WARNINGS
from wattlaw.devices.meter import DeviceInfo, Probe, Sample, Scope
from wattlaw.devices.meters.amdsmi import _number
from wattlaw.devices.plausible import is_sentinel, plausible_limits
from wattlaw.measuring.files.host_files import Host, TelemetryFile, boot_id
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.measuring.sampling.host_sampler import HostSampler

Change = Callable[[int], dict]


def measured(folder: Path, change: Change, energy: str = "counter", **limits: float) -> Summary:
    """Summarise 10 s of a GPU at 200 W and half load, with the changed values of some readings."""
    gpu = DeviceInfo(
        id="gpu:0",
        boundary="gpu",
        meter="nvml",
        energy=energy,  # type: ignore[arg-type]
        update_s=0.1,
        limits=limits or {"power_limit_w": 400.0, "power_limit_max_w": 400.0},
    )
    host = Host(
        host="h",
        boot_id=boot_id(),
        clock_end=(20.0, 20.0),
        probes=(Probe(meter="nvml", devices=(gpu,)),),
    )
    (folder / "host-h.json").write_bytes(msgspec.json.encode(host))
    file = TelemetryFile(folder / "telemetry-h.csv")
    for i in range(200):
        values = {
            "power_w": 200.0,
            "energy_j": 20.0 * i if energy == "counter" else None,
            "utilisation": 0.5,
            "memory_used_bytes": 2**30,
            "temperature_c": 50,
            "sm_clock_mhz": 1000,
        }
        values |= change(i)
        file.append([Sample(time_s=i / 10, device="gpu:0", **values)])  # type: ignore[arg-type]
    file.close()
    return summarise(folder, between=(5.0, 15.0))


def some(**values: object) -> Change:
    return lambda i: values if i in (60, 100, 101) else {}


def warnings(found: Summary) -> dict[str, str]:
    return {n.name: n.message for n in found.warnings}


@pytest.mark.parametrize(
    ("column", "quantity", "right"),
    [
        ("utilisation", "gpu_utilisation", 0.5),
        ("memory_used_bytes", "gpu_memory_peak_bytes", 2**30),
        ("temperature_c", "gpu_temperature_c", 50),
        ("sm_clock_mhz", "sm_clock_mhz", 1000),
        ("power_w", "gpu_max_power_w", 200),
    ],
)
@pytest.mark.parametrize(
    "value", [-1, math.inf, -math.inf, math.nan, 2**63 - 1, 2**64 - 2, 2**64 - 1, 2**32 - 1]
)
def test_an_implausible_reading_is_a_gap_and_is_counted(
    tmp_path: Path, column: str, quantity: str, right: float, value: float
) -> None:
    if column == "temperature_c" and value == -1:
        value = -300
    found = measured(tmp_path, some(**{column: value}))
    assert found.quantities[quantity].value == pytest.approx(right)
    assert f"3 of 101 readings of {column}" in warnings(found)["implausible_readings"]
    assert "implausible_readings" in WARNINGS


@pytest.mark.parametrize("value", [32_445.61, 1.2, 655.35])
def test_a_share_above_1_is_a_gap(tmp_path: Path, value: float) -> None:
    found = measured(tmp_path, some(utilisation=value))
    assert found.quantities["gpu_utilisation"].value == pytest.approx(0.5)


def test_a_share_that_was_rounded_is_no_fault(tmp_path: Path) -> None:
    found = measured(tmp_path, some(utilisation=1.01, power_w=480.0))
    assert "implausible_readings" not in warnings(found)


@pytest.mark.parametrize("value", [34_600.0, -5.0, math.inf])
def test_sampled_power_bridges_readings_far_above_the_limit(tmp_path: Path, value: float) -> None:
    found = measured(tmp_path, some(power_w=value), energy="power")
    assert found.quantities["gpu_energy_j"].value == pytest.approx(2000)
    assert found.quantities["gpu_max_power_w"].value == 200


def test_a_cap_in_force_is_not_the_largest_power(tmp_path: Path) -> None:
    found = measured(tmp_path, some(power_w=390.0), energy="power", power_limit_w=100.0)
    assert "implausible_readings" not in warnings(found)


def test_a_device_without_a_plausible_power_has_no_energy(tmp_path: Path) -> None:
    found = measured(tmp_path, lambda i: {"power_w": 34_600.0}, energy="power")
    energy = found.quantities["gpu_energy_j"]
    assert energy.status == "missing"
    assert "200 of its readings are implausible" in energy.how


@pytest.mark.parametrize("jump_j", [4e6, 1e5])
def test_a_counter_that_jumps_gives_way_to_sampled_power(tmp_path: Path, jump_j: float) -> None:
    found = measured(tmp_path, lambda i: {"energy_j": 20.0 * i + jump_j * (i > 100)})
    energy = found.quantities["gpu_energy_j"]
    assert (energy.value, energy.how) == (pytest.approx(2000), "nvml sampled power of gpu:0")
    assert "its counter jumped by" in warnings(found)["implausible_readings"]


def test_a_counter_in_a_wrong_unit_gives_way_to_sampled_power(tmp_path: Path) -> None:
    found = measured(tmp_path, lambda i: {"energy_j": 1000 * i})
    assert found.quantities["gpu_energy_j"].value == pytest.approx(2000)


def test_a_jump_outside_of_the_window_is_no_fault(tmp_path: Path) -> None:
    found = measured(tmp_path, lambda i: {"energy_j": 20.0 * i + 4e6 * (i > 10)})
    assert found.quantities["gpu_energy_j"].how == "nvml counter of gpu:0"
    assert "implausible_readings" not in warnings(found)


def test_sentinels_of_libraries_are_no_values() -> None:
    assert all(map(is_sentinel, (2**32 - 1, 2**63 - 1, 2**64 - 1, 18446744073709551614)))
    assert [_number(v) for v in (0xFFFF, 2**64 - 1, 432)] == [None, None, 432]
    limits = {"power_limit_w": math.inf, "power_limit_max_w": 4_294_967.295, "x_w": 300.0}
    assert plausible_limits(limits) == {"x_w": 300.0}


def test_live_values_are_judged_too(tmp_path: Path) -> None:
    sampler = HostSampler(tmp_path, Scope(root_pid=os.getpid()), meters=())
    sampler.samples.append(Sample(time_s=1.0, device="gpu:0", power_w=math.inf, utilisation=0.5))
    sampler.flush()
    assert (sampler.live()["gpu:0"].power_w, sampler.live()["gpu:0"].utilisation) == (None, 0.5)

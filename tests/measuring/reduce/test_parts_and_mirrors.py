"""A part is never given as the whole, and one counter that two devices show is counted once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wattlaw.devices.meter import DeviceInfo, Probe, Sample
from wattlaw.measuring.files.host_files import Host, TelemetryFile, boot_id
from wattlaw.measuring.reduce.summary import Summary, summarise

Counter = Callable[[int], float]


def package(number: int, **more: object) -> DeviceInfo:
    values = {"energy": "counter", "update_s": 0.001, "may_mirror": True, **more}
    return DeviceInfo(id=f"cpu:package-{number}", boundary="cpu", meter="rapl", **values)  # type: ignore[arg-type]


def measured(folder: Path, *devices: DeviceInfo, **counters: Counter) -> Summary:
    """Summarise 10 s of a host whose job used half a core."""
    host = Host(
        host="h",
        boot_id=boot_id(),
        clock_end=(20.0, 20.0),
        probes=(Probe(meter="rapl", boundaries=("cpu", "dram"), devices=devices),),
    )
    (folder / "host-h.json").write_bytes(msgspec.json.encode(host))
    file = TelemetryFile(folder / "telemetry-h.csv")
    for i in range(200):
        file.append([Sample(time_s=i / 10, device="job", cpu_time_s=i / 20)])
        for number, (_, counter) in enumerate(sorted(counters.items())):
            row = Sample(time_s=i / 10, device=devices[number].id, energy_j=counter(i))
            file.append([row])
    file.close()
    return summarise(folder, between=(5.0, 15.0))


def test_with_one_unreadable_package_the_cpu_energy_is_missing(tmp_path: Path) -> None:
    why = "only root may read the energy of cpu:package-1; `sudo chmod` would grant it"
    closed = package(1, energy="none", update_s=None, reason=why)
    found = measured(tmp_path, package(0), closed, a=lambda i: 10.0 * i)
    energy = found.quantities["cpu_energy_j"]
    assert (energy.value, energy.status) == (None, "missing")
    assert "cpu:package-1 on h: only root may read" in energy.how
    assert "sudo chmod" in energy.how


def test_packages_with_their_own_counters_are_summed(tmp_path: Path) -> None:
    counters = {"a": lambda i: 10.0 * i, "b": lambda i: 500 + 10.0 * i}
    found = measured(tmp_path, package(0), package(1), **counters)
    assert found.quantities["cpu_energy_j"].value == pytest.approx(2000)


def test_two_domains_that_show_one_counter_are_counted_once(tmp_path: Path) -> None:
    counters = {"a": lambda i: 77 + 10.0 * i, "b": lambda i: 77 + 10.0 * i}
    found = measured(tmp_path, package(0), package(1), **counters)
    energy = found.quantities["cpu_energy_j"]
    assert (energy.value, energy.status) == (pytest.approx(1000), "measured")
    assert "mirrored_counter" in {n.name for n in found.warnings}


def test_a_second_die_whose_counter_never_moves_is_missing(tmp_path: Path) -> None:
    counters = {"a": lambda i: 10.0 * i, "b": lambda i: 0.0}
    found = measured(tmp_path, package(0), package(1), **counters)
    energy = found.quantities["cpu_energy_j"]
    assert (energy.value, energy.status) == (None, "missing")
    assert energy.how == "cpu:package-1 on h: its counter never moved"


def test_a_gpu_die_that_reads_0_watts_has_no_energy(tmp_path: Path) -> None:
    gpu = DeviceInfo(id="gpu:1", boundary="gpu", meter="amdsmi", energy="power", update_s=0.1)
    (tmp_path / "host-h.json").write_bytes(
        msgspec.json.encode(
            Host(host="h", boot_id=boot_id(), probes=(Probe(meter="amdsmi", devices=(gpu,)),))
        )
    )
    file = TelemetryFile(tmp_path / "telemetry-h.csv")
    file.append(Sample(time_s=i / 10, device="gpu:1", power_w=0.0) for i in range(200))
    file.close()
    energy = summarise(tmp_path, between=(5.0, 15.0)).quantities["gpu_energy_j"]
    assert energy.status == "missing"
    assert "0 W throughout" in energy.how

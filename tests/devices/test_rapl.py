"""RAPL counters on a fabricated powercap tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wattlaw.devices.meter import Scope
from wattlaw.devices.meters.rapl import Rapl

RANGE_UJ = 262_143_328_850


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / "class" / "powercap" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path / "energy_uj"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for package in (0, 1):
        domain(tmp_path, f"intel-rapl:{package}", f"package-{package}", 1_000_000)
        domain(tmp_path, f"intel-rapl:{package}:0", "core", 500_000)
        domain(tmp_path, f"intel-rapl:{package}:1", "dram", 200_000)
    domain(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_100)
    return tmp_path


def test_packages_memory_and_platform_are_kept_apart_and_none_is_counted_twice(
    machine: Path,
) -> None:
    meter = Rapl(Scope(root_pid=1, sys=str(machine)))
    found = {d.id: d.boundary for d in meter.probe().devices}
    assert found == {
        "cpu:package-0": "cpu",
        "cpu:package-1": "cpu",
        "dram:package-0": "dram",
        "dram:package-1": "dram",
        "psys:2": "psys",
    }
    assert sum(
        s.energy_j or 0 for s in meter.read() if s.device.startswith("cpu:")
    ) == pytest.approx(2.0)
    meter.close()


def test_a_wrapped_counter_is_continued_and_a_reset_one_decreases(machine: Path) -> None:
    energy = machine / "class/powercap/intel-rapl:0/energy_uj"
    energy.write_text(f"{RANGE_UJ - 300}\n")
    meter = Rapl(Scope(root_pid=1, sys=str(machine)))
    meter.probe()

    def read() -> float:
        return next(s.energy_j or 0 for s in meter.read() if s.device == "cpu:package-0")

    before = read()
    energy.write_text("700\n")
    assert read() - before == pytest.approx(1e-3)
    energy.write_text(f"{RANGE_UJ // 2}\n")
    middle = read()
    energy.write_text("5\n")
    assert read() < middle
    meter.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give up root for a moment")
def test_counters_that_only_root_may_read_are_missing_with_the_command_that_grants_them(
    machine: Path,
) -> None:
    for path in machine.glob("class/powercap/*/energy_uj"):
        path.chmod(0o400)
    for folder in (machine, *machine.parents):
        if os.stat(folder).st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        probe = Rapl(Scope(root_pid=1, sys=str(machine))).probe()
    finally:
        os.seteuid(0)
    assert probe.devices == ()
    assert "only root may read the energy of cpu:package-0" in probe.reason
    assert probe.grant == f"sudo sh -c 'chmod a+r {machine}/class/powercap/intel-rapl*/energy_uj'"


def test_a_machine_without_counters_gets_the_command_to_load_the_module(tmp_path: Path) -> None:
    probe = Rapl(Scope(root_pid=1, sys=str(tmp_path), proc=str(tmp_path))).probe()
    assert probe.devices == ()
    assert probe.grant == "sudo modprobe intel_rapl_msr"
    (tmp_path / "cpuinfo").write_text("flags : fpu hypervisor\n")
    probe = Rapl(Scope(root_pid=1, sys=str(tmp_path), proc=str(tmp_path))).probe()
    assert (probe.reason, probe.grant) == (
        "a virtual machine: only its host reads the processor's counters",
        "",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give up root for a moment")
def test_a_package_that_only_root_may_read_is_named_beside_the_readable_one(machine: Path) -> None:
    (machine / "class/powercap/intel-rapl:1/energy_uj").chmod(0o400)
    for folder in (machine, *machine.parents):
        if os.stat(folder).st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        meter = Rapl(Scope(root_pid=1, sys=str(machine)))
        found = {d.id: d for d in meter.probe().devices}
    finally:
        os.seteuid(0)
    closed = found["cpu:package-1"]
    assert (found["cpu:package-0"].energy, closed.energy) == ("counter", "none")
    assert "only root may read the energy of cpu:package-1; `sudo" in closed.reason
    assert {s.device for s in meter.read()} >= {"cpu:package-0"}
    meter.close()


def test_a_counter_that_gives_no_number_is_named(machine: Path) -> None:
    (machine / "class/powercap/intel-rapl:1/energy_uj").write_text("n/a\n")
    found = {d.id: d for d in Rapl(Scope(root_pid=1, sys=str(machine))).probe().devices}
    assert "cannot be read: ValueError" in found["cpu:package-1"].reason


def test_two_domains_of_one_driver_with_one_name_are_two_devices(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 1)
    domain(tmp_path, "intel-rapl:1", "package-0", 2)
    probe = Rapl(Scope(root_pid=1, sys=str(tmp_path))).probe()
    assert [d.id for d in probe.devices] == ["cpu:package-0", "cpu:package-0-1"]

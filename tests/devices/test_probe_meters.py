"""Each device of a host is read by one meter, whichever meters are installed."""

from __future__ import annotations

from typing import ClassVar

import pytest

from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.probe_meters import ProbedMeter, is_same_device, one_meter_for_each_device


class Played(Meter):
    """A meter of given devices, each at 100 W."""

    def __init__(self, name: str, priority: int, *devices: DeviceInfo) -> None:
        super().__init__(Scope(root_pid=1))
        self.name, self.priority, self.devices = name, priority, devices  # type: ignore[misc]

    def probe(self) -> Probe:
        devices = tuple(info(d.id, d.uuid, d.energy, self.name) for d in self.devices)
        return Probe(meter=self.name, devices=devices)

    def read(self) -> list[Sample]:
        return [Sample(time_s=0.0, device=d.id, power_w=100.0) for d in self.devices]


class PlayedQuick(Played):
    boundaries: ClassVar = ("gpu",)

    def read_quick(self) -> list[Sample]:
        return self.read()


def info(id: str, uuid: str = "", energy: str = "power", meter: str = "") -> DeviceInfo:
    boundary = id.partition(":")[0]
    return DeviceInfo(id=id, boundary=boundary, uuid=uuid, energy=energy, meter=meter)  # type: ignore[arg-type]


def chosen(*meters: Meter) -> dict[str, ProbedMeter]:
    found = one_meter_for_each_device([(meter, meter.probe()) for meter in meters])
    return {meter.probe.meter: meter for meter in found}


def ids(meter: ProbedMeter) -> list[str]:
    return [device.id for device in meter.probe.devices]


def test_a_gpu_that_two_meters_see_is_read_by_the_one_of_higher_priority() -> None:
    low = PlayedQuick("low", 10, info("gpu:0", "GPU-a"), info("gpu:1", "GPU-b"))
    high = Played("high", 20, info("gpu:7", "gpu-A"))
    found = chosen(low, high)
    assert (ids(found["low"]), ids(found["high"])) == (["gpu:1"], ["gpu:7"])
    assert found["low"].probe.reason == "gpu:0 is read by high"
    assert [s.device for s in found["low"].read()] == ["gpu:1"]
    assert found["low"].read_quick is not None
    assert [s.device for s in found["low"].read_quick()] == ["gpu:1"]
    assert found["high"].read_quick is None


def test_a_meter_that_reads_energy_precedes_one_that_does_not() -> None:
    silent = Played("silent", 20, info("gpu:0", "GPU-a", "none"))
    found = chosen(silent, Played("speaking", 10, info("gpu:0", "GPU-a")))
    assert (ids(found["silent"]), ids(found["speaking"])) == ([], ["gpu:0"])


def test_gpus_of_two_vendors_with_the_same_index_are_separate() -> None:
    nvidia = Played("nvidia", 20, info("gpu:0", "GPU-a"))
    found = chosen(nvidia, Played("amd", 10, info("gpu:0", "62ff-b")))
    assert (ids(found["nvidia"]), ids(found["amd"])) == (["gpu:0"], ["gpu:amd:0"])
    assert [s.device for s in found["amd"].read()] == ["gpu:amd:0"]


@pytest.mark.parametrize("boundary", ["node", "cpu:package-0", "gpu:0"])
def test_energies_of_one_boundary_without_uuids_are_not_added_up(boundary: str) -> None:
    other = f"{boundary.partition(':')[0]}:other"
    found = chosen(Played("ipmi", 20, info(boundary)), Played("pdu", 10, info(other)))
    assert (ids(found["ipmi"]), ids(found["pdu"])) == ([boundary], [])


def test_the_use_of_a_node_and_its_energy_may_come_from_two_meters() -> None:
    use = Played("procfs", 100, info("node", energy="none"))
    found = chosen(use, Played("pdu", 10, info("node")))
    assert (ids(found["procfs"]), ids(found["pdu"])) == (["node"], ["node:pdu"])


def test_a_single_meter_is_read_directly() -> None:
    meter = Played("only", 0, info("gpu:0", "GPU-a"))
    assert chosen(meter)["only"].read == meter.read


def test_packages_that_one_meter_reads_are_different_devices() -> None:
    found = chosen(Played("rapl", 100, info("cpu:package-0"), info("cpu:package-1")))
    assert ids(found["rapl"]) == ["cpu:package-0", "cpu:package-1"]
    assert not is_same_device(info("gpu:0", "GPU-a"), info("gpu:0", "GPU-b"))

"""The contract of every meter and control."""

from __future__ import annotations

import inspect
import os

import pytest

from wattlaw.core.plugins import CONTROLS, METERS, load, plugins
from wattlaw.core.setting import FIELDS
from wattlaw.devices.control import Control
from wattlaw.devices.meter import Meter, Sample, Scope, boundary_of


@pytest.mark.parametrize("name", sorted(plugins(METERS)))
def test_a_meter_reads_its_devices_or_gives_a_reason(name: str) -> None:
    meter: Meter = load(METERS, name)(Scope(root_pid=os.getpid()))
    probe = meter.probe()
    assert probe.meter == name
    assert probe.devices or probe.reason
    ids = [d.id for d in probe.devices]
    assert len(ids) == len(set(ids))
    for device in probe.devices:
        assert device.boundary == boundary_of(device.id)
        assert device.meter == name
        assert device.energy != "none" or device.reason or device.boundary == "job"
    samples = [*meter.read(), *meter.read_slow()] if probe.devices else []
    assert all(isinstance(s, Sample) and s.device in ids for s in samples)
    meter.close()
    meter.close()


@pytest.mark.parametrize("name", sorted(plugins(METERS)))
def test_a_meter_is_documented_and_final(name: str) -> None:
    kind = load(METERS, name)
    assert kind.__doc__
    assert kind.__mro__[1] is Meter


@pytest.mark.parametrize("name", sorted(plugins(CONTROLS)))
def test_a_control_has_the_name_of_its_setting(name: str) -> None:
    kind = load(CONTROLS, name)
    assert issubclass(kind, Control)
    assert name in FIELDS
    assert kind.__doc__


@pytest.mark.parametrize("role", [Meter, Control])
def test_a_role_has_at_most_six_methods(role: type) -> None:
    assert (
        len([n for n, _ in inspect.getmembers(role, inspect.isfunction) if not n.startswith("_")])
        <= 6
    )

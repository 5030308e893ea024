"""Probes the meters of a host, and chooses one meter for each device: no energy counts twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from wattlaw.core.errors import UsageError, WattlawError, described
from wattlaw.core.plugins import METERS, load, plugins
from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.plausible import plausible_limits

Read = Callable[[], list[Sample]]


class ProbedMeter(NamedTuple):
    """A meter with the devices that it reads on this host.

    read_slow, read_quick  None if the meter has no such readings
    """

    probe: Probe
    read: Read
    read_slow: Read | None
    read_quick: Read | None
    close: Callable[[], None]


def probe_meters(scope: Scope, names: Sequence[str] | None = None) -> list[ProbedMeter]:
    """Make and probe the meters, all of them without ``names``.

    A meter that cannot be made or probed says why in its probe, whatever it raises. With a trace
    to replay, the trace replaces the devices.
    """
    if names is None:
        names = _names_of_all(scope)
    return one_meter_for_each_device([_probed(name, scope) for name in names])


def one_meter_for_each_device(found: Sequence[tuple[Meter, Probe]]) -> list[ProbedMeter]:
    """Return the meters with their probes, with each device assigned to one of them.

    A meter that reads a device's energy precedes one that does not; after that, the higher priority
    decides. Different devices with equal ids get new ids.
    """
    devices = [(meter, device) for meter, probe in found for device in probe.devices]
    devices.sort(key=lambda pair: (pair[1].energy == "none", -pair[0].priority))
    chosen: list[DeviceInfo] = []
    ids: dict[Meter, dict[str, str]] = {meter: {} for meter, _ in found}
    read_by: dict[Meter, dict[str, str]] = {meter: {} for meter, _ in found}
    for meter, device in devices:
        others = (other for other in chosen if other.meter != device.meter)
        same = next((other for other in others if is_same_device(device, other)), None)
        if same is not None:
            read_by[meter][device.id] = same.meter
            continue
        ids[meter][device.id] = device.id
        chosen.append(device)
    _rename_duplicates(found, ids)
    return [_limited(meter, probe, ids[meter], read_by[meter]) for meter, probe in found]


def is_same_device(one: DeviceInfo, other: DeviceInfo) -> bool:
    """Return whether two meters read one device: by UUID, else whether that cannot be excluded.

    Without UUIDs, two energies of one boundary may be the same energy, as of one node.
    """
    if one.uuid and other.uuid:
        return one.uuid.lower() == other.uuid.lower()
    has_energy = one.energy != "none" and other.energy != "none"
    return has_energy and one.boundary == other.boundary


def _names_of_all(scope: Scope) -> list[str]:
    if scope.replay:
        return ["procfs", "replay"]
    return [name for name in plugins(METERS) if name != "replay"]


def _probed(name: str, scope: Scope) -> tuple[Meter, Probe]:
    meter: Meter = _AbsentMeter(scope)
    try:
        meter = load(METERS, name)(scope)
        probe = meter.probe()
        devices = tuple(_named(device, name) for device in probe.devices)
        probe = replace(probe, meter=name, devices=devices, boundaries=meter.boundaries)
        # the record needs values of the declared types and valid text
        return meter, msgspec.json.decode(msgspec.json.encode(probe), type=Probe)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # a vendor's library may raise anything
        _close(meter)
        return _AbsentMeter(scope), Probe(meter=name, reason=_why_absent(name, error))


def _named(device: DeviceInfo, meter: str) -> DeviceInfo:
    return replace(device, meter=meter, limits=plausible_limits(device.limits))


def _why_absent(name: str, error: BaseException) -> str:
    if isinstance(error, WattlawError | OSError):
        return described(error)
    return f"the meter {name} failed: {described(error)}"


def _rename_duplicates(
    found: Sequence[tuple[Meter, Probe]], ids: dict[Meter, dict[str, str]]
) -> None:
    taken: set[str] = set()
    for meter, probe in sorted(found, key=lambda pair: -pair[0].priority):
        for device in ids[meter]:
            if device in taken:
                boundary, _, rest = device.partition(":")
                ids[meter][device] = ":".join(filter(None, (boundary, probe.meter, rest)))
            taken.add(ids[meter][device])


def _limited(
    meter: Meter, probe: Probe, ids: dict[str, str], read_by: dict[str, str]
) -> ProbedMeter:
    """Return a meter that reads the devices in ``ids`` only, under the ids that these map to."""
    if read_by:
        parts = [f"{device} is read by {other}" for device, other in read_by.items()]
        probe = replace(probe, reason="; ".join(filter(None, (probe.reason, *parts))))
    devices = []
    for device in probe.devices:
        if device.id in ids:
            parent = ids.get(device.part_of, device.part_of)
            devices.append(replace(device, id=ids[device.id], part_of=parent))
    probe = replace(probe, devices=tuple(devices))
    is_whole = not read_by and all(device == new for device, new in ids.items())

    def limited(read: Read) -> Read:
        # quick readings are taken a thousand times a second: nothing to filter if all are kept
        return read if is_whole else lambda: _renamed(read(), ids)

    slow = quick = None
    if type(meter).read_slow is not Meter.read_slow:
        slow = limited(meter.read_slow)
    if type(meter).read_quick is not Meter.read_quick:
        quick = limited(meter.read_quick)
    return ProbedMeter(probe, limited(meter.read), slow, quick, lambda: _close(meter))


def _close(meter: Meter) -> None:
    # what cannot be closed any more is released when the process ends
    with contextlib.suppress(Exception, SystemExit):
        meter.close()


def _renamed(samples: list[Sample], ids: dict[str, str]) -> list[Sample]:
    return [replace(s, device=ids[s.device]) for s in samples if s.device in ids]


class _AbsentMeter(Meter):
    """Replaces a meter that could not be made."""

    def probe(self) -> Probe:
        return Probe(meter="")

    def read(self) -> list[Sample]:
        return []

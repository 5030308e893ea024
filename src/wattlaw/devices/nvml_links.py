"""Bytes that a GPU moved over PCIe and NVLink, as running counters, by whichever way its driver offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wattlaw.devices.nvml_devices import Handle

_PCIE_SENT, _PCIE_RECEIVED = 197, 198
_LINK_COUNT = 91
_DATA_SENT, _DATA_RECEIVED = 138, 139
_BYTES_SENT, _BYTES_RECEIVED = 202, 204
_ALL_LINKS = 0xFFFFFFFF
_MOST_LINKS = 36
_KIB = 2**10
_UNIT_BYTES = 2
"""Field ids of nvml.h (NVML_FI_DEV_*); its scope of all links; NVML_NVLINK_MAX_LINKS; what a counter counts in."""


class Moved(NamedTuple):
    """Bytes since the driver was loaded; None was not read."""

    received: int | None = None
    sent: int | None = None


class Links:
    """The byte counters of one GPU. ``lacks`` says why a kind is not read, by the names of a Sample's fields."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.lacks: dict[str, str] = {}
        self._active: list[int] | None = None
        self._ways = [
            self._summed_by_driver,
            self._by_link,
            self._by_newer_fields,
            self._by_old_counters,
        ]
        self._ways = [way for way in self._ways if None not in way()][:1]
        if None in self.pcie():
            self._lack("", "the driver has no byte counters of PCIe")
        if not self._ways:
            self._lack("nvlink_", self._why_none())

    def pcie(self) -> Moved:
        """Return the bytes moved over PCIe."""
        return Moved(*fields(self.handle, [(_PCIE_RECEIVED, 0), (_PCIE_SENT, 0)]))

    def nvlink(self) -> Moved:
        """Return the bytes of data moved over all NVLinks together."""
        return self._ways[0]() if self._ways else Moved()

    def _summed_by_driver(self) -> Moved:
        found = fields(self.handle, [(_DATA_RECEIVED, _ALL_LINKS), (_DATA_SENT, _ALL_LINKS)])
        return Moved(*(None if v is None else v * _KIB for v in found))

    def _by_link(self) -> Moved:
        return self._sum_of_fields(_DATA_RECEIVED, _DATA_SENT, _KIB)

    def _by_newer_fields(self) -> Moved:
        return self._sum_of_fields(_BYTES_RECEIVED, _BYTES_SENT, 1)

    def _sum_of_fields(self, received: int, sent: int, unit: int) -> Moved:
        links = self._links()
        found = fields(self.handle, [(f, link) for f in (received, sent) for link in links])
        return Moved(_sum(found[: len(links)], unit), _sum(found[len(links) :], unit))

    def _by_old_counters(self) -> Moved:
        """Add up counter 0 of every link; it counts bytes only where root has set it to."""
        parts = []
        for link in self._links():
            control = self.handle.ask("GetNvLinkUtilizationControl", link, 0)
            if control is None or control.units != _UNIT_BYTES:
                return Moved()
            parts.append(self.handle.ask("GetNvLinkUtilizationCounter", link, 0) or (None, None))
        return Moved(_sum([p[0] for p in parts], 1), _sum([p[1] for p in parts], 1))

    def _links(self) -> list[int]:
        """Return the links that are up. They are looked for once: a link that comes up later is not counted."""
        if self._active is None:
            count = fields(self.handle, [(_LINK_COUNT, 0)])[0]
            numbers = range(_MOST_LINKS if count is None else min(count, _MOST_LINKS))
            self._active = [i for i in numbers if self.handle.ask("GetNvLinkState", i) == 1]
        return self._active

    def _why_none(self) -> str:
        if not self._links():
            return "no NVLink of this GPU is up"
        return "the driver gives no byte counters of NVLink, or they do not count bytes"

    def _lack(self, prefix: str, why: str) -> None:
        self.lacks |= {f"{prefix}received_bytes": why, f"{prefix}sent_bytes": why}


def fields(handle: Handle, wanted: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return the values of NVML's fields, each an (id, scope); None where the device or driver has none."""
    values = handle.ask("GetFieldValues", list(wanted)) if wanted else []
    return [None] * len(wanted) if values is None else [_value(v) for v in values]


def _value(field: Any) -> int | None:
    if field.nvmlReturn != 0:
        return None
    value = field.value
    # nvml.h, nvmlValueType_t: 0 double, 1 unsigned int, 2 unsigned long, 3 unsigned long long
    return int(
        {0: value.dVal, 1: value.uiVal, 2: value.ulVal, 3: value.ullVal}.get(
            field.valueType, value.ullVal
        )
    )


def _sum(values: Sequence[int | None], unit: int) -> int | None:
    """Add up links; a sum that lacks one, or that has none at all, is no sum."""
    known = [v for v in values if v is not None]
    return sum(known) * unit if known and len(known) == len(values) else None

"""Counters of the bytes that a GPU moved over PCIe and NVLink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wattlaw.devices.nvml_devices import NvmlHandle, NvmlObject
from wattlaw.devices.plausible import is_sentinel

_PCIE_SENT, _PCIE_RECEIVED = 197, 198
_LINK_COUNT = 91
_DATA_SENT, _DATA_RECEIVED = 138, 139
_BYTES_SENT, _BYTES_RECEIVED = 202, 204
_ALL_LINKS = 0xFFFFFFFF
_MAX_LINKS = 36
_KIB = 2**10
_UNIT_BYTES = 2
"""Of nvml.h: field ids (NVML_FI_DEV_*), the scope of all links, NVML_NVLINK_MAX_LINKS, the unit."""


class MovedBytes(NamedTuple):
    """Bytes since the driver was loaded; None was not read."""

    received: int | None = None
    sent: int | None = None


class LinkCounters:
    """The byte counters of one GPU. ``lacks`` gives the reason for each unread field of Sample."""

    def __init__(self, handle: NvmlHandle) -> None:
        self.handle = handle
        self.lacks: dict[str, str] = {}
        self._active: list[int] | None = None
        ways = [self._summed_by_driver, self._by_link, self._by_newer_fields, self._by_old_counters]
        self._read_nvlink = next((way for way in ways if None not in way()), None)
        if None in self.pcie():
            self._lack("", "the driver has no byte counters of PCIe")
        if self._read_nvlink is None:
            self._lack("nvlink_", self._why_none())

    def pcie(self) -> MovedBytes:
        """Return the bytes moved over PCIe."""
        return MovedBytes(*fields(self.handle, [(_PCIE_RECEIVED, 0), (_PCIE_SENT, 0)]))

    def nvlink(self) -> MovedBytes:
        """Return the bytes of data moved over all NVLinks together."""
        if self._read_nvlink is None:
            return MovedBytes()
        return self._read_nvlink()

    def _summed_by_driver(self) -> MovedBytes:
        received, sent = fields(
            self.handle, [(_DATA_RECEIVED, _ALL_LINKS), (_DATA_SENT, _ALL_LINKS)]
        )
        return MovedBytes(_sum([received], _KIB), _sum([sent], _KIB))

    def _by_link(self) -> MovedBytes:
        return self._sum_of_fields(_DATA_RECEIVED, _DATA_SENT, _KIB)

    def _by_newer_fields(self) -> MovedBytes:
        return self._sum_of_fields(_BYTES_RECEIVED, _BYTES_SENT, 1)

    def _sum_of_fields(self, received: int, sent: int, unit: int) -> MovedBytes:
        links = self._links()
        # one call for both directions, so that they are of one moment
        found = fields(self.handle, [(field, link) for field in (received, sent) for link in links])
        return MovedBytes(_sum(found[: len(links)], unit), _sum(found[len(links) :], unit))

    def _by_old_counters(self) -> MovedBytes:
        """Add up counter 0 of every link; it counts bytes only if root has configured it so."""
        received, sent = [], []
        for link in self._links():
            control = self.handle.ask("GetNvLinkUtilizationControl", link, 0)
            if control is None or control.units != _UNIT_BYTES:
                return MovedBytes()
            counts = self.handle.ask("GetNvLinkUtilizationCounter", link, 0) or (None, None)
            received.append(counts[0])
            sent.append(counts[1])
        return MovedBytes(_sum(received, 1), _sum(sent, 1))

    def _links(self) -> list[int]:
        """Return the links that were up at the first call."""
        if self._active is None:
            count = fields(self.handle, [(_LINK_COUNT, 0)])[0]
            most = _MAX_LINKS if count is None else min(count, _MAX_LINKS)
            ask = self.handle.ask
            self._active = [link for link in range(most) if ask("GetNvLinkState", link) == 1]
        return self._active

    def _why_none(self) -> str:
        if not self._links():
            return "no NVLink of this GPU is up"
        return "the driver reports no byte counters of NVLink, or they do not count bytes"

    def _lack(self, prefix: str, why: str) -> None:
        self.lacks |= {f"{prefix}received_bytes": why, f"{prefix}sent_bytes": why}


def fields(handle: NvmlHandle, requested: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return the values of NVML's fields, each an (id, scope); None for one that is not given."""
    values = handle.ask("GetFieldValues", list(requested)) if requested else []
    if values is None:
        return [None] * len(requested)
    return [_value(field) for field in values]


def _value(field: NvmlObject) -> int | None:
    if field.nvmlReturn != 0:
        return None
    value = field.value
    # nvml.h, nvmlValueType_t
    by_type = {0: value.dVal, 1: value.uiVal, 2: value.ulVal, 3: value.ullVal}
    found = int(by_type.get(field.valueType, value.ullVal))
    return None if is_sentinel(found) else found


def _sum(values: Sequence[int | None], unit: int) -> int | None:
    """Add up links; None if one link was not read, or there is none."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return sum(known) * unit

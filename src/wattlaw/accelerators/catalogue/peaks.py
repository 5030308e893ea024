"""Looks up the datasheet peak of a device. The rest of wattlaw takes peaks from here only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wattlaw.accelerators.catalogue.catalogue import (
    aliases,
    built_in,
    folded,
    load,
    not_below_fp32,
)
from wattlaw.accelerators.catalogue.entry import CatalogueEntry
from wattlaw.core.reading import Reading, estimated, missing


def peak_op_per_s(device_name: str, precision: str, own: Path | None = None) -> Reading:
    """Return the dense peak of a device, operations/s, as an estimate with its source.

    A multiply-add is two operations. ``device_name`` is an accelerator's identity in the catalogue,
    or the name that a driver or an MLPerf system file uses and the alias table contains. The
    reading is missing, with the reason, if the device or its peak at this precision is unknown, or
    if the peak counts sparsity: nothing is guessed. ``own`` is a site's catalogue.
    """
    found = entry_at(device_name, precision, own)
    if isinstance(found, str):
        return missing(found)
    if found.peak_op_per_s is None:
        return missing(f"{found.product} has no known peak at {precision}")
    if found.counting == "sparse":
        return missing(f"the known {precision} peak of {found.product} counts structured sparsity")
    counting = "dense" if found.counting == "dense" else "as its maker states it"
    how = f"datasheet peak of {found.company} {found.product}, {precision}, {counting}"
    return estimated(found.peak_op_per_s, how)


def entry_at(device_name: str, precision: str, own: Path | None = None) -> CatalogueEntry | str:
    """Return the entry for a device's name at a precision, or the reason why there is none."""
    accelerator = identity(device_name, own)
    if accelerator is None:
        return f"unknown device {device_name!r}: no alias in the catalogue of accelerators"
    same = [e for e in load(own).entries if e.accelerator == accelerator]
    for entry in same:
        if entry.precision == precision:
            return entry
    known = ", ".join(sorted(e.precision for e in same))
    return (
        f"{accelerator} has no peak at precision {precision or 'unknown'!r} in the catalogue "
        f"(it has {known})"
    )


def identity(device_name: str, own: Path | None = None) -> str | None:
    """Return the accelerator of a device's name; None if the name is unknown."""
    name = folded(device_name)
    if name in aliases():
        return aliases()[name]
    known = {folded(e.accelerator): e.accelerator for e in load(own).entries}
    return known.get(name)


def sixteen_bit(accelerator: str) -> CatalogueEntry | None:
    """Return a device's entry at bf16 or fp16, whichever has the higher dense peak."""
    return best_sixteen_bit([e for e in built_in().entries if e.accelerator == accelerator])


def best_sixteen_bit(entries: Sequence[CatalogueEntry]) -> CatalogueEntry | None:
    """Return the 16-bit entry with the highest dense peak; None if all are below the fp32 peak."""
    known = []
    for entry in not_below_fp32(entries):
        is_dense = entry.counting != "sparse" and entry.peak_op_per_s
        if is_dense and entry.precision in ("bf16", "fp16"):
            known.append(entry)
    return max(known, key=lambda e: e.peak_op_per_s or 0, default=None)

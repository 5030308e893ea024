"""What a device promises: the one place from which the rest of wattlaw takes a peak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wattlaw.accelerators.catalogue.catalogue import aliases, built_in, folded, load, worth_using
from wattlaw.accelerators.catalogue.entry import Entry
from wattlaw.core.reading import Reading, estimated, missing


def peak_op_per_s(device_name: str, precision: str, own: Path | None = None) -> Reading:
    """Return the promised dense peak of a device, operations/s (a multiply-add is two), as an estimate with its source.

    ``device_name`` is an accelerator's identity in the catalogue, or the name that a driver or an MLPerf system
    file gives it, as the alias table has it. Missing, with the reason, where the device, its peak at this
    precision, or whether that counts sparsity is not known: nothing is guessed. ``own`` is a site's catalogue.
    """
    found = entry(device_name, precision, own)
    if isinstance(found, str):
        return missing(found)
    if found.peak_op_per_s is None:
        return missing(f"{found.product} has no known peak at {precision}")
    if found.counting == "sparse":
        return missing(f"the {precision} peak known of {found.product} counts structured sparsity")
    word = "dense" if found.counting == "dense" else "as its maker states it"
    return estimated(
        found.peak_op_per_s,
        f"promised peak of {found.company} {found.product}, {precision}, {word}",
    )


def entry(device_name: str, precision: str, own: Path | None = None) -> Entry | str:
    """Return the catalogue's entry for a device's name at a precision, or why there is none."""
    accelerator = identity(device_name, own)
    if accelerator is None:
        return f"unknown device {device_name!r}: no alias in the catalogue of accelerators"
    same = [e for e in load(own).entries if e.accelerator == accelerator]
    at = [e for e in same if e.precision == precision]
    if not at:
        have = ", ".join(sorted(e.precision for e in same))
        return f"{accelerator} has no peak at precision {precision or 'unknown'!r} in the catalogue (it has {have})"
    return at[0]


def identity(device_name: str, own: Path | None = None) -> str | None:
    """Return the accelerator that a device's name means; None where the alias table and the catalogue don't say."""
    name = folded(device_name)
    if name in aliases():
        return aliases()[name]
    known = {folded(e.accelerator): e.accelerator for e in load(own).entries}
    return known.get(name)


def sixteen_bit(accelerator: str) -> Entry | None:
    """Return the entry of a device at bf16 or fp16, whichever has the greater peak without sparsity."""
    return best_sixteen_bit([e for e in built_in().entries if e.accelerator == accelerator])


def best_sixteen_bit(entries: Sequence[Entry]) -> Entry | None:
    """Return that of one device's entries which has the greatest 16-bit peak without sparsity; none below its fp32."""
    dense = [e for e in worth_using(entries) if e.counting != "sparse" and e.peak_op_per_s]
    known = [e for e in dense if e.precision in ("bf16", "fp16")]
    return max(known, key=lambda e: e.peak_op_per_s or 0, default=None)

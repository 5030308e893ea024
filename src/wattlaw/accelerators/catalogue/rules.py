"""Rules that find doubtful values in a table of well-formed cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattlaw.accelerators.catalogue.entry import CatalogueEntry, CatalogueTable
from wattlaw.core.csv_table import TableFault
from wattlaw.core.units import show

MIN_OP_PER_JOULE = 1e8
MAX_OP_PER_JOULE = 5e13
"""The range of efficiencies from 2012 to 2026. Less is a wrong unit, more a claim to check."""

MAX_MEMORY_READS_PER_S = 150.0
"""How often per second a memory of 1 GB or more can be read at most; HBM3E reaches about 50."""

MIN_MEMORY_BYTES = 1e6
MIN_BANDWIDTH_BYTES_PER_S = 1e8
"""A smaller number was written in gigabytes."""

POWER_CHANGE = 2.0
"""A power that changes by more than this factor from one survey to the next is reported."""


def find_doubts(table: CatalogueTable) -> Iterator[TableFault]:
    """Yield the doubts about one table: implausible values, disagreeing rows, repeated labels."""
    for entry, line in zip(table.entries, table.lines, strict=True):
        yield from _efficiency(entry, table.file, line)
        yield from _memory(entry, table.file, line)
    yield from _disagreeing(table)
    yield from _labels(table)


def keep_first_rows(table: CatalogueTable) -> CatalogueTable:
    """Keep the first row of each accelerator and precision, and report the others as dropped."""
    first: dict[tuple[str, str], tuple[CatalogueEntry, int]] = {}
    faults = list(table.faults)
    for entry, line in zip(table.entries, table.lines, strict=True):
        key = (entry.accelerator, entry.precision)
        if key not in first:
            first[key] = (entry, line)
            continue
        kept, kept_line = first[key]
        name, difference = _compare_rows(kept, entry)
        text = (
            f"{entry.accelerator} at {entry.precision} is already in line {kept_line}{difference}"
        )
        text += "; the first row is kept"
        faults.append(TableFault(table.file, line, "accelerator", text, "dropped", name))
    entries = [entry for entry, _ in first.values()]
    lines = [line for _, line in first.values()]
    return table._replace(entries=entries, lines=lines, faults=faults)


def find_power_changes(tables: Sequence[CatalogueTable]) -> Iterator[TableFault]:
    """Yield the powers that changed by more than ``POWER_CHANGE``; tables are in order of year."""
    latest: dict[tuple[str, ...], tuple[list[float], str]] = {}
    for table in tables:
        here: dict[tuple[str, ...], tuple[list[float], str]] = {}
        for entry, line in zip(table.entries, table.lines, strict=True):
            if entry.power_w is None:
                continue
            key = (entry.accelerator, entry.precision, entry.form_factor)
            before, file = latest.get(key, ([], ""))
            if before and not any(_is_similar_power(was, entry.power_w) for was in before):
                text = (
                    f"{entry.product}: {show(before[-1], 'W')} in {Path(file).name}, "
                    f"{show(entry.power_w, 'W')} here"
                )
                yield TableFault(table.file, line, "power_w", text, "doubted", "power-changed")
            here.setdefault(key, ([], table.file))[0].append(entry.power_w)
        latest |= here


def peak_and_power(entry: CatalogueEntry) -> str:
    """Return an entry's peak and power as text: "312 TOPS at 400 W"."""
    peak = show(entry.peak_op_per_s, "OPS") if entry.peak_op_per_s else "no peak"
    return f"{peak} at {show(entry.power_w, 'W')}" if entry.power_w else f"{peak}, power unknown"


def _is_similar_power(one_w: float, other_w: float) -> bool:
    return 1 / POWER_CHANGE <= one_w / other_w <= POWER_CHANGE


def _compare_rows(kept: CatalogueEntry, other: CatalogueEntry) -> tuple[str, str]:
    """Return the name of the fault of a second row, and how its values differ."""
    if (kept.peak_op_per_s, kept.power_w) == (other.peak_op_per_s, other.power_w):
        return "repeated-row", ""
    here, there = peak_and_power(other), peak_and_power(kept)
    return "disagreement", f" with other values ({there}, here {here})"


def _efficiency(entry: CatalogueEntry, file: str, line: int) -> Iterator[TableFault]:
    per_joule = entry.op_per_joule
    if per_joule is None or entry.peak_op_per_s is None:
        return
    said = f"{peak_and_power(entry)} is {per_joule:.3g} op/s/W"
    if per_joule < MIN_OP_PER_JOULE:
        text = f"{said}, under {MIN_OP_PER_JOULE:.0e}; the unit is wrong"
        if MIN_OP_PER_JOULE <= per_joule * 1e12 <= MAX_OP_PER_JOULE:
            text += f" (in TOPS it would be {entry.peak_op_per_s * 1e12:.3g})"
        yield TableFault(file, line, "peak_op_per_s", text, "doubted", "unit-slip")
    elif per_joule > MAX_OP_PER_JOULE:
        text = f"{said}, over {MAX_OP_PER_JOULE:.0e}; check this claim"
        yield TableFault(file, line, "peak_op_per_s", text, "doubted", "high-outlier")


def _memory(entry: CatalogueEntry, file: str, line: int) -> Iterator[TableFault]:
    memory, bandwidth = entry.memory_bytes, entry.memory_bandwidth_bytes_per_s
    limits = (
        ("memory_bytes", memory, MIN_MEMORY_BYTES, "B"),
        ("memory_bandwidth_bytes_per_s", bandwidth, MIN_BANDWIDTH_BYTES_PER_S, "B/s"),
        (
            "link_bandwidth_bytes_per_s",
            entry.link_bandwidth_bytes_per_s,
            MIN_BANDWIDTH_BYTES_PER_S,
            "B/s",
        ),
    )
    for column, value, least, unit in limits:
        if value and value < least:
            text = f"{value:g} {unit} is under {least:.0e}; the unit is wrong"
            text += f" (in G{unit} it would be {value * 1e9:.3g})"
            yield TableFault(file, line, column, text, "doubted", "unit-slip")
    if memory and bandwidth and memory >= 1e9 and bandwidth / memory > MAX_MEMORY_READS_PER_S:
        text = f"{show(bandwidth, 'bytes/s')} is too fast for {show(memory, 'bytes')} of memory"
        column = "memory_bandwidth_bytes_per_s"
        yield TableFault(file, line, column, text, "doubted", "strange-bandwidth")


def _disagreeing(table: CatalogueTable) -> Iterator[TableFault]:
    first: dict[tuple[str, ...], tuple[CatalogueEntry, int]] = {}
    for entry, line in zip(table.entries, table.lines, strict=True):
        key = (entry.accelerator, entry.label, entry.precision, entry.use, entry.form_factor)
        if key not in first:
            first[key] = (entry, line)
            continue
        before, its_line = first[key]
        name, difference = _compare_rows(before, entry)
        text = f"{entry.product} at {entry.precision} is already in line {its_line}{difference}"
        yield TableFault(table.file, line, "", text, "doubted", name)


def _labels(table: CatalogueTable) -> Iterator[TableFault]:
    users: dict[str, dict[str, int]] = defaultdict(dict)
    for entry, line in zip(table.entries, table.lines, strict=True):
        users[entry.label].setdefault(entry.accelerator, line)
    for label, lines in users.items():
        if len(lines) > 1:
            text = f"{label!r} is the label of {len(lines)} accelerators: {', '.join(lines)}"
            yield TableFault(
                table.file, max(lines.values()), "label", text, "doubted", "repeated-label"
            )

"""Rules that find what is doubtful in a table whose cells are all well formed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattlaw.accelerators.catalogue.entry import Entry, Fault, Table
from wattlaw.core.units import show

LEAST_OP_PER_JOULE = 1e8
MOST_OP_PER_JOULE = 5e13
"""What is promised between 2012 and 2026 lies within; below is a slip of the unit, above a claim to look at."""

MOST_TURNS_PER_S = 150.0
"""A memory of 1 GB and more is read through at most so often a second; HBM3E reaches about 50."""

LEAST_MEMORY = 1e6
LEAST_BANDWIDTH = 1e8
"""Bytes, and bytes a second: whoever writes less has written gigabytes."""

POWER_CHANGE = 2.0
"""A power that changes by more than this factor from one survey to the next is another power."""


def doubts(table: Table) -> Iterator[Fault]:
    """Return what the rules of one table doubt: efficiency out of range, disagreeing rows, repeated labels."""
    for entry, line in zip(table.entries, table.lines, strict=True):
        yield from _efficiency(entry, table.file, line)
        yield from _bandwidth(entry, table.file, line)
    yield from _disagreeing(table)
    yield from _labels(table)


def one_row_each(table: Table) -> Table:
    """Keep the first row of each accelerator and precision, and name the others."""
    first: dict[tuple[str, str], int] = {}
    entries, lines, faults = [], [], list(table.faults)
    for entry, line in zip(table.entries, table.lines, strict=True):
        key = (entry.accelerator, entry.precision)
        if key not in first:
            first[key] = line
            entries.append(entry)
            lines.append(line)
            continue
        kept = entries[lines.index(first[key])]
        same = (kept.peak_op_per_s, kept.power_w) == (entry.peak_op_per_s, entry.power_w)
        text = f"{entry.accelerator} at {entry.precision} stands in line {first[key]} already"
        text += "" if same else f" with other figures ({figures(kept)}, here {figures(entry)})"
        name = "repeated-row" if same else "disagreement"
        faults.append(
            Fault(table.file, line, "accelerator", f"{text}; the first is kept", "dropped", name)
        )
    return table._replace(entries=entries, lines=lines, faults=faults)


def changes(tables: Sequence[Table]) -> Iterator[Fault]:
    """Return what changed between tables of several years beyond belief: the power of a device, by a factor of 2."""
    last: dict[tuple[str, ...], tuple[list[float], str]] = {}
    for table in tables:
        here: dict[tuple[str, ...], tuple[list[float], str]] = {}
        for entry, line in zip(table.entries, table.lines, strict=True):
            if entry.power_w is None:
                continue
            key = (entry.accelerator, entry.precision, entry.form_factor)
            before, file = last.get(key, ([], ""))
            if before and not any(
                1 / POWER_CHANGE <= was / entry.power_w <= POWER_CHANGE for was in before
            ):
                text = f"{entry.product}: {show(before[-1], 'W')} in {Path(file).name}, {show(entry.power_w, 'W')} here"
                yield Fault(table.file, line, "power_w", text, "doubted", "power-changed")
            here.setdefault(key, ([], table.file))[0].append(entry.power_w)
        last |= here


def figures(entry: Entry) -> str:
    """Return an entry's promise as "312 Top/s at 400 W"."""
    peak = show(entry.peak_op_per_s, "op/s") if entry.peak_op_per_s else "no peak"
    return f"{peak} at {show(entry.power_w, 'W')}" if entry.power_w else f"{peak}, power not known"


def _efficiency(entry: Entry, file: str, line: int) -> Iterator[Fault]:
    per_joule = entry.op_per_joule
    if per_joule is None or entry.peak_op_per_s is None:
        return
    column = "peak_op_per_s"
    if per_joule < LEAST_OP_PER_JOULE:
        text = f"{figures(entry)} is {per_joule:.3g} op/s/W, under {LEAST_OP_PER_JOULE:.0e}; the unit has slipped"
        if LEAST_OP_PER_JOULE <= per_joule * 1e12 <= MOST_OP_PER_JOULE:
            text += f" (as Top/s it would be {entry.peak_op_per_s * 1e12:.3g})"
        yield Fault(file, line, column, text, "doubted", "unit-slip")
    elif per_joule > MOST_OP_PER_JOULE:
        text = f"{figures(entry)} is {per_joule:.3g} op/s/W, over {MOST_OP_PER_JOULE:.0e}; a claim to look at"
        yield Fault(file, line, column, text, "doubted", "high-outlier")


def _bandwidth(entry: Entry, file: str, line: int) -> Iterator[Fault]:
    memory, bandwidth = entry.memory_bytes, entry.memory_bandwidth_bytes_per_s
    slips = [("memory_bytes", memory, LEAST_MEMORY, "B")]
    slips += [("memory_bandwidth_bytes_per_s", bandwidth, LEAST_BANDWIDTH, "B/s")]
    slips += [
        ("link_bandwidth_bytes_per_s", entry.link_bandwidth_bytes_per_s, LEAST_BANDWIDTH, "B/s")
    ]
    for column, value, least, unit in slips:
        if value and value < least:
            text = f"{value:g} {unit} is under {least:.0e}; the unit has slipped"
            text += f" (as G{unit} it would be {value * 1e9:.3g})"
            yield Fault(file, line, column, text, "doubted", "unit-slip")
    if memory and bandwidth and memory >= 1e9 and bandwidth / memory > MOST_TURNS_PER_S:
        text = f"{show(bandwidth, 'bytes/s')} can't belong to {show(memory, 'bytes')} of memory"
        yield Fault(
            file, line, "memory_bandwidth_bytes_per_s", text, "doubted", "strange-bandwidth"
        )


def _disagreeing(table: Table) -> Iterator[Fault]:
    first: dict[tuple[str, ...], tuple[Entry, int]] = {}
    for entry, line in zip(table.entries, table.lines, strict=True):
        key = (entry.accelerator, entry.label, entry.precision, entry.use, entry.form_factor)
        if key not in first:
            first[key] = (entry, line)
            continue
        before, its_line = first[key]
        same = (before.peak_op_per_s, before.power_w) == (entry.peak_op_per_s, entry.power_w)
        text = f"{entry.product} at {entry.precision} stands in line {its_line} already"
        text += "" if same else f" with other figures ({figures(before)}, here {figures(entry)})"
        yield Fault(
            table.file, line, "", text, "doubted", "repeated-row" if same else "disagreement"
        )


def _labels(table: Table) -> Iterator[Fault]:
    users: dict[str, dict[str, int]] = defaultdict(dict)
    for entry, line in zip(table.entries, table.lines, strict=True):
        users[entry.label].setdefault(entry.accelerator, line)
    for label, lines in users.items():
        if len(lines) > 1:
            text = f"{label!r} is the label of {len(lines)} accelerators: {', '.join(lines)}"
            yield Fault(table.file, max(lines.values()), "label", text, "doubted", "repeated-label")

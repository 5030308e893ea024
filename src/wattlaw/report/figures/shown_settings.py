"""The settings that a figure shows: those with a value, as many as it has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from wattlaw.report.content import MAX_PANELS, not_drawn
from wattlaw.report.context import Context, SettingRow, WorkloadGroup

MAX_ROWS = 16
"""Settings that one panel lists; the tables have all."""

_LONG_NAME = 24


@dataclass(frozen=True)
class ShownSettings:
    """The settings of a figure by workload, and how many there are with those left out."""

    groups: list[tuple[WorkloadGroup, list[SettingRow]]]
    total: int

    def __iter__(self) -> Iterator[tuple[WorkloadGroup, SettingRow]]:
        """Yield every shown setting with its workload."""
        for group, rows in self.groups:
            for row in rows:
                yield group, row

    @property
    def not_drawn(self) -> str:
        """A sentence on the settings that are left out; empty if there are none."""
        return not_drawn(len(list(self)), self.total, "settings")

    @property
    def has_long_names(self) -> bool:
        """Whether names are too long for a third of the page."""
        return any(len(row.short) > _LONG_NAME for _, row in self)


def settings_with(
    context: Context, has_value: Callable[[SettingRow], object], quantity: str
) -> ShownSettings:
    """Return the settings that have a value; of many, those with the least of a quantity."""
    groups: list[tuple[WorkloadGroup, list[SettingRow]]] = []
    total = 0
    for group in context.groups:
        rows = list(filter(has_value, group.rows))
        total += len(rows)
        if rows and len(groups) < MAX_PANELS:
            groups.append((group, _least(rows, quantity)))
    return ShownSettings(groups, total)


def _least(rows: Sequence[SettingRow], name: str) -> list[SettingRow]:
    """Return the rows with the least values of a quantity, in their own order."""
    if len(rows) <= MAX_ROWS:
        return list(rows)

    def value(row: SettingRow) -> float:
        found = row.reading(name).value
        return inf if found is None else found

    least = set(sorted(rows, key=value)[:MAX_ROWS])
    return list(filter(least.__contains__, rows))

"""The settings that nothing beats: no other is as good in both quantities and better in one."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the front, both quantities to be small, by ascending first."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    found: list[int] = []
    best = float("inf")
    for index in order:
        if points[index][1] < best:
            best = points[index][1]
            found.append(index)
    return found

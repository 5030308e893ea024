"""A reading of a quantity: its value, and whether it was measured, estimated or is missing."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Status = Literal["measured", "estimated", "missing"]


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One quantity. ``how`` names the meter, the estimating model, or why nothing was read.

    ``low`` and ``high`` are the 5th and 95th percentile of the ``n`` values behind a median,
    if there are several; the unit is that of the quantity's name (see ``units``).
    """

    value: float | None
    status: Status = "measured"
    how: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Note(msgspec.Struct, frozen=True, gc=False):
    """A named warning, shown beside every figure that uses the run."""

    name: str
    message: str


def measured(value: float, how: str = "") -> Reading:
    """Return a measured reading; a value that is not finite becomes a missing one."""
    if not math.isfinite(value):
        return missing(f"{how or 'the meter'} gave {value}")
    return Reading(value, "measured", how)


def estimated(value: float, model: str) -> Reading:
    """Return a reading that a model estimated; ``model`` says which."""
    if not math.isfinite(value):
        return missing(f"{model} gave {value}")
    return Reading(value, "estimated", model)


def missing(why: str) -> Reading:
    """Return a reading without a value; ``why`` is the reason. Missing is never 0."""
    return Reading(None, "missing", why)


def spread(values: list[float], how: str = "", status: Status = "measured") -> Reading:
    """Return the median of ``values`` with their 5th and 95th percentile (linear interpolation)."""
    finite = sorted(v for v in values if math.isfinite(v))
    if not finite:
        return missing("no finite value was recorded")
    return Reading(
        quantile(finite, 0.5),
        status,
        how,
        quantile(finite, 0.05),
        quantile(finite, 0.95),
        len(finite),
    )


def quantile(ordered: list[float], q: float) -> float:
    """Return quantile ``q`` of an ascending, non-empty list, interpolating linearly."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

"""Units: conversion, reading "3 kWh", and showing a value as a person reads it."""

from __future__ import annotations

import math
import re

from wattlaw.core.errors import UsageError

_UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60, "h": 3600, "d": 86400},
    "J": {
        "J": 1, "mJ": 1e-3, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9,
        "Wh": 3.6e3, "kWh": 3.6e6, "MWh": 3.6e9,
    },
    "W": {"W": 1, "mW": 1e-3, "kW": 1e3, "MW": 1e6},
    "B": {
        "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    },
    "Hz": {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "eV": {"eV": 1, "meV": 1e-3},
    "1/s": {"1/s": 1, "/s": 1},
    "": {"": 1, "%": 0.01},
}  # fmt: skip
"""For each dimension, named by its SI unit: its units with their sizes in the SI unit."""

_PREFIXES = [
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
]


def convert(value: float, unit: str, into: str) -> float:
    """Return a value of one unit in another, such as 2 "h" as 7200 "s".

    Raises UsageError if a unit is unknown or the two measure different things.
    """
    if unit == into:
        return value
    units = units_like(into)
    if unit not in units:
        raise UsageError(
            f"{unit or 'a pure number'} is not a unit of {into}; valid: {', '.join(units)}"
        )
    return value * units[unit] / units[into]


def units_like(unit: str) -> dict[str, float]:
    """Return the units that measure the same as ``unit``, each with its size in the SI unit."""
    for units in _UNITS.values():
        if unit in units:
            return units
    return {unit: 1}


def parse_value(text: str, unit: str, what: str = "the value") -> float:
    """Read a value such as "3 kWh" and return it in ``unit``; without a unit it is in ``unit``
    already.

    ``what`` names the value in errors. Raises UsageError if the text is not a number with a fitting
    unit.
    """
    match = re.fullmatch(r"\s*([-+\d.]+(?:[eE][-+]?\d+)?|inf|nan)\s*(\S*)\s*", text)
    try:
        number = float(match[1]) if match else None
    except ValueError:
        number = None
    if match is None or number is None:
        raise UsageError(
            f"{what} is {text.strip()!r}; give a number{f' in {unit}' if unit else ''}"
        )
    suffix = match[2]
    if not suffix:
        return number
    if suffix not in units_like(unit):
        valid = ", ".join(filter(None, units_like(unit))) or "a number without a unit"
        raise UsageError(
            f"{what} is {text.strip()!r}; {suffix} is not a unit of it; valid: {valid}"
        )
    return convert(number, suffix, unit)


def show(value: float, unit: str = "", digits: int = 3) -> str:
    """Return a value as a person reads it: ``show(0.0123, "s")`` is "12.3 ms"."""
    if value != value:
        return "not a number"
    if value == 0:
        return f"0 {unit}".rstrip()
    if unit == "s" and abs(value) >= 100:
        return show_time(value)
    if unit == "1/s":
        return f"{show(value, '', digits)}/s"
    if math.isinf(value):
        return f"{'−' if value < 0 else ''}∞ {unit}".rstrip()
    if unit in ("h", "°C", "MHz", "meV", "meV/Å") or (unit == "" and abs(value) < 1e5):
        return f"{_round(value, digits)} {unit}".rstrip()
    if unit == "B":
        return _show_bytes(value, digits)
    for factor, prefix in _PREFIXES:  # noqa: B007
        # the next larger prefix wins if rounding would print 1000
        if abs(value) >= factor * (1 - 0.5 * 10**-digits):
            break
    return f"{_round(value / factor, digits)} {prefix}{unit}".rstrip()


def show_time(seconds: float) -> str:
    """Return a duration as "2 min 05 s", "3 h 04 min" or "12.3 ms"."""
    if abs(seconds) < 100:
        return show(seconds, "s")
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole / 86400:.1f} d"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 run", "2 runs"; ``many`` is an irregular plural."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _show_bytes(value: float, digits: int) -> str:
    for factor, prefix in [(2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")]:
        # 1000 and more of a unit are shown in the next larger one, so that no number has four
        # digits
        if abs(value) >= factor / 1.024 * (1 - 0.5 * 10**-digits):
            return f"{_round(value / factor, digits)} {prefix}B"
    return f"{_round(value, digits)} B"


def _round(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e+" not in text:
        return text
    return f"{value:.0f}" if abs(value) < 9999.5 else f"{value:,.0f}".replace(",", " ")

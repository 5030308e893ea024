"""A paragraph on what a study cost, fit for a paper: each number with its boundary and its status."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.run import Run
from wattlaw.core.units import counted

_BOUNDARIES = {"gpu": "GPUs", "cpu": "CPU packages", "dram": "memory", "node": "whole nodes"}
_JOULES_PER_KWH = 3.6e6
OWN = "wattlaw"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The energy of many runs within one boundary: sums by status, and how many runs have which."""

    boundary: str
    measured_j: float = 0.0
    estimated_j: float = 0.0
    measured: int = 0
    estimated: int = 0
    missing: int = 0
    how: tuple[str, ...] = ()
    why: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What runs cost in all. Energies and hours are those of the measured windows.

    ``counted_j`` is what the mass of CO2 and the money are computed from: whole nodes where they were
    measured in every run, else GPUs, CPU packages and memory together; ``counted_status`` is "measured"
    only where nothing of it was estimated. kg CO2e = kWh × PUE × g/kWh ÷ 1000; money = kWh × PUE × price.
    """

    runs: int
    failed: int
    hours: float
    device_hours: float
    tallies: tuple[Tally, ...]
    counted: str
    counted_j: float | None
    counted_status: str
    co2e_kg: float | None = None
    money: float | None = None
    text: str = ""


def statement(
    runs: Sequence[Run],
    *,
    grid_g_per_kwh: float | None = None,
    pue: float | None = None,
    price_per_kwh: float | None = None,
    currency: str = "EUR",
) -> Statement:
    """Return what runs cost, in numbers and as a paragraph.

    ``grid_g_per_kwh`` is the grid's carbon intensity, g CO2e/kWh, ``pue`` the site's power usage
    effectiveness, ``price_per_kwh`` money a kWh; nothing is assumed where one is not given. Raises
    UsageError where there is no run or a value is impossible.
    """
    if not runs:
        raise UsageError("there is no run to make a statement about")
    for name, value, least in (
        ("grid", grid_g_per_kwh, 0.0),
        ("pue", pue, 1.0),
        ("price", price_per_kwh, 0.0),
    ):
        if value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError(f"{name} is {value}; it must be at least {least:g}")
    tallies = tuple(tally(runs, b) for b in _BOUNDARIES)
    names, joules, status = _counted(tallies, len(runs))
    kwh = None if joules is None else joules / _JOULES_PER_KWH * (pue or 1.0)
    seconds = [(r.reading("elapsed_s").value or 0.0, r.setting.devices) for r in runs]
    found = Statement(
        runs=len(runs),
        failed=sum(r.state == "failed" for r in runs),
        hours=sum(s for s, _ in seconds) / 3600,
        device_hours=sum(s * n for s, n in seconds) / 3600,
        tallies=tallies,
        counted=names,
        counted_j=joules,
        counted_status=status,
        co2e_kg=None if kwh is None or grid_g_per_kwh is None else kwh * grid_g_per_kwh / 1000,
        money=None if kwh is None or price_per_kwh is None else kwh * price_per_kwh,
    )
    return msgspec.structs.replace(
        found, text=_text(found, runs, grid_g_per_kwh, pue, price_per_kwh, currency)
    )


def tally(runs: Sequence[Run], boundary: str) -> Tally:
    """Add the energies of runs within one boundary, measured and estimated ones apart."""
    readings = [r.reading(f"{boundary}_energy_j") for r in runs]
    by = {
        s: [r for r in readings if r.status == s and r.value is not None]
        for s in ("measured", "estimated")
    }
    without = [r.how for r in readings if r.value is None]
    return Tally(
        boundary=boundary,
        measured_j=sum(r.value or 0.0 for r in by["measured"]),
        estimated_j=sum(r.value or 0.0 for r in by["estimated"]),
        measured=len(by["measured"]),
        estimated=len(by["estimated"]),
        missing=len(without),
        how=tuple(dict.fromkeys(r.how for r in [*by["measured"], *by["estimated"]] if r.how))[:3],
        why=Counter(without).most_common(1)[0][0] if without else "",
    )


def _counted(tallies: Sequence[Tally], runs: int) -> tuple[str, float | None, str]:
    by = {t.boundary: t for t in tallies}
    if by["node"].measured == runs:
        return _BOUNDARIES["node"], by["node"].measured_j, "measured"
    parts = [t for b in ("gpu", "cpu", "dram") if (t := by[b]).measured or t.estimated]
    if not parts:
        return "", None, "missing"
    names = " and ".join(_BOUNDARIES[t.boundary] for t in parts)
    total = sum(t.measured_j + t.estimated_j for t in parts)
    return names, total, "estimated" if any(t.estimated for t in parts) else "measured"


def _text(
    s: Statement,
    runs: Sequence[Run],
    grid: float | None,
    pue: float | None,
    price: float | None,
    currency: str,
) -> str:
    machines = sorted(
        {r.machine.device_name or r.machine.cpu_name or "an unnamed machine" for r in runs}
    )
    hours = f"{_number(s.device_hours)} device-hours in {_windows(s, runs)}"
    words = [f"{_taken(s, runs)} on {'; '.join(machines)}: {hours}."]
    words += [_energy(t, s.runs) for t in s.tallies if t.measured or t.estimated]
    absent = [t for t in s.tallies if not (t.measured or t.estimated)]
    if absent:
        whats = ", ".join(f"{_BOUNDARIES[t.boundary]} ({t.why or 'not recorded'})" for t in absent)
        words.append(f"Not measured: {whats}.")
    words += _consequences(s, grid, pue, price, currency)
    return " ".join(words)


def _taken(s: Statement, runs: Sequence[Run]) -> str:
    """Return who measured the runs: nobody's records are called our own measurement."""
    versions = sorted({r.wattlaw for r in runs if r.wattlaw and r.source == OWN})
    failed = f", {s.failed} of which failed" if s.failed else ""
    read = [r.source for r in runs if r.source != OWN]
    sources = ", ".join(sorted(set(read)))
    own = len(runs) - len(read)
    wattlaw = f"wattlaw {', '.join(versions)}".rstrip()
    if not read:
        return f"We measured {counted(own, 'training run')}{failed} with {wattlaw}"
    if not own:
        return f"We took {counted(len(read), 'training run')}{failed} from records of others ({sources}), made"
    failed = f", {s.failed} of all of them failed" if s.failed else ""
    return (
        f"We measured {counted(own, 'training run')} with {wattlaw} and took {len(read)} from records of others "
        f"({sources}){failed}, made"
    )


def _windows(s: Statement, runs: Sequence[Run]) -> str:
    number = _number(s.hours)
    hours = f"{number} {'hour' if number == '1' else 'hours'}"
    if any(r.source != OWN for r in runs):
        return f"{hours} as recorded"
    return f"{hours} of measured windows (set-up and warm-up are not included)"


def _energy(t: Tally, runs: int) -> str:
    parts = []
    for joules, n, status in (
        (t.measured_j, t.measured, "measured"),
        (t.estimated_j, t.estimated, "estimated"),
    ):
        if n:
            parts.append(
                f"{_number(joules / _JOULES_PER_KWH)} kWh ({status}{'' if n == runs else f' in {n} of {runs} runs'})"
            )
    without = f"; missing in {counted(t.missing, 'run')}: {t.why}" if t.missing else ""
    return f"Energy of the {_BOUNDARIES[t.boundary]}: {' and '.join(parts)} [{'; '.join(t.how)}{without}]."


def _consequences(
    s: Statement, grid: float | None, pue: float | None, price: float | None, currency: str
) -> list[str]:
    asked = grid is not None or price is not None
    if s.counted_j is None:
        return ["No energy is known, so neither emissions nor costs are."] if asked else []
    factor = (
        f" at a PUE of {pue:g}"
        if pue is not None
        else " without the site's overhead (no PUE was given)"
    )
    known = min(t.measured + t.estimated for t in s.tallies if _BOUNDARIES[t.boundary] in s.counted)
    partly = "" if known == s.runs else f", in the {known} of {s.runs} runs where it is known,"
    status = " (estimated in part or whole)" if s.counted_status == "estimated" else ""
    basis = f"The energy of the {s.counted}{status}{partly}"
    words = []
    if s.co2e_kg is not None:
        words.append(f"{basis} means {_number(s.co2e_kg)} kg CO2e{factor} and {grid:g} g CO2e/kWh.")
    if s.money is not None:
        words.append(
            f"{basis} costs {_number(s.money)} {currency}{factor} and {price:g} {currency}/kWh."
        )
    return words


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"

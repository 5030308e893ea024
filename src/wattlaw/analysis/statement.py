"""The energy statement of a paper: one paragraph, with boundary and status."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.run import Run
from wattlaw.core.units import counted

_BOUNDARIES = {"gpu": "GPUs", "cpu": "CPU packages", "dram": "memory", "node": "whole nodes"}
_JOULES_PER_KWH = 3.6e6
OWN = "wattlaw"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The energy of many runs within one boundary: sums and numbers of runs, by status."""

    boundary: str
    measured_j: float = 0.0
    estimated_j: float = 0.0
    measured: int = 0
    estimated: int = 0
    missing: int = 0
    how: tuple[str, ...] = ()
    why: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The total cost of runs. Energies and hours are those of the measured windows.

    ``counted_j`` is the energy from which CO2e and money are computed: that of whole nodes if
    every run measured it, else that of GPUs, CPU packages and memory together. ``counted_status``
    is "measured" only if no part of it was estimated. kg CO2e = kWh × PUE × g/kWh ÷ 1000; money
    = kWh × PUE × price.
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
    """Return the total cost of runs, in numbers and as a paragraph.

    ``grid_g_per_kwh`` is the carbon intensity of the grid, g CO2e/kWh, ``pue`` the power usage
    effectiveness of the site, ``price_per_kwh`` the price of a kWh; there are no defaults for them.
    Raises UsageError if there is no run or a value is invalid.
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
    tallies = tuple(tally(runs, boundary) for boundary in _BOUNDARIES)
    names, joules, status = _counted(tallies, len(runs))
    kwh = None if joules is None else joules / _JOULES_PER_KWH * (pue or 1.0)
    seconds = device_seconds = 0.0
    for run in runs:
        elapsed_s = run.reading("elapsed_s").value or 0.0
        seconds += elapsed_s
        device_seconds += elapsed_s * run.setting.devices
    co2e_kg = money = None
    if kwh is not None and grid_g_per_kwh is not None:
        co2e_kg = kwh * grid_g_per_kwh / 1000
    if kwh is not None and price_per_kwh is not None:
        money = kwh * price_per_kwh
    found = Statement(
        runs=len(runs),
        failed=sum(run.state == "failed" for run in runs),
        hours=seconds / 3600,
        device_hours=device_seconds / 3600,
        tallies=tallies,
        counted=names,
        counted_j=joules,
        counted_status=status,
        co2e_kg=co2e_kg,
        money=money,
    )
    text = _text(found, runs, _Basis(grid_g_per_kwh, pue, price_per_kwh, currency))
    return msgspec.structs.replace(found, text=text)


def tally(runs: Sequence[Run], boundary: str) -> Tally:
    """Add the energies of runs within one boundary, measured and estimated ones separately."""
    joules: dict[str, list[float]] = {"measured": [], "estimated": []}
    sources: dict[str, list[str]] = {"measured": [], "estimated": []}
    reasons: Counter[str] = Counter()
    for run in runs:
        reading = run.reading(f"{boundary}_energy_j")
        if reading.value is None:
            reasons[reading.how] += 1
        elif reading.status in joules:
            joules[reading.status].append(reading.value)
            sources[reading.status].append(reading.how)
    distinct = dict.fromkeys(filter(None, [*sources["measured"], *sources["estimated"]]))
    return Tally(
        boundary=boundary,
        measured_j=sum(joules["measured"]),
        estimated_j=sum(joules["estimated"]),
        measured=len(joules["measured"]),
        estimated=len(joules["estimated"]),
        missing=reasons.total(),
        how=tuple(distinct)[:3],
        why=max(reasons, key=lambda reason: reasons[reason], default=""),
    )


def _counted(tallies: Sequence[Tally], runs: int) -> tuple[str, float | None, str]:
    by = {t.boundary: t for t in tallies}
    if by["node"].measured == runs:
        return _BOUNDARIES["node"], by["node"].measured_j, "measured"
    names, total, status = [], 0.0, "measured"
    for part in (by["gpu"], by["cpu"], by["dram"]):
        if part.measured or part.estimated:
            names.append(_BOUNDARIES[part.boundary])
            total += part.measured_j + part.estimated_j
        if part.estimated:
            status = "estimated"
    if not names:
        return "", None, "missing"
    return " and ".join(names), total, status


class _Basis(NamedTuple):
    # what the user gave for emissions and costs
    grid_g_per_kwh: float | None
    pue: float | None
    price_per_kwh: float | None
    currency: str


def _text(found: Statement, runs: Sequence[Run], basis: _Basis) -> str:
    names = {run.machine.device_name or run.machine.cpu_name for run in runs}
    machines = "; ".join(sorted(name or "an unnamed machine" for name in names))
    hours = f"{_number(found.device_hours)} device-hours in {_windows(found, runs)}"
    sentences, absent = [f"{_sources(found, runs)} on {machines}: {hours}."], []
    for tally in found.tallies:
        if tally.measured or tally.estimated:
            sentences.append(_energy(tally, found.runs))
        else:
            absent.append(f"{_BOUNDARIES[tally.boundary]} ({tally.why or 'not recorded'})")
    if absent:
        sentences.append(f"Not measured: {', '.join(absent)}.")
    sentences += _consequences(found, basis)
    return " ".join(sentences)


def _sources(found: Statement, runs: Sequence[Run]) -> str:
    """Return who measured the runs, and how many: imported records are named as such."""
    versions, imported = set(), []
    for run in runs:
        if run.source != OWN:
            imported.append(run.source)
        elif run.wattlaw:
            versions.add(run.wattlaw)
    sources, own = ", ".join(sorted(set(imported))), len(runs) - len(imported)
    failed = f" ({found.failed} failed)" if found.failed else ""
    wattlaw = f"wattlaw {', '.join(sorted(versions))}".rstrip()
    if not imported:
        return f"We measured {counted(own, 'training run')}{failed} with {wattlaw}"
    if not own:
        count = counted(len(imported), "training run")
        return f"We took {count}{failed} from imported records ({sources}), made"
    failed = f"; {found.failed} of all of them failed;" if found.failed else ","
    return (
        f"We measured {counted(own, 'training run')} with {wattlaw} and took {len(imported)} from "
        f"imported records ({sources}){failed} made"
    )


def _windows(found: Statement, runs: Sequence[Run]) -> str:
    number = _number(found.hours)
    hours = "1 hour" if number == "1" else f"{number} hours"
    if any(run.source != OWN for run in runs):
        return f"{hours} as recorded"
    return f"{hours} of measured windows (set-up and warm-up are not included)"


def _energy(tally: Tally, runs: int) -> str:
    parts = []
    for joules, count, status in (
        (tally.measured_j, tally.measured, "measured"),
        (tally.estimated_j, tally.estimated, "estimated"),
    ):
        if count:
            where = "" if count == runs else f" in {count} of {runs} runs"
            parts.append(f"{_number(joules / _JOULES_PER_KWH)} kWh ({status}{where})")
    sources = "; ".join(tally.how)
    if tally.missing:
        sources += f"; missing in {counted(tally.missing, 'run')}: {tally.why}"
    return f"Energy of the {_BOUNDARIES[tally.boundary]}: {' and '.join(parts)} [{sources}]."


def _consequences(found: Statement, basis: _Basis) -> list[str]:
    if found.counted_j is None:
        has_basis = basis.grid_g_per_kwh is not None or basis.price_per_kwh is not None
        return ["Emissions and costs are unknown, because no energy is known."] if has_basis else []
    factor = " without the overhead of the site (no PUE was given)"
    if basis.pue is not None:
        factor = f" at a PUE of {basis.pue:g}"
    known = found.runs
    for tally in found.tallies:
        if _BOUNDARIES[tally.boundary] in found.counted:
            known = min(known, tally.measured + tally.estimated)
    energy = f"The energy of the {found.counted}"
    if found.counted_status == "estimated":
        energy += " (estimated in part or whole)"
    if known != found.runs:
        energy += f", in the {known} of {found.runs} runs where it is known,"
    sentences = []
    if found.co2e_kg is not None:
        mass, grid = _number(found.co2e_kg), basis.grid_g_per_kwh
        sentences.append(f"{energy} means {mass} kg CO2e{factor} and {grid:g} g CO2e/kWh.")
    if found.money is not None:
        money, currency = _number(found.money), basis.currency
        price = f"{basis.price_per_kwh:g} {currency}/kWh"
        sentences.append(f"{energy} costs {money} {currency}{factor} and {price}.")
    return sentences


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"

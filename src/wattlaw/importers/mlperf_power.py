"""Node energy of an MLPerf run: the trapezoid of 1 Hz power over the run's own window."""

from __future__ import annotations

import itertools

from wattlaw.core.errors import DataError
from wattlaw.core.reading import Note, Reading
from wattlaw.core.units import counted
from wattlaw.importers.imported import Imported, number
from wattlaw.importers.mlperf_log import events


def window_energy(logs: dict[str, str], window: tuple[float, float]) -> tuple[Reading, list[Note]]:
    """Return the nodes' energy within ``window`` (s since the epoch), as metered, and notes.

    ``logs`` maps node_M or sw_M to the text of its power log. Whether the meter saw AC or DC is said, with the
    energy on the other side of the conversion; network switches are not counted in the nodes.
    Raises DataError where a node's readings do not cover the window.
    """
    energies, efficiencies, kinds = {}, set(), set()
    switches: list[float] = []
    for name, text in sorted(logs.items()):
        series, efficiency, kind = _series(text, name)
        if name.startswith("sw"):
            switches += covered(series, window, name)
        else:
            energies[name] = trapezoid(series, window, name)
            efficiencies.add(efficiency)
            kinds.add(kind)
    nodes = list(energies.values())
    if not nodes:
        raise DataError("power was logged for switches only")
    total = sum(nodes)
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    how = f"trapezoid of the power of {counted(len(nodes), 'node')} over the run, {kind or 'AC or DC not stated'}"
    efficiency = efficiencies.pop() if len(efficiencies) == 1 else None
    if efficiency and kind in ("AC", "DC"):
        other = total * efficiency if kind == "AC" else total / efficiency
        how += f"; {'DC' if kind == 'AC' else 'AC'} at conversion_eff {efficiency:g}: {other:.6g} J"
    notes = []
    if switches:
        notes.append(
            Note(
                "switch_energy",
                f"the network switch drew {sum(switches):.4g} J more, not counted in the nodes",
            )
        )
    return Reading(total, "measured", how), notes


def covered(
    series: list[tuple[float, float]], window: tuple[float, float], name: str
) -> list[float]:
    """Return the integral in a list, or no value where the readings do not cover the window."""
    try:
        return [trapezoid(series, window, name)]
    except DataError:
        return []


def trapezoid(series: list[tuple[float, float]], window: tuple[float, float], name: str) -> float:
    """Return the integral, J, of power (time s, W) between two times; ends are interpolated.

    Raises DataError where the readings begin after the window or end before it by more than 2 s.
    """
    start, stop = window
    if len(series) < 2 or series[0][0] > start + 2 or series[-1][0] < stop - 2:
        raise DataError(f"{name}: its power readings do not cover the run")
    total = 0.0
    for (t0, p0), (t1, p1) in itertools.pairwise(series):
        a, b = max(t0, start), min(t1, stop)
        if b > a and t1 > t0:
            slope = (p1 - p0) / (t1 - t0)
            total += (b - a) * (p0 + slope * ((a + b) / 2 - t0))
    # up to 2 s without a reading at an end: the nearest one stands for them
    total += (
        max(series[0][0] - start, 0.0) * series[0][1]
        + max(stop - series[-1][0], 0.0) * series[-1][1]
    )
    return total


def _series(text: str, name: str) -> tuple[list[tuple[float, float]], float | None, str]:
    series: list[tuple[float, float]] = []
    efficiency, kind = None, ""
    for _, event in events(text, name, Imported()):
        time, value = number(event.get("time_ms")), number(event.get("value"))
        if (
            event.get("key") == "power_reading"
            and time is not None
            and value is not None
            and value >= 0
        ):
            series.append((time / 1e3, value))
        elif event.get("key") == "conversion_eff" and value and 0 < value <= 1:
            extra = event.get("metadata")
            efficiency, kind = (
                value,
                str(extra.get("measurement_type", "")) if isinstance(extra, dict) else "",
            )
    return sorted(series), efficiency, kind

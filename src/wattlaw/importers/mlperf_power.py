"""Node energy of an MLPerf run: the trapezoid of 1 Hz power over the run's own window."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import NamedTuple

from wattlaw.core.errors import DataError
from wattlaw.core.integrate import gaps, trapezoid
from wattlaw.core.reading import Note, Reading, measured
from wattlaw.core.units import counted
from wattlaw.importers.importer import Imported, number
from wattlaw.importers.mlperf_result import events

_SLACK_S = 2.0
_SLACK_PERIODS = 1.5
"""The log may begin or end this long inside the run; the nearest reading is used there."""

_MAX_GAP_SHARE = 0.05
"""Gaps in the readings are interpolated over if they are at most this share of the run."""


class PowerLog(NamedTuple):
    """The power of one node or switch.

    points      (time in s since 1970, power in W), by ascending time
    efficiency  DC ÷ AC power of its supply, in (0, 1]; None if it is not logged
    side        side of the supply that was metered, "AC" or "DC"; "" if it is not logged
    """

    points: list[tuple[float, float]]
    efficiency: float | None
    side: str

    def energy(self, window: tuple[float, float]) -> float:
        """Return the energy in J over ``window`` (s since 1970)."""
        times, powers = zip(*self.points, strict=True)
        return trapezoid(times, powers, *window)

    def gap_s(self, window: tuple[float, float]) -> float:
        """Return the time in s of ``window`` that lies in gaps between readings."""
        start, stop = window
        times = [time for time, _ in self.points]
        total = 0.0
        for i in gaps(times):
            total += max(0.0, min(times[i], stop) - max(times[i - 1], start))
        return total


def window_energy(
    logs: dict[str, str], window: tuple[float, float]
) -> tuple[Reading, tuple[Note, ...]]:
    """Return the energy of the nodes in J over ``window`` (s since 1970), and notes.

    ``logs`` maps node_M or sw_M to the text of its power log. The energy is that of the metered
    side of the power supply; the text of the reading gives the other side. Switches are not part
    of the nodes.
    Raises DataError if the readings of a node do not cover the window.
    """
    nodes, switch_energies, notes = [], [], []
    energy = 0.0
    for name, text in sorted(logs.items()):
        log = _parse(text, name)
        is_covered = _covers(log, window)
        if name.startswith("sw"):
            if is_covered:
                switch_energies.append(log.energy(window))
            continue
        if not is_covered:
            raise DataError(f"{name}: its power readings do not cover the run")
        nodes.append(log)
        gap_s = log.gap_s(window)
        if gap_s > 0:
            text = f"{name} was not read for {gap_s:.3g} s; its power there is interpolated"
            notes.append(Note("sampling_gap", text))
        energy += log.energy(window)
    if not nodes:
        raise DataError("power was logged for switches only")
    reading = measured(energy, _how(nodes, energy))
    if not switch_energies:
        return reading, tuple(notes)
    text = f"the network switch used {sum(switch_energies):.4g} J more; the nodes exclude it"
    notes.append(Note("switch_energy", text))
    return reading, tuple(notes)


def _how(nodes: list[PowerLog], energy: float) -> str:
    sides = {log.side for log in nodes}
    efficiencies = {log.efficiency for log in nodes}
    side = "mixed AC and DC"
    if len(sides) == 1:
        side = sides.pop()
    how = f"trapezoid of the power of {counted(len(nodes), 'node')} over the run"
    how += f", {side or 'AC or DC not stated'}"
    efficiency = efficiencies.pop() if len(efficiencies) == 1 else None
    if efficiency and side == "AC":
        how += f"; DC at conversion_eff {efficiency:g}: {energy * efficiency:.6g} J"
    elif efficiency and side == "DC":
        how += f"; AC at conversion_eff {efficiency:g}: {energy / efficiency:.6g} J"
    return how


def _covers(log: PowerLog, window: tuple[float, float]) -> bool:
    start, stop = window
    times = [time for time, _ in log.points]
    if len(times) < 2:
        return False
    period = median(after - before for before, after in pairwise(times))
    slack = max(_SLACK_S, _SLACK_PERIODS * period)
    if log.gap_s(window) > _MAX_GAP_SHARE * (stop - start):
        return False
    return times[0] <= start + slack and times[-1] >= stop - slack


def _parse(text: str, name: str) -> PowerLog:
    points: list[tuple[float, float]] = []
    efficiency, side = None, ""
    for _, event in events(text, name, Imported()):
        key, value, time = event.key, number(event.value), event.time_ms
        if key == "power_reading" and time is not None and value is not None and value >= 0:
            points.append((time / 1e3, value))
        elif key == "conversion_eff" and value and 0 < value <= 1:
            efficiency = value
            side = str(event.metadata.get("measurement_type", ""))
    return PowerLog(sorted(points), efficiency, side)

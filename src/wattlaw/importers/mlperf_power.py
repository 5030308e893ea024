"""Node energy of an MLPerf run: the trapezoid of 1 Hz power over the run's own window."""

from __future__ import annotations

from typing import NamedTuple

from wattlaw.core.errors import DataError
from wattlaw.core.integrate import trapezoid
from wattlaw.core.reading import Note, Reading, measured
from wattlaw.core.units import counted
from wattlaw.importers.importer import Imported, number
from wattlaw.importers.mlperf_result import events

_SLACK_S = 2.0
"""The log may begin or end this long inside the run; the nearest reading is used there."""


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


def window_energy(
    logs: dict[str, str], window: tuple[float, float]
) -> tuple[Reading, tuple[Note, ...]]:
    """Return the energy of the nodes in J over ``window`` (s since 1970), and notes.

    ``logs`` maps node_M or sw_M to the text of its power log. The energy is that of the metered
    side of the power supply; the text of the reading gives the other side. Switches are not part
    of the nodes.
    Raises DataError if the readings of a node do not cover the window.
    """
    nodes, switch_energies = [], []
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
        energy += log.energy(window)
    if not nodes:
        raise DataError("power was logged for switches only")
    reading = measured(energy, _how(nodes, energy))
    if not switch_energies:
        return reading, ()
    text = f"the network switch used {sum(switch_energies):.4g} J more; the nodes exclude it"
    return reading, (Note("switch_energy", text),)


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
    if len(log.points) < 2:
        return False
    return log.points[0][0] <= start + _SLACK_S and log.points[-1][0] >= stop - _SLACK_S


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

"""Loads of known energy, simulated devices that measure them, and a sampler in simulated time.

A load is a list of knots (time s, power W, energy so far J), with linear power between knots. A
device updates its power reading and its energy counter every ``update_s``. The period varies by 2 %
between devices, each update has 0.5 ms of jitter, and the phase is random. A power reading is the
mean over the last ``mean_s``.
"""

from __future__ import annotations

import bisect
import math
import random
from array import array
from typing import NamedTuple

from wattlaw.devices.meter import DeviceInfo, Probe, Sample, Scope, lag_of
from wattlaw.devices.meters.replay import Replay
from wattlaw.measuring.files.host_files import Host, HostWindow, Series
from wattlaw.measuring.sampling.dense_readings import DenseSchedule

HZ = 10.0
ASSUMED_UPDATE_S = 0.1
IDLE_W, FULL_W = 60.0, 400.0
LOOK_COST_S, READ_COST_S = 6e-5, 3e-4
"""Assumed CPU time of one counter check and of one full reading, s."""

NOISE_W = 0.3
"""Standard deviation of the sensor noise, far below a change of load."""

Knots = list[tuple[float, float, float]]


class Device(NamedTuple):
    """How a device reports its power and energy."""

    update_s: float
    mean_s: float = 0.0
    has_counter: bool = False


def load(kind: str, every_s: float, until_s: float, chance: random.Random) -> Knots:
    """Return a load that switches about every ``every_s``, from a random phase.

    kind   "square", "ramp" or "bursts"
    """
    period = every_s * chance.uniform(0.8, 1.25)
    t, points, is_on = -chance.uniform(0, period), [], chance.random() < 0.5
    while t < until_s:
        watts = FULL_W if is_on else IDLE_W
        first = IDLE_W + FULL_W - watts if kind == "ramp" else watts
        points.append((t, first, watts))
        t += chance.expovariate(1 / every_s) + 0.05 if kind == "bursts" else period
        is_on = not is_on
    knots: Knots = []
    joules = 0.0
    ends = [t for t, *_ in points[1:]] + [until_s + 10]
    for (start, first, last), end in zip(points, ends, strict=True):
        knots.append((start, first, joules))
        joules += (first + last) / 2 * (end - start)
        knots.append((end, last, joules))
    return knots


def energy(knots: Knots, at: float) -> float:
    """Return the energy up to a time, J."""
    i = min(max(bisect.bisect_right(knots, (at, math.inf, math.inf)), 1), len(knots) - 1)
    (t0, w0, j0), (t1, w1, _) = knots[i - 1], knots[i]
    w = w0 + (w1 - w0) * (at - t0) / (t1 - t0) if t1 > t0 else w0
    return j0 + (w0 + w) / 2 * (at - t0)


def rows(knots: Knots, device: Device, until_s: float, chance: random.Random) -> list[Sample]:
    """Return the readings of the device, one for each update."""
    period = device.update_s * chance.uniform(0.98, 1.02)
    phase, found = chance.uniform(0, period), []
    for i in range(int(until_s / period)):
        at = phase + i * period + chance.gauss(0, 5e-4)
        mean = max(device.mean_s, 1e-4)
        watts = (energy(knots, at) - energy(knots, at - mean)) / mean + chance.gauss(0, NOISE_W)
        joules = energy(knots, at) if device.has_counter else None
        found.append(Sample(time_s=at, device="gpu:0", power_w=watts, energy_j=joules))
    return found


def measured(
    shown: list[Sample],
    device: Device,
    start: float,
    end: float,
    chance: random.Random,
    *,
    knows_edges: bool = True,
) -> HostWindow:
    """Return the recording of a sampler at 10 Hz over a window.

    A sampler that knows the edges of the window starts just before it. Otherwise it runs from long
    before the window to some time after.
    """
    # what the NVIDIA meter assumes of a device that it has not yet observed
    lag = ASSUMED_UPDATE_S / 2 + 0.5 if device.mean_s >= 1 else lag_of(ASSUMED_UPDATE_S)
    info = DeviceInfo(
        id="gpu:0",
        boundary="gpu",
        meter="replay",
        energy="counter" if device.has_counter else "power",
        update_s=ASSUMED_UPDATE_S,
        lag_s=lag,
    )
    now = [start - 0.02 if knows_edges else max(shown[0].time_s, start - 15 - chance.random())]
    meter = Replay(Scope(root_pid=1), clock=lambda: now[0])
    meter.rows, meter.times = {"gpu:0": shown}, {"gpu:0": [s.time_s for s in shown]}
    rule = DenseSchedule([info], now[0])
    edges = [start, end] if knows_edges else []
    stop = end if knows_edges else end + 3
    series, tick, taken = Series(), now[0], meter.read()
    while now[0] < stop or not rule.is_settled(now[0]) or edges:
        due = rule.due(now[0])
        now[0] = min([tick, due, *edges[:1]]) + chance.expovariate(1e4)
        if edges and now[0] >= edges[0]:
            rule.edge(edges.pop(0))
            taken += meter.read()
        elif now[0] >= tick:
            tick += 1 / HZ
            now[0] += chance.uniform(0, 0.003)
            taken += meter.read()
        else:
            taken += rule.take(meter.read_quick(), now[0], LOOK_COST_S)
    taken.sort(key=lambda s: s.time_s)
    for name in ("power_w", "energy_j"):
        column = series.columns[name] = Series().column(name)
        known = [sample for sample in taken if getattr(sample, name) is not None]
        column.times = array("d", (sample.time_s for sample in known))
        column.values = array("d", (getattr(sample, name) for sample in known))
    probe = Probe(meter="replay", devices=(rule.with_observed_period(info),))
    host = Host(host="h", hz=HZ, probes=(probe,))
    return HostWindow(host, {"gpu:0": series}, start, end)

"""From the files of an attempt to its totals: each quantity with its status, and the warnings beside them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Machine
from wattlaw.measuring.device_use import DeviceUse, bytes_moved, device_uses
from wattlaw.measuring.host import Host, boot_id, clock_pair, read_host
from wattlaw.measuring.notes import host_notes, rank_notes
from wattlaw.measuring.series import growth, highest_sum, mean, peak, within
from wattlaw.measuring.stepping import Ranks, split, step_notes, step_quantities, window
from wattlaw.measuring.steps import Rank, read_rank, read_steps
from wattlaw.measuring.telemetry import Column, read_telemetry
from wattlaw.measuring.window_energy import (
    EDGE_MARGIN_S,
    DeviceEnergy,
    HostWindow,
    boundary_energy,
    cut_to,
    device_energies,
    energy_notes,
    with_estimate,
)

_NEVER_0 = {
    "cpu_time_s": "the CPU time of the job's processes is below the system's tick, or they were never seen alive",
    "memory_peak_bytes": "no process of the job was alive when its memory was read",
}
"""Where these are 0 or were not read, they are missing for this reason."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt's files say. ``window`` is (start, end) in UTC s since 1970, ``started`` its start as text."""

    quantities: dict[str, Reading]
    warnings: tuple[Note, ...] = ()
    machine: Machine = Machine()
    window: tuple[float, float] = (0.0, 0.0)
    started: str = ""
    devices: tuple[DeviceUse, ...] = ()


def summarise(
    attempt: Path,
    devices: int | None = None,
    between: tuple[float, float] | None = None,
    cpu_time_s: float | None = None,
) -> Summary:
    """Summarise an attempt: steps of all ranks, telemetry of all hosts.

    ``devices`` is how many processes were asked for, where known. The measured window lies between the
    latest first start and the latest last end of the steps after warm-up, or where ``between`` says
    (this host's monotonic clock, s). ``cpu_time_s`` replaces the job's sampled CPU time where it is known
    better. Raises DamagedRunError or RecordError naming the file.
    """
    with explained(attempt):
        hosts = [read_host(p) for p in sorted(attempt.glob("host-*.json"))]
        steps = {_number(p): read_steps(p) for p in sorted(attempt.glob("steps-*.csv"))}
        known = {rank: read_rank(attempt / f"rank-{rank}.json") for rank in steps}
    offsets = {rank: _offset(known[rank], hosts) for rank in steps}
    # one host's monotonic clock serves for all, so that on a single host no digit of a time is lost
    base = _base(hosts, offsets)
    ranks = split(steps, {rank: offset - base for rank, offset in offsets.items()})
    whole = between or window(ranks) or _telemetry_span(hosts, base)
    with explained(attempt):
        windows = [_host_window(attempt, h, whole, base) for h in hosts]
    return _summary(ranks, windows, (whole[0], whole[1], base), known, devices, cpu_time_s)


def parts(attempt: Path, spans: Sequence[tuple[float, float]]) -> list[dict[str, Reading]]:
    """Return time, energies and use of each span (this host's monotonic clock, s) of an attempt, one host or more.

    Raises DamagedRunError or RecordError naming the file.
    """
    with explained(attempt, "read"):
        hosts = [read_host(p) for p in sorted(attempt.glob("host-*.json"))]
        base = _base(hosts, {})
        whole = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0.0, 0.0)
        windows = [_host_window(attempt, h, whole, base) for h in hosts]
    found = []
    for start, end in spans:
        cut = [cut_to(w, start + base - w.host.offset_s, end + base - w.host.offset_s) for w in windows]
        energy = [e for w in cut for e in device_energies(w)]
        elapsed = measured(end - start, "monotonic clock")
        found.append({"elapsed_s": elapsed, **usage(cut), **energies(cut, energy, end - start, None)})
    return found


def _summary(
    ranks: Ranks,
    windows: list[HostWindow],
    whole: tuple[float, float, float],
    known: dict[int, Rank | None],
    devices: int | None,
    cpu_time_s: float | None,
) -> Summary:
    elapsed = whole[1] - whole[0]
    found = [e for w in windows for e in device_energies(w)]
    quantities = {"elapsed_s": measured(elapsed, "monotonic clock")}
    notes = [
        n for w in windows for n in [*energy_notes(w, [e for e in found if e.host == w.host.host]), *host_notes(w)]
    ]
    if any(ranks.measured.values()) or any(ranks.warmup.values()):
        quantities |= step_quantities(ranks, elapsed)
        quantities["setup_s"] = _setup(ranks, windows, whole[2])
        notes += step_notes(ranks)
    quantities |= usage(windows)
    quantities |= energies(windows, found, elapsed, cpu_time_s)
    notes += rank_notes(ranks, windows, known, devices)
    if not any(e.reading.status == "measured" for e in found):
        notes.append(Note("no_energy_meter", "nothing measures energy here; `wattlaw doctor` says what would"))
    return Summary(
        quantities=quantities,
        warnings=tuple(dict.fromkeys(notes)),
        machine=_machine(windows),
        window=(whole[0] + whole[2], whole[1] + whole[2]),
        started=utc_text(whole[0] + whole[2]),
        devices=tuple(use for w in windows for use in device_uses(w, found)),
    )


def energies(
    windows: list[HostWindow], found: list[DeviceEnergy], elapsed_s: float, cpu_time_s: float | None
) -> dict[str, Reading]:
    """Return energy and mean power within each boundary; the CPU's is estimated where nothing measures it."""
    cpu_time = _sum(windows, "job", "cpu_time_s", growth) if cpu_time_s is None else cpu_time_s
    quantities = {
        "gpu_energy_j": boundary_energy("gpu", windows, found),
        "cpu_energy_j": with_estimate(boundary_energy("cpu", windows, found), cpu_time),
        "dram_energy_j": boundary_energy("dram", windows, found),
        "node_energy_j": boundary_energy("node", windows, found),
    }
    for name in ("gpu", "cpu"):
        quantities[f"{name}_mean_power_w"] = _over_time(quantities[f"{name}_energy_j"], elapsed_s)
    quantities["gpu_max_power_w"] = _highest_power(windows)
    return quantities


def usage(windows: list[HostWindow]) -> dict[str, Reading]:
    """Return utilisation, memory, temperature, clocks and bytes moved over the window."""
    gpus = [s for w in windows for d, s in w.series.items() if d.startswith("gpu:")]
    reads: dict[str, tuple[float | None, str]] = {
        "cpu_time_s": (_sum(windows, "job", "cpu_time_s", growth), "processes of the job"),
        "memory_peak_bytes": (_sum(windows, "job", "memory_used_bytes", peak), "processes of the job, sampled"),
        "cpu_utilisation": (_mean(_each(windows, "node", "utilisation", mean)), "all cores of the hosts"),
    }
    if gpus:
        for name, column, take, join, how in (
            ("gpu_utilisation", "utilisation", mean, _mean, "mean of the GPUs"),
            ("gpu_memory_peak_bytes", "memory_used_bytes", peak, _highest, "fullest GPU, sampled"),
            ("gpu_temperature_c", "temperature_c", peak, _highest, "hottest GPU"),
            ("sm_clock_mhz", "sm_clock_mhz", mean, _mean, "mean of the GPUs"),
            ("memory_clock_mhz", "memory_clock_mhz", mean, _mean, "mean of the GPUs"),
        ):
            reads[name] = (join(_each(windows, "gpu:", column, take)), how)
    return {n: _read(n, v, how) for n, (v, how) in reads.items()} | bytes_moved(windows)


def _read(name: str, value: float | None, how: str) -> Reading:
    if value is None or (value == 0 and name in _NEVER_0):
        return missing(_NEVER_0.get(name, "it was not read in the window"))
    return measured(value, how)


def utc_text(utc_s: float) -> str:
    """Return seconds since 1970 as "2026-11-23T05:06:41.123Z"."""
    when = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(path: Path) -> int:
    text = path.stem.removeprefix("steps-")
    if not text.isdigit():
        raise DamagedRunError(f"{path}: a rank's number is needed in its name, as in steps-0.csv")
    return int(text)


def _offset(rank: Rank | None, hosts: list[Host]) -> float:
    """Return what turns a rank's monotonic times into UTC s: its host's own, so that steps and telemetry fit."""
    for host in hosts:
        if rank is None or (rank.host == host.host and rank.boot_id == host.boot_id):
            return host.offset_s
    return rank.clock[1] - rank.clock[0] if rank else 0.0


def _base(hosts: list[Host], offsets: dict[int, float]) -> float:
    """Return the offset of the clock on which all times are put: this host's own, as its sampler read it."""
    here = boot_id()
    own = [h.offset_s for h in hosts if h.boot_id == here]
    if own:
        return own[0]
    if not hosts:
        return next(iter(offsets.values()), 0.0)
    monotonic, utc = clock_pair()
    return utc - monotonic


def _telemetry_span(hosts: list[Host], base_s: float) -> tuple[float, float]:
    starts = [h.clock_start[1] - base_s for h in hosts]
    ends = [h.clock_end[0] + h.offset_s - base_s for h in hosts if h.clock_end]
    return (max(starts), max(ends)) if starts and ends else (0.0, 0.0)


def _host_window(attempt: Path, host: Host, whole: tuple[float, float], base_s: float) -> HostWindow:
    start, end = (t + base_s - host.offset_s for t in whole)
    path = attempt / f"telemetry-{host.host}.csv"
    series = read_telemetry(path, start - EDGE_MARGIN_S, end + EDGE_MARGIN_S) if path.exists() else {}
    return HostWindow(host, series, start, end)


def _setup(ranks: Ranks, windows: list[HostWindow], base_s: float) -> Reading:
    firsts = [s[0].start_s for kind in ranks for s in kind.values() if s]
    began = min((w.host.clock_start[1] for w in windows), default=base_s) - base_s
    if not firsts or not windows or min(firsts) < began:
        return missing("the sampler started after the first step")
    return measured(min(firsts) - began, "from the sampler's start")


def _each(
    windows: list[HostWindow], device: str, column: str, take: Callable[[Column, float, float], float | None]
) -> list[float]:
    values = [
        take(series.column(column), w.start_s, w.end_s)
        for w in windows
        for name, series in w.series.items()
        if name == device or (device.endswith(":") and name.startswith(device))
    ]
    return [v for v in values if v is not None and math.isfinite(v)]


def _sum(
    windows: list[HostWindow], device: str, column: str, take: Callable[[Column, float, float], float | None]
) -> float | None:
    values = _each(windows, device, column, take)
    return sum(values) if values and len(values) == len(windows) else None


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def _highest(values: Iterable[float]) -> float | None:
    return max(values, default=None)


def _over_time(energy: Reading, elapsed_s: float) -> Reading:
    if energy.value is None or elapsed_s <= 0:
        return missing(energy.how or "the window has no length")
    return Reading(energy.value / elapsed_s, energy.status, energy.how)


def _highest_power(windows: list[HostWindow]) -> Reading:
    tops = []
    for w in windows:
        columns = [s.column("power_w") for d, s in sorted(w.series.items()) if d.startswith("gpu:")]
        columns = [c for c in columns if len(within(c, w.start_s, w.end_s))]
        top = highest_sum(columns, w.start_s, w.end_s) if columns else None
        if top is not None:
            tops.append(top)
    return measured(sum(tops), "sampled power") if tops else missing("no power of a GPU was read in the window")


def _machine(windows: list[HostWindow]) -> Machine:
    if not windows:
        return Machine(hosts=0)
    host = windows[0].host
    gpus = [d.name for w in windows for d in w.host.devices if d.boundary == "gpu"]
    return Machine(
        device_type="cuda" if gpus else "cpu",
        device_name=gpus[0] if gpus else host.cpu_name,
        hosts=len(windows),
        cores=host.cores,
        cpu_name=host.cpu_name,
    )

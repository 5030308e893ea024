"""From the files of an attempt to its totals: each quantity with its status, and the warnings beside them."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.files import explained
from wattlaw.core.reading import Note, Reading, Status, measured, missing
from wattlaw.core.run import Machine
from wattlaw.core.units import counted
from wattlaw.measuring.files.host_files import Column, HostWindow, cut_to
from wattlaw.measuring.files.rank_files import Pause, Rank
from wattlaw.measuring.limits.gpu_freq import asked, clock_notes
from wattlaw.measuring.reduce.attempt import (
    Attempt,
    Ranks,
    Span,
    base_of,
    host_window,
    read_attempt,
    read_hosts,
    telemetry_span,
    window,
    without,
)
from wattlaw.measuring.reduce.device_use import (
    BOUNDARIES,
    HOLDING_DOWN,
    DeviceEnergy,
    DeviceUse,
    boundary_energy,
    bytes_moved,
    device_energies,
    device_uses,
    energy_notes,
    with_estimate,
)
from wattlaw.measuring.reduce.series import growth, highest_sum, mean, peak, within
from wattlaw.measuring.reduce.step_quantities import step_notes, step_quantities

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
    (this host's monotonic clock, s). ``cpu_time_s`` is the job's CPU time as the system accounts for it; an energy
    that is estimated from CPU time takes the larger of it and the sampled one. Raises DamagedRunError or RecordError
    naming the file.
    """
    read = read_attempt(attempt)
    whole = between or window(read.ranks) or telemetry_span(read.hosts, read.base_s)
    windows = read.windows(whole)
    found = _summary(read, windows, whole, devices, cpu_time_s)
    return msgspec.structs.replace(
        found, warnings=(*found.warnings, *clock_notes(asked(attempt), windows))
    )


def parts(attempt: Path, spans: Sequence[tuple[float, float]]) -> list[dict[str, Reading]]:
    """Return time, energies and use of each span (this host's monotonic clock, s) of an attempt, one host or more.

    Raises DamagedRunError or RecordError naming the file.
    """
    with explained(attempt, "read"):
        hosts = read_hosts(attempt)
        base = base_of(hosts, {})
        whole = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0.0, 0.0)
        windows = [host_window(attempt, h, whole, base) for h in hosts]
    found = []
    for start, end in spans:
        cut = [
            cut_to(w, start + base - w.host.offset_s, end + base - w.host.offset_s) for w in windows
        ]
        energy = [e for w in cut for e in device_energies(w)]
        elapsed = measured(end - start, "monotonic clock")
        found.append(
            {"elapsed_s": elapsed, **usage(cut), **energies(cut, energy, end - start, None)}
        )
    return found


def _summary(
    read: Attempt,
    windows: list[HostWindow],
    whole: Span,
    devices: int | None,
    cpu_time_s: float | None,
) -> Summary:
    ranks, spans = read.ranks, without(whole, read.pauses)
    elapsed = sum(end - start for start, end in spans)
    found = [e for w in windows for e in device_energies(w)]
    quantities = {"elapsed_s": measured(elapsed, "monotonic clock")}
    notes = [
        n
        for w in windows
        for n in [*energy_notes(w, [e for e in found if e.host == w.host.host]), *host_notes(w)]
    ]
    if any(ranks.measured.values()) or any(ranks.warmup.values()):
        quantities |= step_quantities(ranks, elapsed)
        quantities["setup_s"] = _setup(ranks, windows, read.base_s)
        notes += step_notes(ranks)
    quantities |= usage(windows)
    quantities |= energies(windows, found, elapsed, cpu_time_s)
    if spans != [whole]:
        quantities |= _paused(totals(windows, spans, read.base_s))
    quantities |= pause_times(read.pauses)
    notes += rank_notes(ranks, windows, read.known, devices) + time_notes(windows)
    if not any(e.reading.status == "measured" for e in found):
        notes.append(
            Note(
                "no_energy_meter", "nothing measures energy here; `wattlaw doctor` says what would"
            )
        )
    return Summary(
        quantities=quantities,
        warnings=tuple(dict.fromkeys(notes)),
        machine=_machine(windows),
        window=(whole[0] + read.base_s, whole[1] + read.base_s),
        started=utc_text(whole[0] + read.base_s),
        devices=tuple(use for w in windows for use in device_uses(w, found)),
    )


def _paused(sums: dict[str, Reading]) -> dict[str, Reading]:
    elapsed_s = sums["elapsed_s"].value or 0.0
    powers = {
        f"{b}_mean_power_w": _over_time(sums[f"{b}_energy_j"], elapsed_s) for b in ("gpu", "cpu")
    }
    told = {
        n: msgspec.structs.replace(r, how=f"{r.how}; pauses left out")
        for n, r in sums.items()
        if r.value
    }
    return {**sums, **told, **powers}


def energies(
    windows: list[HostWindow], found: list[DeviceEnergy], elapsed_s: float, cpu_time_s: float | None
) -> dict[str, Reading]:
    """Return energy and mean power within each boundary; the CPU's is estimated where nothing measures it."""
    sampled = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    # the account of a command leaves out the processes that nobody waited for, samples what was never seen
    cpu_time = max((t for t in (sampled, cpu_time_s) if t is not None), default=None)
    quantities = {f"{b}_energy_j": boundary_energy(b, windows, found) for b in BOUNDARIES}
    quantities["cpu_energy_j"] = with_estimate(quantities["cpu_energy_j"], cpu_time)
    for name in ("gpu", "cpu"):
        quantities[f"{name}_mean_power_w"] = _over_time(quantities[f"{name}_energy_j"], elapsed_s)
    quantities["gpu_max_power_w"] = _highest_power(windows)
    return quantities


def usage(windows: list[HostWindow]) -> dict[str, Reading]:
    """Return utilisation, memory, temperature, clocks and bytes moved over the window."""
    gpus = [s for w in windows for d, s in w.series.items() if d.startswith("gpu:")]
    reads: dict[str, tuple[float | None, str]] = {
        "cpu_time_s": (
            sum_over_hosts(windows, "job", "cpu_time_s", growth),
            "processes of the job",
        ),
        "memory_peak_bytes": (
            sum_over_hosts(windows, "job", "memory_used_bytes", peak),
            "processes of the job, sampled",
        ),
        "cpu_utilisation": (
            _mean(each(windows, "node", "utilisation", mean)),
            "all cores of the hosts",
        ),
    }
    if gpus:
        for name, column, take, join, how in (
            ("gpu_utilisation", "utilisation", mean, _mean, "mean of the GPUs"),
            ("gpu_memory_peak_bytes", "memory_used_bytes", peak, _highest, "fullest GPU, sampled"),
            ("gpu_temperature_c", "temperature_c", peak, _highest, "hottest GPU"),
            ("sm_clock_mhz", "sm_clock_mhz", mean, _mean, "mean of the GPUs"),
            ("memory_clock_mhz", "memory_clock_mhz", mean, _mean, "mean of the GPUs"),
        ):
            reads[name] = (join(each(windows, "gpu:", column, take)), how)
    return {n: _read(n, v, how) for n, (v, how) in reads.items()} | bytes_moved(windows)


def _read(name: str, value: float | None, how: str) -> Reading:
    if value is None or (value == 0 and name in _NEVER_0):
        return missing(_NEVER_0.get(name, "it was not read in the window"))
    return measured(value, how)


def utc_text(utc_s: float) -> str:
    """Return seconds since 1970 as "2026-11-23T05:06:41.123Z"."""
    when = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _setup(ranks: Ranks, windows: list[HostWindow], base_s: float) -> Reading:
    firsts = [s[0].start_s for kind in ranks for s in kind.values() if s]
    began = min((w.host.clock_start[0] + w.host.offset_s for w in windows), default=base_s) - base_s
    if not firsts or not windows or min(firsts) < began:
        return missing("the sampler started after the first step")
    return measured(min(firsts) - began, "from the sampler's start")


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
    return (
        measured(sum(tops), "sampled power")
        if tops
        else missing("no power of a GPU was read in the window")
    )


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


def pause_times(pauses: Sequence[Pause]) -> dict[str, Reading]:
    """Return the time of each kind of pause, summed: ``evaluation_s`` and the like; nothing without pauses."""
    kinds = dict.fromkeys(p.kind for p in pauses)
    how = "monotonic clock, outside of every step"
    return {
        f"{k}_s": measured(sum(p.end_s - p.start_s for p in pauses if p.kind == k), how)
        for k in kinds
    }


def totals(
    windows: Sequence[HostWindow], spans: Sequence[Span], base_s: float
) -> dict[str, Reading]:
    """Return elapsed time, CPU time, energies and bytes moved, each summed over the spans.

    ``base_s`` is the common clock's offset to UTC. A sum that lacks a span is missing.
    """
    cuts = [
        [
            cut_to(w, start + base_s - w.host.offset_s, end + base_s - w.host.offset_s)
            for w in windows
        ]
        for start, end in spans
    ]
    found: dict[str, Reading] = {
        "elapsed_s": measured(sum(end - start for start, end in spans), "monotonic clock"),
        "cpu_time_s": added([_cpu_time(cut) for cut in cuts]),
    }
    for boundary in BOUNDARIES:
        found[f"{boundary}_energy_j"] = added(
            [
                boundary_energy(boundary, cut, [e for w in cut for e in device_energies(w)])
                for cut in cuts
            ]
        )
    found["cpu_energy_j"] = with_estimate(found["cpu_energy_j"], found["cpu_time_s"].value)
    moved = [bytes_moved(cut) for cut in cuts]
    return found | {name: added([m[name] for m in moved]) for name in (moved[0] if moved else {})}


def added(readings: Sequence[Reading]) -> Reading:
    """Return the sum of readings of one kind; missing where one of them is, or where there is none."""
    lacking = [r for r in readings if r.value is None]
    if lacking or not readings:
        return lacking[0] if lacking else missing("there is nothing to sum")
    status: Status = "estimated" if any(r.status == "estimated" for r in readings) else "measured"
    hows = "; ".join(dict.fromkeys(r.how for r in readings if r.how))
    return Reading(sum(r.value for r in readings if r.value is not None), status, hows)


def each(
    windows: Sequence[HostWindow],
    device: str,
    column: str,
    take: Callable[[Column, float, float], float | None],
) -> list[float]:
    """Return what ``take`` finds in a column of every device of that name, or of every one that begins with "gpu:"."""
    values = [
        take(series.column(column), w.start_s, w.end_s)
        for w in windows
        for name, series in w.series.items()
        if name == device or (device.endswith(":") and name.startswith(device))
    ]
    return [v for v in values if v is not None and math.isfinite(v)]


def sum_over_hosts(
    windows: Sequence[HostWindow],
    device: str,
    column: str,
    take: Callable[[Column, float, float], float | None],
) -> float | None:
    """Return the sum of one device's column over hosts; None where a host lacks it."""
    values = each(windows, device, column, take)
    return sum(values) if values and len(values) == len(windows) else None


def _cpu_time(windows: Sequence[HostWindow]) -> Reading:
    value = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    if value is None:
        return missing(
            "the CPU time of the job's processes was not read in every span between pauses"
        )
    return measured(value, "processes of the job")


_STRANGERS_S = 1.5


_CLOCK_JUMP_S = 0.05


_SLEW = 5e-4


def host_notes(w: HostWindow) -> list[Note]:
    """Return the warnings about one host: throttling, strangers on its devices, its clock, its sampler."""
    notes = []
    for device, series in w.series.items():
        where = f"{device} on {w.host.host}"
        seen = [t for at, t in series.throttle if w.start_s <= at <= w.end_s]
        held = Counter(name for t in seen for name in t.split("|") if name in HOLDING_DOWN)
        if held:
            text = ", ".join(f"{name} in {n / len(seen):.0%}" for name, n in held.items())
            notes.append(Note("throttled", f"{where}: {text} of its readings"))
        if device.startswith("gpu:") and _strangers(series.column("processes"), w) > 0:
            notes.append(
                Note(
                    "other_process_on_device", f"{where} also ran processes that are not this job's"
                )
            )
    notes += [
        Note("gpu_shared", f"{d.id} on {w.host.host}: {d.shared}")
        for d in w.host.devices
        if d.shared
    ]
    notes += [
        Note("gpu_order_unknown", f"{w.host.host}: {p.doubt}") for p in w.host.probes if p.doubt
    ]
    moved = [j.by_s for j in w.host.jumps if w.start_s <= j.time_s <= w.end_s]
    if w.host.clock_end is not None and not w.host.jumps:
        drift = w.host.clock_end[1] - w.host.clock_end[0] - w.host.own_offset_s
        if abs(drift) > _CLOCK_JUMP_S + _SLEW * (w.host.clock_end[0] - w.host.clock_start[0]):
            moved = [drift]
    if moved:
        text = f"{w.host.host}: its UTC clock moved by {sum(moved):+.3f} s; durations are not touched by it"
        notes.append(Note("clock_jump", text))
    newest = max(
        (c.times[-1] for s in w.series.values() for c in s.columns.values() if len(c)), default=None
    )
    if newest is None or newest < w.end_s - 2 - 3 / w.host.hz:
        late = (
            "never wrote a row"
            if newest is None
            else f"wrote its last row {w.end_s - newest:.1f} s before the end"
        )
        notes.append(Note("sampler_lost", f"{w.host.host}: the sampler {late}"))
    if w.host.gpus_unread:
        notes.append(Note("gpus_unread", f"{w.host.host}: {w.host.gpus_unread}"))
    return notes + [Note("sampling_trouble", f"{w.host.host}: {text}") for text in w.host.troubles]


def time_notes(windows: list[HostWindow]) -> list[Note]:
    """Return the warnings about hosts whose clocks were not, or hardly, set against the first host's."""
    if len(windows) < 2:
        return []
    hosts = [w.host for w in windows]
    named = {(a.host, a.boot_id) for h in hosts for a in h.against} or {
        (hosts[0].host, hosts[0].boot_id)
    }
    boots = {boot for _, boot in named}
    notes = []
    for h in hosts:
        off = h.offset_uncertainty_s
        if off is None and (h.host, h.boot_id) not in named and h.boot_id not in boots:
            text = f"{h.host}: its clock was not set against the first host's; both are taken to show the same UTC"
            notes.append(Note("clocks_not_compared", text))
        elif off is not None and off > 1 / h.hz:
            text = f"{h.host}: its clock is known to ± {off:.2g} s only, and was read every {1 / h.hz:.2g} s"
            notes.append(Note("clocks_not_compared", text))
    return notes


def _strangers(processes: Column, w: HostWindow) -> float:
    """Return the most foreign processes seen. They are counted once a second: what was seen just before counts too."""
    return peak(processes, w.start_s - _STRANGERS_S, w.end_s) or 0


def rank_notes(
    ranks: Ranks, windows: list[HostWindow], known: dict[int, Rank | None], devices: int | None
) -> list[Note]:
    """Return the warnings about processes: too few cores for them, ranks without steps, hosts without telemetry."""
    notes = []
    names = {w.host.host for w in windows}
    per_host = Counter(r.host if r else next(iter(names), "") for r in known.values())
    for w in windows:
        processes, cores = per_host.get(w.host.host, 0), w.host.cores
        if cores is not None and processes > cores:
            told = f"{processes} processes shared {counted(cores, 'core')} of {w.host.host}"
            notes.append(Note("oversubscribed", told))
    for host in sorted(set(per_host) - names - {""}):
        notes.append(Note("sampler_lost", f"{host}: no sampler ran there"))
    with_steps = sum(bool(s) for s in ranks.measured.values())
    if devices is not None and ranks.measured and with_steps < devices:
        notes.append(
            Note("ranks_missing", f"{with_steps} of {counted(devices, 'rank')} left measured steps")
        )
    return notes

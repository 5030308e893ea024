"""Reduce the files of an attempt to a summary: quantities with their status, and warnings.

``summarise`` and ``summarise_spans`` read the files; the functions below them are pure.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw import __version__
from wattlaw.core.files import explained
from wattlaw.core.reading import Note, Reading, Status, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.measuring.files.host_files import Host, HostWindow, Series, TelemetryColumn
from wattlaw.measuring.files.rank_files import Pause, Rank
from wattlaw.measuring.reduce.attempt import (
    Attempt,
    Ranks,
    Span,
    common_base,
    cut_windows,
    host_window,
    measured_window,
    read_attempt,
    read_hosts,
    requested_slurm_clocks,
    telemetry_span,
    without_pauses,
)
from wattlaw.measuring.reduce.device_use import (
    BOUNDARIES,
    THROTTLING,
    DeviceEnergy,
    DeviceUse,
    boundary_energy,
    bytes_transferred,
    device_energies,
    device_uses,
    energy_notes,
    with_estimate,
)
from wattlaw.measuring.reduce.implausible import implausible_notes
from wattlaw.measuring.reduce.series import growth, highest_sum, mean, peak, within
from wattlaw.measuring.reduce.slurm_clocks import clock_notes
from wattlaw.measuring.reduce.step_quantities import step_notes, step_quantities

Reduction = Callable[[TelemetryColumn, float, float], float | None]
"""Reduces one column between two times to one value; None if there is none."""

_ALL_GPUS = "gpu:"

_NEVER_0 = {
    "cpu_time_s": "the CPU time of the job's processes is below the kernel's clock tick, "
    "or they ended before a sample",
    "memory_peak_bytes": "no process of the job was running when memory was sampled",
}
"""Quantities that are missing when they are 0 or were not read, and the reason."""

_CLOCK_JUMP_S = 0.05
_SLEW = 5e-4
_PROCESSES_PERIOD_S = 1.5
"""Processes on a GPU are counted once a second: the count just before the window is used too."""

_LATE_S = 2.0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of an attempt. ``window`` is (start, end), UTC s since 1970."""

    quantities: dict[str, Reading]
    warnings: tuple[Note, ...] = ()
    machine: Machine = Machine()
    window: tuple[float, float] = (0.0, 0.0)
    started: str = ""
    devices: tuple[DeviceUse, ...] = ()


def summarise(
    attempt: Path,
    devices: int | None = None,
    between: Span | None = None,
    cpu_time_s: float | None = None,
) -> Summary:
    """Summarise an attempt: the steps of all ranks and the telemetry of all hosts.

    devices     number of processes that were requested, if known
    between     the measured window, s on this host's monotonic clock; None: from the latest start
                of a first step after warm-up to the latest end of a last step
    cpu_time_s  the job's CPU time by the kernel's accounting; an energy that is estimated from CPU
                time uses the larger of this and the sampled one

    Raises DamagedRunError or RecordError naming the file.
    """
    read = read_attempt(attempt)
    whole = between or measured_window(read.ranks) or telemetry_span(read.hosts, read.base_s)
    windows = read.windows(whole)
    found = _summary(read, windows, whole, devices, cpu_time_s)
    clocks = requested_slurm_clocks(attempt)
    if not clocks:
        return found
    warnings = (*found.warnings, *clock_notes(clocks, windows))
    return msgspec.structs.replace(found, warnings=warnings)


def summarise_spans(attempt: Path, spans: Sequence[Span]) -> list[dict[str, Reading]]:
    """Return time, energies and use of each span of an attempt.

    Spans are in s on this host's monotonic clock. Raises DamagedRunError or RecordError naming the
    file.
    """
    if not spans:
        return []
    starts, ends = zip(*spans, strict=True)
    whole = (min(starts), max(ends))
    with explained(attempt, "read"):
        hosts = read_hosts(attempt)
        base_s = common_base(hosts, {})
        windows = [host_window(attempt, h, whole, base_s) for h in hosts]
    found = []
    for start, end in spans:
        cut = cut_windows(windows, (start, end), base_s)
        elapsed = {"elapsed_s": measured(end - start, "monotonic clock")}
        energies = energy_quantities(cut, _energies(cut), end - start, None)
        found.append({**elapsed, **usage(cut), **energies})
    return found


def _summary(
    read: Attempt,
    windows: list[HostWindow],
    whole: Span,
    devices: int | None,
    cpu_time_s: float | None,
) -> Summary:
    ranks, spans = read.ranks, without_pauses(whole, read.pauses)
    elapsed_s = sum(end - start for start, end in spans)
    energies = _energies(windows)
    quantities = {"elapsed_s": measured(elapsed_s, "monotonic clock")}
    notes: list[Note] = []
    uses: list[DeviceUse] = []
    for window in windows:
        own = [e for e in energies if e.host == window.host.host]
        notes += energy_notes(window, own) + host_notes(window)
        uses += device_uses(window, own)
    if any(ranks.measured.values()) or any(ranks.warmup.values()):
        quantities |= step_quantities(ranks, elapsed_s)
        quantities["setup_s"] = _setup_time(ranks, windows, read.base_s)
        notes += step_notes(ranks)
    quantities |= usage(windows)
    quantities |= energy_quantities(windows, energies, elapsed_s, cpu_time_s)
    if spans != [whole]:
        quantities |= _without_pauses(totals(windows, spans, read.base_s))
    if read.pauses:
        quantities |= pause_times(read.pauses)
    notes += rank_notes(ranks, windows, read.known, devices) + clock_comparison_notes(windows)
    if not any(e.reading.status == "measured" for e in energies):
        text = "nothing measures energy here; `wattlaw doctor` shows how to change that"
        notes.append(Note("no_energy_meter", text))
    start_utc, end_utc = whole[0] + read.base_s, whole[1] + read.base_s
    return Summary(
        quantities=quantities,
        warnings=tuple(dict.fromkeys(notes)),
        machine=_machine(windows),
        window=(start_utc, end_utc),
        started=utc_text(start_utc),
        devices=tuple(uses),
    )


def run_of(
    summary: Summary,
    setting: Setting,
    trial: Path,
    *,
    repeat: int = 0,
    labels: Mapping[str, str] | None = None,
    error: str = "",
) -> Run:
    """Return a summary as the run of a trial's folder: done, or failed with an error."""
    return Run(
        setting=setting,
        trial=trial.name,
        sweep=trial.absolute().parent.name,
        wattlaw=__version__,
        repeat=repeat,
        state="failed" if error else "done",
        started=summary.started,
        machine=summary.machine,
        labels=dict(labels or {}),
        quantities=summary.quantities,
        warnings=summary.warnings,
        error=error,
    )


def usage(windows: Sequence[HostWindow]) -> dict[str, Reading]:
    """Return CPU time, utilisation, memory, temperature, clocks and bytes over the window."""
    cpu_time = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    memory = sum_over_hosts(windows, "job", "memory_used_bytes", peak)
    cores = _mean(values_of(windows, "node", "utilisation", mean))
    found = {
        "cpu_time_s": _reading("cpu_time_s", cpu_time, "processes of the job"),
        "memory_peak_bytes": _reading("memory_peak_bytes", memory, "processes of the job, sampled"),
        "cpu_utilisation": _reading("cpu_utilisation", cores, "all cores of the hosts"),
    }
    if any(device.startswith(_ALL_GPUS) for w in windows for device in w.series):
        utilisation = _mean(values_of(windows, _ALL_GPUS, "utilisation", mean))
        memory = _highest(values_of(windows, _ALL_GPUS, "memory_used_bytes", peak))
        temperature = _highest(values_of(windows, _ALL_GPUS, "temperature_c", peak))
        found |= {
            "gpu_utilisation": _reading("gpu_utilisation", utilisation, "mean of the GPUs"),
            "gpu_memory_peak_bytes": _reading(
                "gpu_memory_peak_bytes", memory, "fullest GPU, sampled"
            ),
            "gpu_temperature_c": _reading("gpu_temperature_c", temperature, "hottest GPU"),
        }
        for clock in ("sm_clock_mhz", "memory_clock_mhz"):
            value = _mean(values_of(windows, _ALL_GPUS, clock, mean))
            found[clock] = _reading(clock, value, "mean of the GPUs")
    return found | bytes_transferred(windows)


def energy_quantities(
    windows: Sequence[HostWindow],
    energies: Sequence[DeviceEnergy],
    elapsed_s: float,
    cpu_time_s: float | None,
) -> dict[str, Reading]:
    """Return energy and mean power within each boundary; the CPU's is estimated if not measured."""
    sampled_s = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    # kernel accounting lacks processes that were not waited for, samples lack short-lived ones
    cpu_times = [t for t in (sampled_s, cpu_time_s) if t is not None]
    cpu_time = max(cpu_times, default=None)
    quantities = {f"{b}_energy_j": boundary_energy(b, windows, energies) for b in BOUNDARIES}
    quantities["cpu_energy_j"] = with_estimate(
        quantities["cpu_energy_j"], cpu_time, windows, energies
    )
    for name in ("gpu", "cpu"):
        quantities[f"{name}_mean_power_w"] = _over_time(quantities[f"{name}_energy_j"], elapsed_s)
    quantities["gpu_max_power_w"] = _highest_power(windows)
    return quantities


def totals(
    windows: Sequence[HostWindow], spans: Sequence[Span], base_s: float
) -> dict[str, Reading]:
    """Return elapsed time, CPU time, energies and bytes, each summed over spans.

    ``base_s`` is UTC minus the common clock, s. A sum that lacks a span is missing.
    """
    cuts = [cut_windows(windows, span, base_s) for span in spans]
    elapsed_s = sum(end - start for start, end in spans)
    found: dict[str, Reading] = {
        "elapsed_s": measured(elapsed_s, "monotonic clock"),
        "cpu_time_s": sum_readings([_cpu_time(cut) for cut in cuts]),
    }
    energies = [_energies(cut) for cut in cuts]
    for boundary in BOUNDARIES:
        parts = []
        for cut, of_cut in zip(cuts, energies, strict=True):
            parts.append(boundary_energy(boundary, cut, of_cut))
        found[f"{boundary}_energy_j"] = sum_readings(parts)
    found["cpu_energy_j"] = with_estimate(
        found["cpu_energy_j"],
        found["cpu_time_s"].value,
        windows,
        [energy for of_cut in energies for energy in of_cut],
    )
    transferred = [bytes_transferred(cut) for cut in cuts]
    for name in transferred[0] if transferred else ():
        found[name] = sum_readings([part[name] for part in transferred])
    return found


def pause_times(pauses: Sequence[Pause]) -> dict[str, Reading]:
    """Return the total time of each kind of pause, such as ``evaluation_s``."""
    times: dict[str, float] = {}
    for pause in pauses:
        name = f"{pause.kind}_s"
        times[name] = times.get(name, 0.0) + pause.end_s - pause.start_s
    how = "monotonic clock, outside of every step"
    return {name: measured(time_s, how) for name, time_s in times.items()}


def sum_readings(readings: Sequence[Reading]) -> Reading:
    """Return the sum of readings of one quantity; missing if one is, or without any."""
    for reading in readings:
        if reading.value is None:
            return reading
    if not readings:
        return missing("there is nothing to sum")
    is_estimated = any(r.status == "estimated" for r in readings)
    status: Status = "estimated" if is_estimated else "measured"
    how = "; ".join(dict.fromkeys(r.how for r in readings if r.how))
    return Reading(sum(r.value or 0.0 for r in readings), status, how)


def values_of(
    windows: Sequence[HostWindow], device: str, column: str, reduce: Reduction
) -> list[float]:
    """Return the reduced column of every device of that name, on all hosts.

    A name that ends with ":" is a prefix, such as "gpu:" for all GPUs.
    """
    values = []
    for window in windows:
        for name, series in window.series.items():
            if name == device or (device.endswith(":") and name.startswith(device)):
                values.append(reduce(series.column(column), window.start_s, window.end_s))
    return [v for v in values if v is not None and math.isfinite(v)]


def sum_over_hosts(
    windows: Sequence[HostWindow], device: str, column: str, reduce: Reduction
) -> float | None:
    """Return the sum of one device's reduced column over hosts; None if a host lacks it."""
    values = values_of(windows, device, column, reduce)
    return sum(values) if values and len(values) == len(windows) else None


def utc_text(utc_s: float) -> str:
    """Return seconds since 1970 as "2026-11-23T05:06:41.123Z"."""
    when = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def host_notes(w: HostWindow) -> list[Note]:
    """Return the warnings about one host: throttling, other processes, its clock, its sampler."""
    host = w.host
    notes = implausible_notes(w)
    for device, series in w.series.items():
        notes += _device_notes(w, device, series)
    for info in host.devices:
        if info.shared:
            notes.append(Note("gpu_shared", f"{info.id} on {host.host}: {info.shared}"))
    for probe in host.probes:
        if probe.doubt:
            notes.append(Note("gpu_order_unknown", f"{host.host}: {probe.doubt}"))
    moved_s = _clock_jump(w)
    if moved_s:
        text = f"{host.host}: its UTC clock moved by {moved_s:+.3f} s; durations are not affected"
        notes.append(Note("clock_jump", text))
    newest_s = w.newest_s()
    if newest_s is None:
        notes.append(Note("sampler_lost", f"{host.host}: the sampler never wrote a row"))
    elif newest_s < w.end_s - _LATE_S - 3 / host.hz:
        late = f"wrote its last row {w.end_s - newest_s:.1f} s before the end"
        notes.append(Note("sampler_lost", f"{host.host}: the sampler {late}"))
    if host.gpus_unread:
        notes.append(Note("gpus_unread", f"{host.host}: {host.gpus_unread}"))
    return notes + [Note("sampling_trouble", f"{host.host}: {text}") for text in host.troubles]


def clock_comparison_notes(windows: Sequence[HostWindow]) -> list[Note]:
    """Return the warnings about hosts whose clocks were not compared well with the first host's."""
    if len(windows) < 2:
        return []
    hosts = [w.host for w in windows]
    boots = {hosts[0].boot_id}
    compared = [a.boot_id for h in hosts for a in h.against]
    if compared:
        boots = set(compared)
    return [note for h in hosts for note in _clock_comparison_notes(h, boots)]


def rank_notes(
    ranks: Ranks,
    windows: Sequence[HostWindow],
    known: Mapping[int, Rank | None],
    devices: int | None,
) -> list[Note]:
    """Return the warnings: too few cores, ranks without steps, hosts without telemetry."""
    notes = []
    names = {w.host.host for w in windows}
    per_host: Counter[str] = Counter()
    for rank in known.values():
        per_host[rank.host if rank else next(iter(names), "")] += 1
    for w in windows:
        processes, cores = per_host.get(w.host.host, 0), w.host.cores
        if cores is not None and processes > cores:
            text = f"{processes} processes shared {counted(cores, 'core')} of {w.host.host}"
            notes.append(Note("oversubscribed", text))
    for host in sorted(set(per_host) - names - {""}):
        notes.append(Note("sampler_lost", f"{host}: no sampler ran there"))
    with_steps = sum(bool(s) for s in ranks.measured.values())
    if devices is not None and ranks.measured and with_steps < devices:
        text = f"only {with_steps} of {counted(devices, 'rank')} recorded measured steps"
        notes.append(Note("ranks_missing", text))
    return notes


def _energies(windows: Iterable[HostWindow]) -> list[DeviceEnergy]:
    return [energy for w in windows for energy in device_energies(w)]


def _without_pauses(sums: dict[str, Reading]) -> dict[str, Reading]:
    """Return sums over the spans between pauses as quantities, with mean powers over them."""
    elapsed_s = sums["elapsed_s"].value or 0.0
    found = dict(sums)
    for name, reading in sums.items():
        if reading.value:
            found[name] = msgspec.structs.replace(reading, how=f"{reading.how}; pauses left out")
    for name in ("gpu", "cpu"):
        found[f"{name}_mean_power_w"] = _over_time(sums[f"{name}_energy_j"], elapsed_s)
    return found


def _reading(name: str, value: float | None, how: str) -> Reading:
    if value is None or (value == 0 and name in _NEVER_0):
        return missing(_NEVER_0.get(name, "no plausible reading in the window"))
    return measured(value, how)


def _cpu_time(windows: Sequence[HostWindow]) -> Reading:
    value = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    if value is None:
        return missing("the CPU time of the job was not read in every span between pauses")
    return measured(value, "processes of the job")


def _setup_time(ranks: Ranks, windows: Sequence[HostWindow], base_s: float) -> Reading:
    firsts = [s[0].start_s for kind in ranks for s in kind.values() if s]
    starts = [w.host.clock_start[0] + w.host.offset_s - base_s for w in windows]
    if not firsts or not starts or min(firsts) < min(starts):
        return missing("the sampler started after the first step")
    return measured(min(firsts) - min(starts), "from the sampler's start")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _highest(values: list[float]) -> float | None:
    return max(values, default=None)


def _over_time(energy: Reading, elapsed_s: float) -> Reading:
    if energy.value is None or elapsed_s <= 0:
        return missing(energy.how or "the window is empty")
    return Reading(energy.value / elapsed_s, energy.status, energy.how)


def _highest_power(windows: Sequence[HostWindow]) -> Reading:
    highest = []
    for w in windows:
        columns = []
        for device, series in sorted(w.series.items(), key=lambda item: item[0]):
            column = series.column("power_w")
            if device.startswith(_ALL_GPUS) and len(within(column, w.start_s, w.end_s)):
                columns.append(column)
        total = highest_sum(columns, w.start_s, w.end_s) if columns else None
        if total is not None:
            highest.append(total)
    if not highest:
        return missing("no power of a GPU was read in the window")
    return measured(sum(highest), "sampled power")


def _machine(windows: Sequence[HostWindow]) -> Machine:
    if not windows:
        return Machine(hosts=0)
    host = windows[0].host
    gpus = [d.name for w in windows for d in w.host.devices if d.boundary == "gpu"]
    device_type, device_name = ("cuda", gpus[0]) if gpus else ("cpu", host.cpu_name)
    return Machine(
        device_type=device_type,
        device_name=device_name,
        hosts=len(windows),
        cores=host.cores,
        cpu_name=host.cpu_name,
    )


def _device_notes(w: HostWindow, device: str, series: Series) -> list[Note]:
    notes = []
    where = f"{device} on {w.host.host}"
    in_window = [names for t, names in series.throttle if w.start_s <= t <= w.end_s]
    counts = Counter(name for names in in_window for name in names.split("|"))
    shares = [
        f"{name} in {count / len(in_window):.0%}"
        for name, count in counts.items()
        if name in THROTTLING
    ]
    if shares:
        notes.append(Note("throttled", f"{where}: {', '.join(shares)} of its readings"))
    others = peak(series.column("processes"), w.start_s - _PROCESSES_PERIOD_S, w.end_s)
    if device.startswith(_ALL_GPUS) and others:
        text = f"{where} also ran processes that are not this job's"
        notes.append(Note("other_process_on_device", text))
    return notes


def _clock_jump(w: HostWindow) -> float:
    """Return by how much the host's UTC clock jumped in the window, s; 0 if it did not."""
    host = w.host
    if host.jumps or host.clock_end is None:
        return sum(j.by_s for j in host.jumps if w.start_s <= j.time_s <= w.end_s)
    end_monotonic, end_utc = host.clock_end
    drift_s = end_utc - end_monotonic - host.own_offset_s
    slewed_s = _SLEW * (end_monotonic - host.clock_start[0])
    return drift_s if abs(drift_s) > _CLOCK_JUMP_S + slewed_s else 0.0


def _clock_comparison_notes(host: Host, boots: set[str]) -> list[Note]:
    uncertainty_s = host.offset_uncertainty_s
    if uncertainty_s is None and host.boot_id not in boots:
        text = (
            f"{host.host}: its clock was not compared with the first host's; "
            "both are assumed to show the same UTC"
        )
        return [Note("clocks_not_compared", text)]
    if uncertainty_s is not None and uncertainty_s > 1 / host.hz:
        text = (
            f"{host.host}: its clock offset is known only to ± {uncertainty_s:.2g} s, "
            f"and it was read every {1 / host.hz:.2g} s"
        )
        return [Note("clocks_not_compared", text)]
    return []

"""From the files of an attempt to its totals: each quantity with its status, and the warnings beside them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.files import explained
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Machine
from wattlaw.measuring.files.attempt import (
    Attempt,
    base_of,
    host_window,
    read_attempt,
    read_hosts,
    telemetry_span,
)
from wattlaw.measuring.files.pauses import pause_times
from wattlaw.measuring.limits.gpu_freq import asked, clock_notes
from wattlaw.measuring.reduce.device_use import DeviceUse, bytes_moved, device_uses
from wattlaw.measuring.reduce.intervals import Span, each, sum_over_hosts, totals, without
from wattlaw.measuring.reduce.series import growth, highest_sum, mean, peak, within
from wattlaw.measuring.reduce.stepping import Ranks, step_notes, step_quantities, window
from wattlaw.measuring.reduce.warnings import host_notes, rank_notes, time_notes
from wattlaw.measuring.reduce.window_energy import (
    BOUNDARIES,
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

"""Named warnings about hosts and processes, beside those about steps and energies. Pure functions."""

from __future__ import annotations

from collections import Counter

from wattlaw.core.reading import Note
from wattlaw.core.units import counted
from wattlaw.measuring.files.steps import Rank
from wattlaw.measuring.files.telemetry import Column
from wattlaw.measuring.reduce.device_use import HOLDING_DOWN
from wattlaw.measuring.reduce.series import peak
from wattlaw.measuring.reduce.stepping import Ranks
from wattlaw.measuring.reduce.window_energy import HostWindow

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

"""The files of one attempt, read and converted to one clock.

Times of ranks, pauses and windows are in s on a clock that is common to all hosts: this host's
monotonic clock if it took part, so that times of one host lose no precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained
from wattlaw.measuring.files.host_files import (
    EDGE_MARGIN_S,
    Host,
    HostWindow,
    boot_id,
    clock_pair,
    read_host,
    read_telemetry,
)
from wattlaw.measuring.files.rank_files import (
    Pause,
    Rank,
    Step,
    read_pauses,
    read_rank,
    read_steps,
)
from wattlaw.measuring.reduce.implausible import leave_out_implausible

SLURM_CLOCKS = "asked-of-slurm.json"
"""Clocks requested from Slurm, MHz, by the name of a setting's field; in an attempt's folder."""

Span = tuple[float, float]
"""Start and end, s, on the common clock."""


class Ranks(NamedTuple):
    """Steps by rank, with times on the common clock, s."""

    measured: dict[int, list[Step]]
    warmup: dict[int, list[Step]]


class Attempt(NamedTuple):
    """The files of an attempt. The common clock plus ``base_s`` is UTC, s.

    ``known`` holds the file of each rank that left steps; None if it has none.
    """

    folder: Path
    hosts: list[Host]
    ranks: Ranks
    known: dict[int, Rank | None]
    pauses: list[Pause]
    base_s: float

    def windows(self, span: Span) -> list[HostWindow]:
        """Return each host's telemetry of a span. Raises DamagedRunError or RecordError."""
        with explained(self.folder, "read"):
            return [host_window(self.folder, h, span, self.base_s) for h in self.hosts]


def read_attempt(folder: Path) -> Attempt:
    """Read an attempt's folder. Raises DamagedRunError or RecordError naming the file."""
    with explained(folder):
        hosts = read_hosts(folder)
        steps = {_rank_number(p): read_steps(p) for p in sorted(folder.glob("steps-*.csv"))}
        known = {rank: read_rank(folder / f"rank-{rank}.json") for rank in steps}
    offsets = {rank: _offset(known[rank], hosts) for rank in steps}
    base_s = common_base(hosts, offsets)
    ranks = split_warmup(steps, {rank: offset - base_s for rank, offset in offsets.items()})
    shift = offsets.get(0, base_s) - base_s
    found = read_pauses(folder) if steps else []
    pauses = [Pause(p.kind, p.start_s + shift, p.end_s + shift) for p in found]
    return Attempt(folder, hosts, ranks, known, pauses, base_s)


def read_hosts(folder: Path) -> list[Host]:
    """Return the hosts of an attempt, by name."""
    return [read_host(p) for p in sorted(folder.glob("host-*.json"))]


def requested_slurm_clocks(attempt: Path) -> dict[str, float]:
    """Return the clocks that were requested from Slurm, MHz; none if none were."""
    try:
        return msgspec.json.decode((attempt / SLURM_CLOCKS).read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        return {}


def common_base(hosts: Sequence[Host], offsets: Mapping[int, float]) -> float:
    """Return UTC minus the common clock, s; ``offsets`` are those of the ranks' own clocks."""
    here = boot_id()
    own = [h.offset_s for h in hosts if h.boot_id == here and not h.against]
    for host in hosts:
        own += [a.utc_offset_s for a in host.against if a.boot_id == here]
    if own:
        return own[0]
    if not hosts:
        return next(iter(offsets.values()), 0.0)
    monotonic, utc = clock_pair()
    return utc - monotonic


def host_window(folder: Path, host: Host, span: Span, base_s: float) -> HostWindow:
    """Return a host's telemetry of a span, with what its edges need."""
    start, end = (t + base_s - host.offset_s for t in span)
    path = folder / f"telemetry-{host.host}.csv"
    if not path.exists():
        return HostWindow(host, {}, start, end)
    series = read_telemetry(path, start - EDGE_MARGIN_S, end + EDGE_MARGIN_S)
    leave_out_implausible(host, series)
    return HostWindow(host, series, start, end)


def cut_windows(windows: Iterable[HostWindow], span: Span, base_s: float) -> list[HostWindow]:
    """Return the part of each host's window that lies in a span of the common clock."""
    start, end = span[0] + base_s, span[1] + base_s
    return [w.cut(start - w.host.offset_s, end - w.host.offset_s) for w in windows]


def telemetry_span(hosts: Sequence[Host], base_s: float) -> Span:
    """Return the time that the telemetry of all hosts covers; (0, 0) if there is none."""
    starts = [h.clock_start[0] + h.offset_s - base_s for h in hosts]
    ends = [h.clock_end[0] + h.offset_s - base_s for h in hosts if h.clock_end]
    return (max(starts), max(ends)) if starts and ends else (0.0, 0.0)


def without_pauses(whole: Span, pauses: Iterable[Pause]) -> list[Span]:
    """Return the parts of a span outside of all pauses; the span itself if none overlaps it."""
    spans, start = [], whole[0]
    for pause in sorted(pauses, key=lambda p: p.start_s):
        if pause.end_s <= start or pause.start_s >= whole[1]:
            continue
        if pause.start_s > start:
            spans.append((start, pause.start_s))
        start = pause.end_s
    if start < whole[1] or not spans:
        spans.append((start, whole[1]))
    return spans


def split_warmup(steps: Mapping[int, list[Step]], shift_s: Mapping[int, float]) -> Ranks:
    """Separate warm-up from measured steps, and shift each rank's times to the common clock."""
    ranks = Ranks({}, {})
    for rank, own_steps in steps.items():
        moved = [_moved(s, shift_s.get(rank, 0.0)) for s in own_steps]
        ranks.measured[rank] = [s for s in moved if not s.warmup]
        ranks.warmup[rank] = [s for s in moved if s.warmup]
    return ranks


def measured_window(ranks: Ranks) -> Span | None:
    """Return the latest first start to the latest last end over ranks; None without steps."""
    with_steps = [steps for steps in ranks.measured.values() if steps]
    if not with_steps:
        return None
    return common_span(with_steps)


def common_span(by_rank: Iterable[list[Step]]) -> Span:
    """Return the latest first start and the latest last end of ranks that all have steps."""
    start_s, end_s = -math.inf, -math.inf
    for steps in by_rank:
        start_s = max(start_s, steps[0].start_s)
        end_s = max(end_s, steps[-1].end_s)
    return start_s, end_s


def _rank_number(path: Path) -> int:
    text = path.stem.removeprefix("steps-")
    if not text.isdigit():
        raise DamagedRunError(f"{path}: its name must hold a rank's number, as in steps-0.csv")
    return int(text)


def _offset(rank: Rank | None, hosts: Sequence[Host]) -> float:
    """Return UTC minus a rank's monotonic clock, s: its host's own, so that steps fit telemetry."""
    for host in hosts:
        if rank is None or (rank.host == host.host and rank.boot_id == host.boot_id):
            return host.offset_s
    return rank.clock[1] - rank.clock[0] if rank else 0.0


def _moved(step: Step, by_s: float) -> Step:
    if not by_s:
        return step
    return msgspec.structs.replace(step, start_s=step.start_s + by_s, end_s=step.end_s + by_s)

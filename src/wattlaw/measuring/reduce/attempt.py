"""The files of one attempt, read and put on one clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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

Span = tuple[float, float]
"""Start and end, s, on the clock common to all ranks."""


class Ranks(NamedTuple):
    """Steps by rank, their times on one clock common to all ranks, s."""

    measured: dict[int, list[Step]]
    warmup: dict[int, list[Step]]


class Attempt(NamedTuple):
    """What an attempt left. Times of ranks and pauses are on one clock, which is ``base_s`` behind UTC, s."""

    folder: Path
    hosts: list[Host]
    ranks: Ranks
    known: dict[int, Rank | None]
    pauses: list[Pause]
    base_s: float

    def windows(self, span: Span) -> list[HostWindow]:
        """Return each host's telemetry of a span. Raises DamagedRunError or RecordError naming the file."""
        with explained(self.folder, "read"):
            return [host_window(self.folder, h, span, self.base_s) for h in self.hosts]


def read_attempt(folder: Path) -> Attempt:
    """Read an attempt's folder. Raises DamagedRunError or RecordError naming the file."""
    with explained(folder):
        hosts = read_hosts(folder)
        steps = {_number(p): read_steps(p) for p in sorted(folder.glob("steps-*.csv"))}
        known = {rank: read_rank(folder / f"rank-{rank}.json") for rank in steps}
    offsets = {rank: _offset(known[rank], hosts) for rank in steps}
    # one host's monotonic clock serves for all, so that on a single host no digit of a time is lost
    base = base_of(hosts, offsets)
    shift = offsets.get(0, base) - base
    pauses = [Pause(p.kind, p.start_s + shift, p.end_s + shift) for p in read_pauses(folder)]
    ranks = split(steps, {rank: offset - base for rank, offset in offsets.items()})
    return Attempt(folder, hosts, ranks, known, pauses, base)


def read_hosts(folder: Path) -> list[Host]:
    """Return the hosts of an attempt, by name."""
    return [read_host(p) for p in sorted(folder.glob("host-*.json"))]


def base_of(hosts: Sequence[Host], offsets: dict[int, float]) -> float:
    """Return the offset to UTC of the clock on which all times are put: this host's own, as its sampler read it."""
    here = boot_id()
    own = [h.offset_s for h in hosts if h.boot_id == here and not h.against]
    own += [a.utc_offset_s for h in hosts for a in h.against if a.boot_id == here]
    if own:
        return own[0]
    if not hosts:
        return next(iter(offsets.values()), 0.0)
    monotonic, utc = clock_pair()
    return utc - monotonic


def host_window(folder: Path, host: Host, whole: Span, base_s: float) -> HostWindow:
    """Return a host's telemetry of a span, with what its edges need."""
    start, end = (t + base_s - host.offset_s for t in whole)
    path = folder / f"telemetry-{host.host}.csv"
    series = (
        read_telemetry(path, start - EDGE_MARGIN_S, end + EDGE_MARGIN_S) if path.exists() else {}
    )
    return HostWindow(host, series, start, end)


def telemetry_span(hosts: Sequence[Host], base_s: float) -> Span:
    """Return the time that the telemetry of all hosts covers, (0, 0) where there is none."""
    starts = [h.clock_start[0] + h.offset_s - base_s for h in hosts]
    ends = [h.clock_end[0] + h.offset_s - base_s for h in hosts if h.clock_end]
    return (max(starts), max(ends)) if starts and ends else (0.0, 0.0)


def without(whole: Span, pauses: Iterable[Pause]) -> list[Span]:
    """Return the parts of a window that lie in no pause; the window itself where none lies in it."""
    spans, start = [], whole[0]
    for pause in sorted(pauses, key=lambda p: p.start_s):
        if pause.end_s <= start or pause.start_s >= whole[1]:
            continue
        if pause.start_s > start:
            spans.append((start, pause.start_s))
        start = pause.end_s
    return [*spans, (start, whole[1])] if start < whole[1] or not spans else spans


def split(steps: dict[int, list[Step]], shift_s: dict[int, float]) -> Ranks:
    """Part warm-up from measured steps, each rank's times moved to the common clock."""
    ranks = Ranks({}, {})
    for rank, all_steps in steps.items():
        ranks.measured[rank] = [s for s in all_steps if not s.warmup]
        ranks.warmup[rank] = [s for s in all_steps if s.warmup]
        for kind in ranks:
            kind[rank] = [_moved(s, shift_s.get(rank, 0.0)) for s in kind[rank]]
    return ranks


def window(ranks: Ranks) -> tuple[float, float] | None:
    """Return the measured window: the latest first start to the latest last end over ranks; None without steps."""
    sets = [steps for steps in ranks.measured.values() if steps]
    if not sets:
        return None
    return max(s[0].start_s for s in sets), max(s[-1].end_s for s in sets)


def _number(path: Path) -> int:
    text = path.stem.removeprefix("steps-")
    if not text.isdigit():
        raise DamagedRunError(f"{path}: a rank's number is needed in its name, as in steps-0.csv")
    return int(text)


def _offset(rank: Rank | None, hosts: Sequence[Host]) -> float:
    """Return what turns a rank's monotonic times into UTC s: its host's own, so that steps and telemetry fit."""
    for host in hosts:
        if rank is None or (rank.host == host.host and rank.boot_id == host.boot_id):
            return host.offset_s
    return rank.clock[1] - rank.clock[0] if rank else 0.0


def _moved(step: Step, by_s: float) -> Step:
    if not by_s:
        return step
    values = {n: getattr(step, n) for n in step.__struct_fields__}
    return Step(**{**values, "start_s": step.start_s + by_s, "end_s": step.end_s + by_s})

"""Samples the meters of one host in threads of this process, and writes their readings to disk.

Each meter has a thread of its own for each speed, so that a slow or hanging device delays no other.
A writer thread writes rows to disk every second and watches for steps of the UTC clock.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.cores import cpu_name, usable_cores
from wattlaw.core.errors import (
    RecordError,
    UsageError,
    described,
)
from wattlaw.core.files import make_folder, write_whole
from wattlaw.devices.meter import Probe, Sample, Scope
from wattlaw.devices.plausible import plausible_sample
from wattlaw.devices.probe_meters import ProbedMeter, probe_meters
from wattlaw.measuring.files.host_files import (
    Against,
    Host,
    Jump,
    TelemetryFile,
    boot_id,
    clock_pair,
    host_name,
)
from wattlaw.measuring.sampling.dense_readings import DenseSchedule, DenseThread
from wattlaw.slurm.job_environment import why_gpus_unread, why_shared

SAMPLER_VARIABLE = "WATTLAW_SAMPLER"
"""Set for the children of a process whose host is sampled: "boot id:pid:folder"."""

FLUSH_S = 1.0
_SLOW_PERIOD_S = 1.0
_EDGE_WAIT_S = 1.0
_RECENT_S = 0.1
_JUMP_S = 0.05
"""A larger change of UTC minus monotonic time in a second is a step, not slewing (500 ppm)."""

CompareClock = Callable[[Path], Against | None]
"""Measures this host's clock against the one that is served in an attempt's folder."""


class MeterThread:
    """Reads a meter on an absolute schedule; a slow reading skips the missed turns."""

    def __init__(
        self, name: str, read: Callable[[], list[Sample]], period_s: float, sink: deque[Sample]
    ) -> None:
        self.name = name
        self.period_s = period_s
        self.trouble = ""
        self.turns = self.failures = self.skipped = 0
        self._read = read
        self._sink = sink
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._is_requested = False
        self._last_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"wattlaw-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end; ``join`` waits for it and for a requested reading."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False if it hangs in its device."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def read_now(self) -> bool:
        """Read now, outside of the schedule; False if the device hangs in an earlier reading."""
        if not self._busy.acquire(timeout=_EDGE_WAIT_S):
            return False
        try:
            self._take_turn()
        finally:
            self._busy.release()
        return True

    def request_reading(self) -> None:
        """Let the thread read now and do not wait for it; nothing happens if it has just read."""
        if time.monotonic() - self._last_s > _RECENT_S:
            self._is_requested = True
            self._wake.set()

    def _run(self) -> None:
        due = time.monotonic() + self.period_s
        while not self._stop.is_set() or self._is_requested:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            is_requested, self._is_requested = self._is_requested, False
            if not is_requested and (self._stop.is_set() or time.monotonic() < due):
                continue
            with self._busy:
                self._take_turn()
            if is_requested:
                continue
            due, missed = next_turn(due, time.monotonic(), self.period_s)
            self.skipped += missed

    def _take_turn(self) -> None:
        self.turns += 1
        self._last_s = time.monotonic()
        try:
            self._sink.extend(self._read())
        except (Exception, SystemExit) as error:
            # a vendor's library may raise anything; a failed reading leaves its cells empty, and
            # the next turn tries again
            self.failures += 1
            self.trouble = described(error)


def next_turn(due_s: float, now_s: float, period_s: float) -> tuple[float, int]:
    """Return when the turn after the one of ``due_s`` is due, s, and how many turns were missed.

    Turns are whole periods apart, so a late reading does not delay the later ones.
    """
    missed = int(max(0.0, now_s - due_s) / period_s)
    return due_s + period_s * (1 + missed), missed


class HostSampler:
    """Samples this host into ``folder`` from ``start`` to ``stop``.

    Raises UsageError for a rate that is out of range, RecordError if the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        scope: Scope,
        hz: float = 10.0,
        meters: Sequence[str] | None = None,
        compare_clock: CompareClock | None = None,
    ) -> None:
        check_rate(hz)
        self.folder = make_folder(folder)
        self.scope = scope
        self.names = meters
        self.samples: deque[Sample] = deque()
        self.file = TelemetryFile(folder / f"telemetry-{host_name()}.csv")
        self.meters: list[ProbedMeter] = []
        self.fast: list[MeterThread] = []
        self.slow: list[MeterThread] = []
        self.dense: list[DenseThread] = []
        self.host = Host(
            host=host_name(),
            boot_id=boot_id(),
            hz=hz,
            root_pid=scope.root_pid,
            cores=usable_cores(),
            cpu_name=cpu_name(),
            shared=why_shared(),
        )
        self._compare_clock = compare_clock
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_rows, name="wattlaw-writer", daemon=True)
        self._cpu_and_time_s = (0.0, 0.0)
        self._writing = threading.Lock()
        self._newest: dict[str, Sample] = {}
        self._refused = ""

    def start(self) -> None:
        """Find the meters, take the first readings, and start the threads."""
        probed = probe_meters(self.scope, self.names)
        self._note_probes(tuple(meter.probe for meter in probed))
        for meter in probed:
            if meter.probe.devices:
                self._add_threads(meter)
            else:
                meter.close()
        for thread in [*self.fast, *self.slow]:
            thread.read_now()
            thread.start()
        for dense in self.dense:
            dense.start()
        self._note_clock_offset()
        self._write_host()
        self.flush()
        self._cpu_and_time_s = (time.process_time(), time.monotonic())
        self._writer.start()

    def edge(self) -> float:
        """Read all fast quantities now and request the slow ones: a window begins or ends.

        Returns the time, s on the monotonic clock.
        """
        now = time.monotonic()
        for thread in self.slow:
            thread.request_reading()
        for dense in self.dense:
            dense.edge()
        for thread in self.fast:
            if not thread.read_now():
                self._note(f"{thread.name} hung at a window's edge")
        return now

    def live(self) -> dict[str, Sample]:
        """Return the newest plausible value of every quantity, by device."""
        infos = {info.id: info for info in self.host.devices}
        newest = dict(self._newest)
        return {device: plausible_sample(s, infos.get(device)) for device, s in newest.items()}

    def flush(self) -> None:
        """Write every reading so far to disk."""
        with self._writing:
            while self.samples:
                sample = self.samples.popleft()
                self._newest[sample.device] = _updated(self._newest.get(sample.device), sample)
                self.file.append([sample])
            if not self.file.flush():
                self._refused = (
                    f"{self.file.path.name} could not be written for a time, "
                    f"its rows waited: {self.file.trouble}"
                )
                self._note(self._refused)

    def stop(self) -> Host:
        """Take the last readings, write everything, and return the host."""
        self.edge()
        for dense in self.dense:
            dense.settle()
        self._ended.set()
        self._writer.join()
        self._stop_threads()
        self.flush()
        self.file.close()
        self._note_lost_rows()
        cpu_s, since_s = self._cpu_and_time_s
        self._note_clock_offset()
        elapsed_s = max(1e-9, time.monotonic() - since_s)
        self.host = msgspec.structs.replace(
            self.host,
            probes=tuple(self._with_update_periods(p) for p in self.host.probes),
            clock_end=clock_pair(),
            cpu_share=round((time.process_time() - cpu_s) / elapsed_s, 6),
        )
        self._write_host()
        return self.host

    def _note_probes(self, probes: tuple[Probe, ...]) -> None:
        self.host = msgspec.structs.replace(self.host, clock_start=clock_pair(), probes=probes)
        if self.scope.gpus is None and not self.scope.replay:
            gpus = [d for d in self.host.devices if d.boundary == "gpu"]
            self.host = msgspec.structs.replace(self.host, gpus_unread=why_gpus_unread(len(gpus)))

    def _add_threads(self, meter: ProbedMeter) -> None:
        name, period_s = meter.probe.meter, 1 / self.host.hz
        self.meters.append(meter)
        self.fast.append(MeterThread(name, meter.read, period_s, self.samples))
        if meter.read_slow:
            slow_s = max(_SLOW_PERIOD_S, period_s)
            self.slow.append(MeterThread(f"{name}-slow", meter.read_slow, slow_s, self.samples))
        if meter.read_quick:
            schedule = DenseSchedule(meter.probe.devices, time.monotonic())
            self.dense.append(DenseThread(name, meter.read_quick, schedule, self.samples))

    def _stop_threads(self) -> None:
        threads: list[MeterThread | DenseThread] = [*self.fast, *self.slow, *self.dense]
        for thread in threads:
            thread.stop()
        hanging = [thread for thread in threads if not thread.join(_SLOW_PERIOD_S)]
        for meter_thread in [*self.fast, *self.slow]:
            if meter_thread.failures:
                self._note(
                    f"{meter_thread.name}: {meter_thread.failures} of {meter_thread.turns} "
                    f"readings failed, last: {meter_thread.trouble}"
                )
        if not hanging:
            for meter in self.meters:
                meter.close()

    def _with_update_periods(self, probe: Probe) -> Probe:
        """Return a probe with the update periods of its devices as they were observed."""
        devices = probe.devices
        for dense in self.dense:
            if dense.meter == probe.meter:
                devices = tuple(dense.schedule.with_observed_period(d) for d in devices)
        return msgspec.structs.replace(probe, devices=devices)

    def _write_rows(self) -> None:
        monotonic, utc = self.host.clock_start
        offset = utc - monotonic
        while not self._ended.wait(FLUSH_S):
            self.flush()
            monotonic, utc = clock_pair()
            moved = utc - monotonic - offset
            offset += moved
            if abs(moved) > _JUMP_S:
                jumps = (*self.host.jumps, Jump(round(monotonic, 6), round(moved, 6)))
                self.host = msgspec.structs.replace(self.host, jumps=jumps)
                self._write_host()

    def _note_clock_offset(self) -> None:
        against = self._compare_clock(self.folder) if self._compare_clock else None
        if against:
            self.host = msgspec.structs.replace(self.host, against=(*self.host.against, against))

    def _note_lost_rows(self) -> None:
        if not self.file.lost_rows:
            return
        begin = self.host.clock_start[0]
        first, last = (t - begin for t in self.file.lost_s or (begin, begin))
        reason = self._refused.partition(": ")[2]
        other_troubles = tuple(t for t in self.host.troubles if t != self._refused)
        self.host = msgspec.structs.replace(self.host, troubles=other_troubles)
        self._note(
            f"{self.file.path.name}: {self.file.lost_rows} rows, read {first:.1f} s to "
            f"{last:.1f} s after the start, were never written: {reason}"
        )

    def _note(self, text: str) -> None:
        if text in self.host.troubles:
            return
        self.host = msgspec.structs.replace(self.host, troubles=(*self.host.troubles, text))
        print(f"wattlaw sampler: {text}", file=sys.stderr)

    def _write_host(self) -> None:
        try:
            write_whole(self.folder / f"host-{self.host.host}.json", msgspec.json.encode(self.host))
        except RecordError as error:
            self._note(str(error))


def sampler_mark(pid: int, folder: Path) -> str:
    """Return the value of WATTLAW_SAMPLER for the children of a process that samples."""
    return f"{boot_id()}:{pid}:{folder}"


def check_rate(hz: float) -> None:
    """Raise UsageError if a sampling rate is out of range."""
    if not 0.1 <= hz <= 100:
        raise UsageError(f"hz is {hz}; it must be between 0.1 and 100")


def _updated(before: Sample | None, sample: Sample) -> Sample:
    """Return a sample, with missing values taken from the previous one."""
    if before is None:
        return sample
    values = {}
    for name in Sample.__struct_fields__:
        value = getattr(sample, name)
        values[name] = getattr(before, name) if value is None else value
    return Sample(**values)

"""Samples the meters of one host: a thread for each meter, rows to disk each second, the host's clock under watch."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from wattlaw.core.cores import cpu_name, usable_cores
from wattlaw.core.errors import (
    RecordError,
    UsageError,
    WattlawError,
)
from wattlaw.core.files import make_folder, write_whole
from wattlaw.devices.meter import Probe, Sample, Scope
from wattlaw.devices.probe_meters import ProbedMeter, probe_meters
from wattlaw.measuring.files.host_files import (
    Host,
    Jump,
    TelemetryFile,
    boot_id,
    clock_pair,
    host_name,
)
from wattlaw.measuring.sampling.clock_offsets import set_against
from wattlaw.measuring.sampling.dense_readings import Dense, DenseLane
from wattlaw.slurm.environment import why_gpus_unread, why_shared

_EDGE_WAIT_S = 1.0


_JUST_S = 0.1


class Lane:
    """Reads on an absolute schedule; a reading that takes too long skips its missed turns, it never bunches them."""

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
        self._is_asked = False
        self._last = 0.0
        self._thread = threading.Thread(target=self._run, name=f"wattlaw-{name}", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; ``join`` waits for it, and for a reading that was asked for before."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False where it hangs in its device."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def read_now(self) -> bool:
        """Read at once, beside the schedule; False where the device still hangs in an earlier reading."""
        if not self._busy.acquire(timeout=_EDGE_WAIT_S):
            return False
        try:
            self._turn()
        finally:
            self._busy.release()
        return True

    def read_soon(self) -> None:
        """Have the thread read at once, beside the schedule, and wait for nothing; unless it has just read."""
        if time.monotonic() - self._last > _JUST_S:
            self._is_asked = True
            self._wake.set()

    def _run(self) -> None:
        due = time.monotonic() + self.period_s
        while not self._stop.is_set() or self._is_asked:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            is_asked, self._is_asked = self._is_asked, False
            if not is_asked and (self._stop.is_set() or time.monotonic() < due):
                continue
            with self._busy:
                self._turn()
            if is_asked:
                continue
            missed = int(max(0.0, time.monotonic() - due) / self.period_s)
            self.skipped += missed
            due += self.period_s * (1 + missed)

    def _turn(self) -> None:
        self.turns += 1
        self._last = time.monotonic()
        try:
            self._sink.extend(self._read())
        except (WattlawError, OSError, ValueError) as error:
            # one failed reading leaves its cells empty; the next turn tries again
            self.failures += 1
            self.trouble = str(error)


VARIABLE = "WATTLAW_SAMPLER"
"""Set while a sampler runs, for the children of the process that started it: "boot id:pid:folder"."""


def telling(pid: int, folder: Path) -> str:
    """Return what the variable tells of a sampler."""
    return f"{boot_id()}:{pid}:{folder}"


ROOM = "wattlaw.devices.meters"


FLUSH_S = 1.0


_SLOW_PERIOD_S = 1.0


_JUMP_S = 0.05
"""A step of UTC against the monotonic clock between two looks, 1 s apart, that no slewing (500 ppm) makes."""


class Engine:
    """Samples this host into ``folder`` from ``start`` to ``stop``. Raises UsageError for an impossible rate."""

    def __init__(
        self, folder: Path, scope: Scope, hz: float = 10.0, meters: tuple[str, ...] | None = None
    ) -> None:
        check_rate(hz)
        self.folder = make_folder(folder)
        self.scope = scope
        self.names = meters
        self.sink: deque[Sample] = deque()
        self.file = TelemetryFile(folder / f"telemetry-{host_name()}.csv")
        self.meters: list[ProbedMeter] = []
        self.fast: list[Lane] = []
        self.slow: list[Lane] = []
        self.dense: list[DenseLane] = []
        self.host = Host(host=host_name(), boot_id=boot_id(), hz=hz, root_pid=scope.root_pid,
                         cores=usable_cores(), cpu_name=cpu_name(), shared=why_shared())  # fmt: skip
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="wattlaw-keeper", daemon=True)
        self._used_s = (0.0, 0.0)
        self._writing = threading.Lock()
        self._live: dict[str, Sample] = {}
        self._refused = ""

    def start(self) -> None:
        """Find the meters, take the first readings, and go on."""
        probed = probe_meters(self.scope, self.names)
        self.host = msgspec.structs.replace(
            self.host, clock_start=clock_pair(), probes=tuple(meter.probe for meter in probed)
        )
        if self.scope.gpus is None and not self.scope.replay:
            seen = sum(d.boundary == "gpu" for d in self.host.devices)
            self.host = msgspec.structs.replace(self.host, gpus_unread=why_gpus_unread(seen))
        period = 1 / self.host.hz
        for meter in probed:
            name, devices = meter.probe.meter, meter.probe.devices
            if not devices:
                meter.close()
                continue
            self.meters.append(meter)
            self.fast.append(Lane(name, meter.read, period, self.sink))
            if meter.read_slow:
                slow = max(_SLOW_PERIOD_S, period)
                self.slow.append(Lane(f"{name}-slow", meter.read_slow, slow, self.sink))
            if meter.read_quick:
                rule = Dense(devices, time.monotonic())
                self.dense.append(DenseLane(name, meter.read_quick, rule, self.sink))
        for lane in [*self.fast, *self.slow]:
            lane.read_now()
            lane.start()
        for dense in self.dense:
            dense.start()
        self._set_clock()
        self._write_host()
        self._flush()
        self._used_s = (time.process_time(), time.monotonic())
        self._keeper.start()

    def edge(self) -> float:
        """Read all fast quantities now, at the edge of a window, and have the slow ones read; return the time, s."""
        now = time.monotonic()
        for lane in self.slow:
            lane.read_soon()
        for dense in self.dense:
            dense.edge()
        for lane in self.fast:
            if not lane.read_now():
                self._note(f"{lane.name} hung at a window's edge")
        return now

    def live(self) -> dict[str, Sample]:
        """Return the newest value of every quantity of every device, for whoever wants to look on."""
        return dict(self._live)

    def flush(self) -> None:
        """Bring every row read so far to disk."""
        self._flush()

    def stop(self) -> Host:
        """Take the last readings, write all, and return what is known of the host."""
        self.edge()
        for dense in self.dense:
            dense.settle()
        self._ended.set()
        self._keeper.join()
        lanes: list[Lane | DenseLane] = [*self.fast, *self.slow, *self.dense]
        for lane in lanes:
            lane.stop()
        hanging = {lane.name for lane in lanes if not lane.join(_SLOW_PERIOD_S)}
        for lane in [*self.fast, *self.slow]:
            if lane.failures:
                self._note(
                    f"{lane.name}: {lane.failures} of {lane.turns} readings failed, last: {lane.trouble}"
                )
        if not hanging:
            for meter in self.meters:
                meter.close()
        self._flush()
        self.file.close()
        self._tell_lost()
        used, since = self._used_s
        self._set_clock()
        self.host = msgspec.structs.replace(
            self.host,
            probes=tuple(self._learned(p) for p in self.host.probes),
            clock_end=clock_pair(),
            cpu_share=round((time.process_time() - used) / max(1e-9, time.monotonic() - since), 6),
        )
        self._write_host()
        return self.host

    def _learned(self, probe: Probe) -> Probe:
        rules = [dense.rule for dense in self.dense if dense.name == f"{probe.meter}-dense"]
        devices = probe.devices
        for rule in rules:
            devices = tuple(rule.learned(d) for d in devices)
        return msgspec.structs.replace(probe, devices=devices)

    def _keep(self) -> None:
        monotonic, utc = self.host.clock_start
        offset = utc - monotonic
        while not self._ended.wait(FLUSH_S):
            self._flush()
            monotonic, utc = clock_pair()
            moved = utc - monotonic - offset
            offset += moved
            if abs(moved) > _JUMP_S:
                jumps = (*self.host.jumps, Jump(round(monotonic, 6), round(moved, 6)))
                self.host = msgspec.structs.replace(self.host, jumps=jumps)
                self._write_host()

    def _set_clock(self) -> None:
        against = set_against(self.folder)
        if against:
            self.host = msgspec.structs.replace(self.host, against=(*self.host.against, against))

    def _flush(self) -> None:
        with self._writing:
            self._write_rows()

    def _write_rows(self) -> None:
        while self.sink:
            sample = self.sink.popleft()
            self._live[sample.device] = _newest(self._live.get(sample.device), sample)
            self.file.append([sample])
        if not self.file.flush():
            self._refused = f"{self.file.path.name} was refused for a time, its rows waited: {self.file.trouble}"
            self._note(self._refused)

    def _tell_lost(self) -> None:
        if not self.file.lost_rows:
            return
        begin = self.host.clock_start[0]
        first, last = (t - begin for t in self.file.lost_s or (begin, begin))
        why = self._refused.partition(": ")[2]
        when = f"read {first:.1f} s to {last:.1f} s after the start"
        rest = tuple(t for t in self.host.troubles if t != self._refused)
        self.host = msgspec.structs.replace(self.host, troubles=rest)
        self._note(
            f"{self.file.path.name}: {self.file.lost_rows} rows, {when}, were never written: {why}"
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


def check_rate(hz: float) -> None:
    """Raise UsageError where a sampling rate is out of range."""
    if not 0.1 <= hz <= 100:
        raise UsageError(f"hz is {hz}; it must be between 0.1 and 100")


def _newest(before: Sample | None, sample: Sample) -> Sample:
    """Return a sample with the values that it lacks taken from the one before."""
    if before is None:
        return sample
    values = {
        n: v if (v := getattr(sample, n)) is not None else getattr(before, n)
        for n in Sample.__struct_fields__
    }
    return Sample(**values)

"""The processes of a job from /proc, and the CPU time of all of them, ended ones included."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_LOOK_SHARE = 0.003
"""Share of time that looking for new processes may take, and that listing all may take besides."""

_LIST_EVERY_S = 10.0
"""All processes are listed at most this often; in between only new process numbers are tried."""

_YOUNG_S = 1.0
"""A younger process may not have executed its program yet, and is tried again at each look."""

_MAX_TRIED = 1000
_SURELY_OLDER_S = 0.1


class Process(NamedTuple):
    """One process: CPU time of its own and of the children it has waited for, s."""

    pid: int
    parent: int
    start: int
    own_s: float
    children_s: float
    resident_bytes: int


class ProcessTree:
    """A process and all its descendants, followed over time.

    ``cpu_s`` never falls and counts nothing twice. When a parent waits for a child, the child's
    time moves into the parent's children time; what was already counted of it is subtracted. A
    child that no process waited for keeps the time of its last reading.

    A root in ``excluded`` is the root of the tree but is not counted: it is the runner of a
    trial, not the trial. Children that it has at the first poll belong to it too, such as a
    guard of limits.

    A process that joins later but is older than the first poll counts from then on: its earlier
    work was not the job's. One that lives between two polls and is not waited for is not seen.
    A process with ``mark`` in its environment is the job's whatever it descends from: this finds
    processes that lost their parent before they were seen.
    """

    def __init__(
        self,
        root: int,
        excluded: tuple[int, ...] = (),
        proc: str = "/proc",
        slurm_job: str = "",
        mark: str = "",
    ) -> None:
        self.root = root
        self.mark = mark.encode()
        self.slurm_job = slurm_job
        self.excluded = set(excluded)
        self.proc = proc
        self.alive: dict[int, Process] = {}
        self.foreign: set[int] = set()
        self.young: set[int] = set()
        self.of_runner: dict[int, int] = {}
        self.cpu_s = 0.0
        self.next_look = self.next_list = 0.0
        self.newest = 0
        self.first_look_s: float | None = None

    def update(self, now: float | None = None) -> None:
        """Read every known process again, and look for new ones when that is due."""
        now = time.monotonic() if now is None else now
        before = self.alive
        after = {pid: p for pid, old in before.items() if (p := self._same(old))}
        if now >= self.next_look:
            begin, is_due = time.perf_counter(), now >= self.next_list
            is_listed = self._look_for_new(after, now)
            pause_s = (time.perf_counter() - begin) / _LOOK_SHARE
            if is_listed:
                self.next_list = now + max(_LIST_EVERY_S, pause_s)
            if not (is_listed and is_due and self.newest):
                self.next_look = now + pause_s
        if self.first_look_s is None:
            self.first_look_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        else:
            oldest = self.first_look_s - _SURELY_OLDER_S
            before = before | {
                n: p for n, p in after.items() if n not in before and p.start * _TICK_S < oldest
            }
        self.alive = after
        self.cpu_s += spent(before, after)

    def processes(self) -> int:
        """Return the number of live processes of the job, without a root in ``excluded``."""
        return len(self.alive) - (self.root in self.excluded and self.root in self.alive)

    def memory_bytes(self) -> int:
        """Return resident memory; of shared pages only the largest share of one process counts."""
        private = shared = 0
        for pid, process in self.alive.items():
            if not process.resident_bytes:
                continue
            part = self._shared_bytes(pid)
            private += max(0, process.resident_bytes - part)
            shared = max(shared, part)
        return private + shared

    def holds(self, pid: int) -> bool | None:
        """Return whether a process belongs to the job; None for one that is gone or hidden."""
        if pid in self.alive:
            return True
        if self._read(pid) is None:
            return None
        return False

    def _same(self, old: Process) -> Process | None:
        new = self._read(old.pid)
        return new if new and new.start == old.start else None

    def _look_for_new(self, known: dict[int, Process], now: float) -> bool:
        """Add the job's new processes; return whether all were listed, not only new numbers."""
        newest, before = self._newest_number(), self.newest
        self.newest = newest
        if newest and before <= newest <= before + _MAX_TRIED and now < self.next_list:
            if tried := self.young | set(range(before + 1, newest + 1)):
                self._join(tried, known, may_be_threads=True)
            return False
        pids = {int(name) for name in os.listdir(self.proc) if name.isdigit()}
        # if numbers started again from below, a foreign number may be a new process
        self.foreign = self.foreign & pids if before <= newest else set()
        self._join(pids - self.foreign, known, may_be_threads=False)
        return True

    def _newest_number(self) -> int:
        """Return the newest number of a process or thread; 0 if it is not reported."""
        text = self._head("loadavg").split()
        if not text or not text[-1].isdigit():
            return 0
        return int(text[-1])

    def _join(self, pids: set[int], known: dict[int, Process], *, may_be_threads: bool) -> None:
        others = self.excluded - {self.root}
        fresh = {p: read for p in pids - known.keys() - others if (read := self._read(p))}
        if self.first_look_s is None and self.root in self.excluded:
            self.of_runner = {p.pid: p.start for p in fresh.values() if p.parent == self.root}
        fresh = {p: read for p, read in fresh.items() if self.of_runner.get(p) != read.start}
        if may_be_threads:
            fresh = {p: read for p, read in fresh.items() if self._is_process(p)}
        if self.root in fresh:
            known[self.root] = fresh.pop(self.root)
        if self.slurm_job:
            for pid in [p for p in fresh if self._is_of_job(p)]:
                known[pid] = fresh.pop(pid)
        _adopt(fresh, known)
        if self.mark and self.first_look_s is not None:
            for pid in [p for p in fresh if self.mark in self._text(p, "environ").split(b"\0")]:
                known[pid] = fresh.pop(pid)
            _adopt(fresh, known)
        oldest = time.clock_gettime(time.CLOCK_BOOTTIME) - _YOUNG_S
        self.young = {p.pid for p in fresh.values() if p.start * _TICK_S > oldest}
        # a parent that started after the listing may still be the job's
        self.foreign |= {
            p.pid for p in fresh.values() if p.parent in pids or p.parent == 0
        } - self.young

    def _read(self, pid: int) -> Process | None:
        text = self._head(f"{pid}/stat")
        # the command's name is in brackets and may contain brackets and spaces
        f = text[text.rfind(b")") + 2 :].split()
        if len(f) < 22:
            return None
        if pid == self.root and pid in self.excluded:
            return Process(pid, int(f[1]), int(f[19]), 0.0, 0.0, 0)
        own, children = int(f[11]) + int(f[12]), int(f[13]) + int(f[14])
        return Process(
            pid, int(f[1]), int(f[19]), own * _TICK_S, children * _TICK_S, int(f[21]) * _PAGE_BYTES
        )

    def _is_process(self, number: int) -> bool:
        """Return whether a number is that of a process and not of a thread."""
        return f"\nTgid:\t{number}\n".encode() in self._head(f"{number}/status")

    def _is_of_job(self, pid: int) -> bool:
        # Slurm names the job in the control group, and in the environment if it uses none
        if f"/job_{self.slurm_job}/".encode() in self._text(pid, "cgroup"):
            return True
        variables = self._text(pid, "environ").split(b"\0")
        node = os.environ.get("SLURMD_NODENAME")
        expected = [f"SLURM_JOB_ID={self.slurm_job}"]
        if node:
            expected.append(f"SLURMD_NODENAME={node}")
        return all(text.encode() in variables for text in expected)

    def _head(self, name: str) -> bytes:
        """Return the first 2 KiB of a file in the fewest system calls; b"" if it is gone."""
        try:
            file = os.open(f"{self.proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(file, 2048)
        except OSError:
            return b""  # the process ended meanwhile
        finally:
            os.close(file)

    def _text(self, pid: int, name: str) -> bytes:
        try:
            with open(f"{self.proc}/{pid}/{name}", "rb") as file:
                return file.read()
        except OSError:
            return b""  # gone, or another user's

    def _shared_bytes(self, pid: int) -> int:
        try:
            return int(self._head(f"{pid}/statm").split()[2]) * _PAGE_BYTES
        except (IndexError, ValueError):
            return 0


def _adopt(fresh: dict[int, Process], known: dict[int, Process]) -> None:
    """Move the descendants of known processes from ``fresh`` to ``known``."""
    # a child may precede its parent in the list, so repeat until nothing is moved
    while joining := [p for p in fresh.values() if p.parent in known]:
        for process in joining:
            known[process.pid] = fresh.pop(process.pid)


def spent(before: dict[int, Process], after: dict[int, Process]) -> float:
    """Return the CPU time that a tree used between two polls, s; at least 0.

    A process first seen in ``after`` counts with all its time. A process gone since ``before`` is
    in the children time of its nearest living ancestor, which grew by all that the process used:
    its time at the last reading is subtracted from that growth.
    """
    gone_s: dict[int, float] = {}
    for pid, process in before.items():
        if pid in after:
            continue
        parent = process.parent
        while parent in before and parent not in after:
            parent = before[parent].parent
        if parent in after:
            gone_s[parent] = gone_s.get(parent, 0.0) + process.own_s + process.children_s
    total = 0.0
    for pid, process in after.items():
        old = before.get(pid)
        if old is None:
            total += process.own_s + process.children_s
            continue
        total += max(0.0, process.own_s - old.own_s)
        total += max(0.0, process.children_s - old.children_s - gone_s.get(pid, 0.0))
    return total

"""The processes of a job as /proc shows them, and the CPU time of all of them, gone ones included."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_LOOK_SHARE = 0.003
"""New processes are looked for so rarely that it takes at most this share of the time; listing all, another such."""

_LIST_EVERY_S = 10.0
"""In between only the numbers given out since the last look are tried; so rarely, or rarer, all are listed."""

_YOUNG_S = 1.0
"""A process that is younger may not yet have become the program that it will be, and is tried again at each look."""

_MOST_TRIED = 1000
_SURELY_OLDER_S = 0.1


class Process(NamedTuple):
    """One process: CPU time of its own and of the children it has waited for, s."""

    pid: int
    parent: int
    start: int
    own_s: float
    children_s: float
    resident_bytes: int


class Tree:
    """A process and all its descendants, followed over time.

    ``cpu_s`` never falls and counts nothing twice. A child that was waited for moves into its parent's
    children's time; what of that time was seen in the child before is taken off. A child that nobody
    waited for keeps the time that was last seen. A root that is set ``apart`` holds the tree together
    but counts for nothing itself: it is the runner of a trial, not the trial. What children it has at the
    first look are its own too: a guard of limits, a program that a meter follows.
    A process that joins later but is older than the first look counts from then on: what it did before was
    not the job's. One that lives for less than the time between two looks, and that nobody waits for, is not seen.
    A process whose environment holds ``mark`` is the job's wherever it descends from: one that lost its parent
    before it was seen is found by it.
    """

    def __init__(
        self,
        root: int,
        apart: tuple[int, ...] = (),
        proc: str = "/proc",
        slurm_job: str = "",
        mark: str = "",
    ) -> None:
        self.root = root
        self.mark = mark.encode()
        self.slurm_job = slurm_job
        self.apart = set(apart)
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
        """Return how many processes of the job live; a root that is set apart is none of them."""
        return len(self.alive) - (self.root in self.apart and self.root in self.alive)

    def memory_bytes(self) -> int:
        """Return resident memory; pages shared through files are counted once, as the largest share of one process."""
        private = shared = 0
        for pid, process in self.alive.items():
            if not process.resident_bytes:
                continue
            part = self._shared_bytes(pid)
            private += max(0, process.resident_bytes - part)
            shared = max(shared, part)
        return private + shared

    def holds(self, pid: int) -> bool | None:
        """Say whether a process belongs to the job; None where it cannot be seen (another namespace, or gone)."""
        if pid in self.alive:
            return True
        return None if self._read(pid) is None else False

    def _same(self, old: Process) -> Process | None:
        new = self._read(old.pid)
        return new if new and new.start == old.start else None

    def _look_for_new(self, known: dict[int, Process], now: float) -> bool:
        """Add the job's new processes: of the numbers given out since the last look, or of all; True for all."""
        newest, before = self._newest_number(), self.newest
        self.newest = newest
        if newest and before <= newest <= before + _MOST_TRIED and now < self.next_list:
            if tried := self.young | set(range(before + 1, newest + 1)):
                self._join(tried, known, may_be_threads=True)
            return False
        pids = {int(name) for name in os.listdir(self.proc) if name.isdigit()}
        # where numbers began again from below, a foreign one's may be a new process's
        self.foreign = self.foreign & pids if before <= newest else set()
        self._join(pids - self.foreign, known, may_be_threads=False)
        return True

    def _newest_number(self) -> int:
        """Return the number that a process or thread got last; 0 where the system does not say."""
        text = self._head("loadavg").split()
        return int(text[-1]) if text and text[-1].isdigit() else 0

    def _join(self, pids: set[int], known: dict[int, Process], *, may_be_threads: bool) -> None:
        others = self.apart - {self.root}
        fresh = {p: read for p in pids - known.keys() - others if (read := self._read(p))}
        if self.first_look_s is None and self.root in self.apart:
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
        # a parent that started after the list was taken may yet turn out to be ours
        self.foreign |= {
            p.pid for p in fresh.values() if p.parent in pids or p.parent == 0
        } - self.young

    def _read(self, pid: int) -> Process | None:
        text = self._head(f"{pid}/stat")
        # the command's name stands in brackets and may itself hold brackets and blanks
        f = text[text.rfind(b")") + 2 :].split()
        if len(f) < 22:
            return None
        if pid == self.root and pid in self.apart:
            return Process(pid, int(f[1]), int(f[19]), 0.0, 0.0, 0)
        own, children = int(f[11]) + int(f[12]), int(f[13]) + int(f[14])
        return Process(
            pid, int(f[1]), int(f[19]), own * _TICK_S, children * _TICK_S, int(f[21]) * _PAGE_BYTES
        )

    def _is_process(self, number: int) -> bool:
        """Say whether a number is that of a process; threads are found by theirs too."""
        return f"\nTgid:\t{number}\n".encode() in self._head(f"{number}/status")

    def _is_of_job(self, pid: int) -> bool:
        # Slurm names the job in the processes' control group, and in their environment where it uses none
        if f"/job_{self.slurm_job}/".encode() in self._text(pid, "cgroup"):
            return True
        variables = self._text(pid, "environ").split(b"\0")
        node = os.environ.get("SLURMD_NODENAME")
        wanted = [f"SLURM_JOB_ID={self.slurm_job}", *([f"SLURMD_NODENAME={node}"] if node else [])]
        return all(w.encode() in variables for w in wanted)

    def _head(self, name: str) -> bytes:
        """Return the first 2 KiB of a file, b"" where it is gone, in the fewest calls: they are what a look costs."""
        try:
            file = os.open(f"{self.proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(file, 2048)
        except OSError:
            return b""  # it ended in this moment
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
    """Move those that descend from known processes to them."""
    # a child may stand before its parent in the list, so go round until nothing joins
    while joining := [p for p in fresh.values() if p.parent in known]:
        for process in joining:
            known[process.pid] = fresh.pop(process.pid)


def spent(before: dict[int, Process], after: dict[int, Process]) -> float:
    """Return the CPU time that a tree used between two looks at it, s; at least 0.

    A process first seen in ``after`` counts whole. A process gone since ``before`` is in the children's
    time of its nearest living ancestor, which grew by what it used in all: its time as last seen is
    taken off that growth.
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

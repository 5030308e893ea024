"""The processes of a job: CPU time never decreases and is counted once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from wattlaw.devices.meter import Scope
from wattlaw.devices.meters.procfs import Procfs
from wattlaw.devices.proctree import Process, ProcessTree, spent

BURN = "import time\nwhile time.process_time() < {s}: pass"


def process(pid: int, parent: int, own_s: float, children_s: float = 0.0) -> Process:
    return Process(pid, parent, 0, own_s, children_s, 0)


def test_a_reaped_child_is_counted_once() -> None:
    before = {1: process(1, 0, 1.0), 2: process(2, 1, 5.0)}
    after = {1: process(1, 0, 1.5, children_s=5.2)}
    assert spent(before, after) == 0.5 + (5.2 - 5.0)


def test_an_unreaped_child_keeps_its_time() -> None:
    before = {1: process(1, 0, 1.0), 2: process(2, 1, 5.0)}
    assert spent(before, {1: process(1, 0, 1.0)}) == 0


def test_a_grandchild_that_ended_with_its_parent_is_counted_once() -> None:
    before = {1: process(1, 0, 0.0), 2: process(2, 1, 1.0), 3: process(3, 2, 4.0)}
    after = {1: process(1, 0, 0.0, children_s=5.5)}
    assert spent(before, after) == 0.5


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 2), st.booleans()), max_size=60))
def test_cpu_time_of_any_process_tree_is_the_time_spent(
    moves: list[tuple[int, float, bool]],
) -> None:
    own: dict[int, float] = {1: 0.0}
    children: dict[int, float] = {1: 0.0}
    parent = {1: 0}
    truth = total = 0.0

    def look() -> dict[int, Process]:
        return {p: process(p, parent[p], own[p], children[p]) for p in own}

    before = look()
    for number, (pick, seconds, ends) in enumerate(moves, 2):
        pids = list(own)
        pid = pids[pick % len(pids)]
        own[pid] += seconds
        truth += seconds
        leaves = [p for p in own if p != 1 and p not in parent.values()]
        if ends and leaves:
            gone = leaves[-1]
            above = parent.pop(gone)
            children[above] += own.pop(gone) + children.pop(gone)
        elif pick % 2:
            own[number], children[number], parent[number] = 0.0, 0.0, pid
        if number % 3 == 0:
            after = look()
            total += spent(before, after)
            before = after
    total += spent(before, look())
    assert abs(total - truth) < 1e-9 * max(1.0, truth)


def test_the_cpu_time_of_a_real_tree_does_not_drop_when_a_child_ends() -> None:
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(s=0.3)!r}])\ninput()"
    job = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    try:
        tree = ProcessTree(job.pid)
        seen = []
        until = time.monotonic() + 20
        while time.monotonic() < until and not (
            len(seen) > 2 and seen[-1] > 0.25 and len(tree.alive) == 1
        ):
            tree.update()
            seen.append(tree.cpu_s)
            time.sleep(0.02)
        assert seen == sorted(seen)
        assert 0.25 < seen[-1] < 1.5
    finally:
        job.communicate(b"\n")


def test_the_machine_and_the_job_are_read_from_proc() -> None:
    meter = Procfs(Scope(root_pid=os.getpid()))
    assert [d.id for d in meter.probe().devices] == ["job", "node"]
    job, node = meter.read()[:2]
    assert job.cpu_time_s is not None
    assert job.cpu_time_s >= time.process_time() - 0.05
    assert job.memory_used_bytes is not None
    assert job.memory_used_bytes > 2**20
    assert node.device == "node"
    assert any(row.memory_used_bytes for row in meter.read_slow() if row.device == "node")


def test_an_ended_job_keeps_its_last_cpu_time() -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", BURN.format(s=0.15) + "\ninput()"], stdin=subprocess.PIPE
    )
    tree = ProcessTree(job.pid)
    until = time.monotonic() + 20
    while tree.cpu_s < 0.1 and time.monotonic() < until:
        tree.update()
        time.sleep(0.01)
    job.communicate(b"\n")
    last = tree.cpu_s
    tree.update()
    assert last >= 0.1
    assert tree.cpu_s == last
    assert tree.alive == {}


def test_an_orphaned_process_is_found_at_the_next_reading() -> None:
    burn = BURN.format(s=0.2) + "\ninput()"
    script = f"import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', {burn!r}]).pid, flush=True)\ninput()"
    job = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert job.stdin
        assert job.stdout
        tree = ProcessTree(job.pid)
        tree.update()
        job.stdin.write(b"\n")
        job.stdin.flush()
        child = int(job.stdout.readline())
        # the list of all processes is not due again, so it was found by its pid
        tree.next_look = 0.0
        tree.update(tree.next_list - 1)
        assert child in tree.alive
        assert tree.holds(child)
    finally:
        job.kill()
        job.communicate()


def test_threads_are_not_counted_as_processes() -> None:
    tree = ProcessTree(os.getpid())
    tree.update()
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    tree.next_look = 0.0
    tree.update(tree.next_list - 1)
    done.set()
    for thread in threads:
        thread.join()
    assert not {t.native_id for t in threads} & tree.alive.keys()


def test_what_an_older_process_did_before_it_joined_is_not_the_jobs() -> None:
    older = subprocess.Popen(
        [sys.executable, "-c", BURN.format(s=0.3) + "\nprint(1, flush=True)\ninput()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert older.stdout
        older.stdout.readline()
        tree = ProcessTree(os.getpid(), excluded=(os.getpid(), older.pid))
        tree.update()
        before = tree.cpu_s
        tree.excluded.discard(older.pid)
        tree.next_look = tree.next_list = 0.0
        tree.update()
        assert older.pid in tree.alive
        assert tree.cpu_s - before < 0.1
    finally:
        older.communicate(b"\n")


def test_a_process_started_after_the_first_reading_is_found_at_the_next() -> None:
    tree = ProcessTree(os.getpid())
    tree.update(1000.0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tree.update(1000.1)
    child.communicate(b"\n")
    assert child.pid in tree.alive


def test_a_process_that_lost_its_parent_unseen_is_found_by_its_mark() -> None:
    orphan = "import os, sys\nprint(os.getpid(), flush=True)\nsys.stdin.read()"
    script = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {orphan!r}])"
    tree = ProcessTree(os.getpid(), mark="WATTLAW_TEST_MARK=this one")
    tree.update(1000.0)
    job = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "WATTLAW_TEST_MARK": "this one"},
    )  # fmt: skip
    assert job.stdout
    assert job.stdin
    pid = int(job.stdout.readline())
    job.wait(20)
    tree.update(1000.1)
    job.stdin.close()
    job.stdout.close()
    assert pid in tree.alive
    unmarked = ProcessTree(os.getpid(), mark="WATTLAW_TEST_MARK=another")
    unmarked.update(1000.0)
    assert pid not in unmarked.alive


def test_what_a_runner_had_started_before_the_first_look_is_not_the_jobs() -> None:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    guard = start()
    tree = ProcessTree(os.getpid(), excluded=(os.getpid(),))
    tree.update(1000.0)
    assert tree.processes() == 0
    job = start()
    tree.update(1000.1)
    for process in (guard, job):
        process.communicate(b"\n")
    assert set(tree.alive) == {os.getpid(), job.pid}
    assert tree.processes() == 1


def test_a_process_seen_before_it_became_its_program_is_tried_again() -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tree = ProcessTree(other.pid, mark="WATTLAW_TEST_MARK=this one")
    tree.update(1000.0)
    script = "read go; WATTLAW_TEST_MARK='this one' exec sh -c 'echo ready; read end'"
    late = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert late.stdin
    assert late.stdout
    tree.update(1000.1)
    assert late.pid not in tree.alive
    late.stdin.write(b"go\n")
    late.stdin.flush()
    late.stdout.readline()
    tree.young.add(late.pid)  # as it is within a second, however slow this machine
    tree.update(tree.next_look + 0.1)
    late.communicate(b"end\n")
    other.communicate(b"\n")
    assert late.pid in tree.alive

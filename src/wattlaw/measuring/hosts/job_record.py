"""How the processes of one job, on one host or several, make one record."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import RecordError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.folder import new_attempt, write_run
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, to_json
from wattlaw.core.sweepfile import Trial
from wattlaw.measuring.files.host_files import host_name, read_host
from wattlaw.measuring.files.rank_files import read_rank
from wattlaw.measuring.reduce.summary import Summary


class Place(NamedTuple):
    """This process among those of its job, as torchrun or Slurm say it; rank 0 of 1 where neither does."""

    rank: int
    world: int
    local_rank: int
    local_world: int

    @property
    def is_leader(self) -> bool:
        """Whether this process makes the record."""
        return self.rank == 0

    @property
    def samples(self) -> bool:
        """Whether this process runs its host's sampler: one of them does."""
        return self.local_rank == 0


def place() -> Place:
    """Read this process's place from its environment."""
    rank, world = _number("RANK"), _number("WORLD_SIZE")
    if rank is None or world is None:
        # a batch script has a process id too, but only a step says how many tasks take part
        rank, world = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS")
    if rank is None or world is None or not 0 <= rank < world:
        return Place(0, 1, 0, 1)
    local = _number("LOCAL_RANK")
    local = _number("SLURM_LOCALID") if local is None else local
    local_world = _number("LOCAL_WORLD_SIZE")
    if local_world is None:
        local_world = world // max(1, _number("SLURM_STEP_NUM_NODES") or 1)
    return Place(rank, world, rank if local is None else local, max(1, local_world))


_MEMORY = "/dev/shm"


class Record(msgspec.Struct, frozen=True):
    """A trial's folder, its one attempt, the repeat number that its name holds, and what else is said of it."""

    trial: Path
    attempt: Path
    setting: Setting
    repeat: int
    labels: dict[str, str] = {}


def new_record(root: Path, setting: Setting, labels: dict[str, str] | None = None) -> Record:
    """Create the next repeat of a setting under ``root``, with what was asked and where it runs.

    Raises RecordError where the folder cannot be written.
    """
    from wattlaw.core.environment import (
        capture,
    )  # it takes time that a window without a record need not spend

    make_folder(root)
    repeat = 0
    while True:
        trial = root / Trial(setting, repeat).id
        with explained(trial):
            try:
                trial.mkdir()
                break
            except FileExistsError:
                repeat += 1
    attempt = new_attempt(trial)
    write_whole(attempt / "setting.json", to_json(setting))
    write_whole(attempt / "environment.json", msgspec.json.encode(capture()))
    return Record(trial, attempt, setting, repeat, labels or {})


def finish(record: Record, summary: Summary, error: str = "") -> Run:
    """Write and return the run: done, or failed with the text of its error.

    Where the disk refuses it the run is returned with the warning record_lost: what was measured has come to
    its end, and whoever waits for its exit code or its next line must not pay for a full disk.
    """
    run = run_of(record, summary, error)
    try:
        if error:
            write_whole(record.attempt / "error.txt", error.encode())
        write_run(record.trial, run)
    except RecordError as refused:
        print(f"wattlaw: {refused}", file=sys.stderr)
        return msgspec.structs.replace(
            run, warnings=(*run.warnings, Note("record_lost", str(refused)))
        )
    return run


def run_of(record: Record, summary: Summary, error: str = "") -> Run:
    """Return a summary as a run."""
    return Run(
        setting=record.setting,
        trial=record.trial.name,
        sweep=record.trial.absolute().parent.name,
        wattlaw=__version__,
        repeat=record.repeat,
        state="failed" if error else "done",
        started=summary.started,
        machine=summary.machine,
        labels=record.labels,
        quantities=summary.quantities,
        warnings=summary.warnings,
        error=error,
    )


def passing_place() -> str:
    """Return where a record that is not kept may lie; in memory where no disk takes a file."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return _MEMORY


_MEET_S = 120.0


_END_S = 60.0


_LOOK_S = 0.05


_JOB = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID",
        "SLURM_STEP_ID", "WORLD_SIZE")  # fmt: skip


@contextlib.contextmanager
def announced(root: Path, attempt: Path) -> Iterator[None]:
    """Tell the other ranks of the job where the record is, as long as this lasts."""
    path = _meeting_point(root)
    write_whole(path, str(attempt.absolute()).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced_attempt(root: Path) -> Path:
    """Wait for the attempt folder that rank 0 announces. Raises RecordError where it never does."""
    path = _meeting_point(root)
    found: list[Path] = []

    def is_there() -> bool:
        with contextlib.suppress(FileNotFoundError):
            found.append(Path(path.read_text(encoding="utf-8")))
        return bool(found) and found[-1].is_dir()

    if not _wait(is_there, _MEET_S):
        raise RecordError(
            f"rank 0 announced no record in {root} within {_MEET_S:.0f} s; is it a shared folder?"
        )
    return found[-1]


def wait_for_steps(attempt: Path, world: int) -> bool:
    """Wait until every rank has closed its steps; False where one does not in time."""

    def all_closed() -> bool:
        ranks = [read_rank(attempt / f"rank-{r}.json") for r in range(world)]
        return all(r is not None and r.ended for r in ranks)

    return _wait(all_closed, _END_S)


def wait_for_hosts(attempt: Path, world: int) -> bool:
    """Wait until the sampler of every rank's host has ended; False where one does not in time."""

    def all_ended() -> bool:
        ranks = [read_rank(attempt / f"rank-{r}.json") for r in range(world)]
        paths = {attempt / f"host-{r.host}.json" for r in ranks if r}
        return all(p.exists() and read_host(p).clock_end is not None for p in paths)

    return _wait(all_ended, _END_S)


def _meeting_point(root: Path) -> Path:
    words = [os.environ.get(name, "") for name in _JOB]
    here = place()
    if here.local_world == here.world:
        # all ranks descend from one process: its number tells two jobs with equal names apart
        words.append(str(os.getppid()))
    return root / f".job-{hashlib.sha256('|'.join(words).encode()).hexdigest()[:16]}"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """command-<host>.json: when the command ran on one node (s on its monotonic clock) and how it ended there."""

    host: str
    start_s: float
    end_s: float
    exit_code: int


def tell_end(attempt: Path, start_s: float, end_s: float, exit_code: int) -> None:
    """Note when the command ran on this node; times on its monotonic clock, s."""
    part = Part(host=host_name(), start_s=start_s, end_s=end_s, exit_code=exit_code)
    write_whole(attempt / f"command-{part.host}.json", msgspec.json.encode(part))


def wait_for_all_ends(attempt: Path, nodes: int) -> list[Part]:
    """Wait up to a minute for the command to end on every node, so that no sampler ends before the last of them."""
    until = time.monotonic() + _END_S
    while len(paths := sorted(attempt.glob("command-*.json"))) < nodes and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return [msgspec.json.decode(p.read_bytes(), type=Part) for p in paths]


def wait_for_all_samplers(attempt: Path, nodes: int) -> None:
    """Wait up to a minute for every node's sampler to have written its last row."""
    until = time.monotonic() + _END_S
    while time.monotonic() < until:
        hosts = [read_host(p) for p in attempt.glob("host-*.json")]
        if sum(h.clock_end is not None for h in hosts) >= nodes:
            return
        time.sleep(_LOOK_S)


def common_window(attempt: Path, parts: list[Part]) -> tuple[float, float]:
    """Return the window in which the command ran on all nodes: latest start to latest end, on this host's clock, s."""
    offsets = {p.host: read_host(attempt / f"host-{p.host}.json").offset_s for p in parts}
    here = offsets[host_name()]
    return max(p.start_s + offsets[p.host] for p in parts) - here, max(
        p.end_s + offsets[p.host] for p in parts
    ) - here


def _wait(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None

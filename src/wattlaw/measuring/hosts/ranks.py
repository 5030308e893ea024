"""Which of several processes of one job this is, and how they agree on one record without talking to each other."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import RecordError
from wattlaw.core.files import write_whole
from wattlaw.measuring.files.host import read_host
from wattlaw.measuring.files.steps import read_rank

_MEET_S = 120.0
_END_S = 60.0
_LOOK_S = 0.05

_JOB = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID",
        "SLURM_STEP_ID", "WORLD_SIZE")  # fmt: skip


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

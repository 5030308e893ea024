"""How the processes of one job, on one host or on several, make one record.

One process, the leader, creates the record and announces its folder in a file. The others write
their files into that folder, and the leader waits for them before it summarises.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import RecordError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.polling import wait_until
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.run_folder import new_attempt, write_run
from wattlaw.core.setting import Setting, to_json
from wattlaw.core.sweepfile import Trial
from wattlaw.measuring.files.host_files import host_name, read_host
from wattlaw.measuring.files.rank_files import read_rank
from wattlaw.measuring.reduce.attempt import Span
from wattlaw.measuring.reduce.summary import Summary, run_of

_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 60.0

_JOB_VARIABLES = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "WORLD_SIZE",
)
"""Together these identify a job; its processes find each other by their hash."""


class JobPlace(NamedTuple):
    """This process among those of its job, from torchrun or Slurm; rank 0 of 1 without either."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process makes the record."""
        return self.rank == 0

    @property
    def samples(self) -> bool:
        """Whether this process runs its host's sampler: one of them does."""
        return self.local_rank == 0


class JobRecord(msgspec.Struct, frozen=True):
    """A trial's folder with one attempt; ``repeat`` is the number in the folder's name."""

    trial: Path
    attempt: Path
    setting: Setting
    repeat: int
    labels: dict[str, str] = {}


class NodeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """command-<host>.json: when a command ran on one node, s on its clock, and its exit code."""

    host: str
    start_s: float
    end_s: float
    exit_code: int


def place() -> JobPlace:
    """Read this process's place from its environment."""
    rank, world = _number("RANK"), _number("WORLD_SIZE")
    if rank is None or world is None:
        # a batch script has SLURM_PROCID too, but only a step has a number of tasks
        rank, world = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS")
    if rank is None or world is None or not 0 <= rank < world:
        return JobPlace()
    local_rank = _number("LOCAL_RANK")
    if local_rank is None:
        local_rank = _number("SLURM_LOCALID")
    local_world = _number("LOCAL_WORLD_SIZE")
    if local_world is None:
        local_world = world // max(1, _number("SLURM_STEP_NUM_NODES") or 1)
    return JobPlace(rank, world, rank if local_rank is None else local_rank, max(1, local_world))


def new_record(root: Path, setting: Setting, labels: dict[str, str] | None = None) -> JobRecord:
    """Create the next repeat of a setting under ``root``, with its setting and environment.

    Raises RecordError if the folder cannot be written.
    """
    # slow, and a window without a record does not need it
    from wattlaw.core.run_environment import capture

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
    return JobRecord(trial, attempt, setting, repeat, labels or {})


def finish(record: JobRecord, summary: Summary, error: str = "") -> Run:
    """Write and return the run: done, or failed with an error.

    If the disk refuses it, the run is returned with the warning record_lost: a full disk must
    not end the user's program.
    """
    run = run_of(
        summary,
        record.setting,
        record.trial,
        repeat=record.repeat,
        labels=record.labels,
        error=error,
    )
    try:
        if error:
            write_whole(record.attempt / "error.txt", error.encode())
        write_run(record.trial, run)
    except RecordError as refusal:
        print(f"wattlaw: {refusal}", file=sys.stderr)
        warnings = (*run.warnings, Note("record_lost", str(refusal)))
        return msgspec.structs.replace(run, warnings=warnings)
    return run


@contextlib.contextmanager
def announced(root: Path, attempt: Path) -> Iterator[None]:
    """Announce the record to the other processes of the job within the context."""
    path = _announcement(root)
    write_whole(path, str(attempt.absolute()).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced_attempt(root: Path) -> Path:
    """Wait for the attempt folder that the leader announces. Raises RecordError without one."""
    path = _announcement(root)

    def attempt() -> Path | None:
        with contextlib.suppress(FileNotFoundError):
            folder = Path(path.read_text(encoding="utf-8"))
            return folder if folder.is_dir() else None
        return None

    found = wait_until(attempt, _START_TIMEOUT_S)
    if found is None:
        raise RecordError(
            f"rank 0 announced no record in {root} within {_START_TIMEOUT_S:.0f} s; "
            "use a folder that every node can see"
        )
    return found


def wait_for_steps(attempt: Path, world: int) -> bool:
    """Wait until every rank has closed its steps; False if one does not in time."""

    def all_ended() -> bool:
        ranks = [read_rank(attempt / f"rank-{r}.json") for r in range(world)]
        return all(r is not None and r.ended for r in ranks)

    return bool(wait_until(all_ended, _END_TIMEOUT_S))


def wait_for_hosts(attempt: Path, world: int) -> bool:
    """Wait until the sampler of every rank's host has ended; False if one does not in time."""

    def all_ended() -> bool:
        ranks = [read_rank(attempt / f"rank-{r}.json") for r in range(world)]
        paths = {attempt / f"host-{r.host}.json" for r in ranks if r}
        return all(p.exists() and read_host(p).clock_end is not None for p in paths)

    return bool(wait_until(all_ended, _END_TIMEOUT_S))


def note_command(attempt: Path, start_s: float, end_s: float, exit_code: int) -> None:
    """Note when the command ran on this node, s on its monotonic clock."""
    node = NodeCommand(host=host_name(), start_s=start_s, end_s=end_s, exit_code=exit_code)
    write_whole(attempt / f"command-{node.host}.json", msgspec.json.encode(node))


def wait_for_commands(attempt: Path, nodes: int) -> list[NodeCommand]:
    """Wait up to a minute for the command's end on every node; samplers must not end before."""

    def paths() -> list[Path]:
        return sorted(attempt.glob("command-*.json"))

    wait_until(lambda: len(paths()) >= nodes, _END_TIMEOUT_S)
    return [msgspec.json.decode(p.read_bytes(), type=NodeCommand) for p in paths()]


def wait_for_samplers(attempt: Path, nodes: int) -> None:
    """Wait up to a minute for the last row of every node's sampler."""

    def all_ended() -> bool:
        hosts = [read_host(p) for p in attempt.glob("host-*.json")]
        return sum(h.clock_end is not None for h in hosts) >= nodes

    wait_until(all_ended, _END_TIMEOUT_S)


def common_window(attempt: Path, commands: list[NodeCommand]) -> Span:
    """Return the latest start and the latest end of a command, s on this host's clock."""
    offsets = {c.host: read_host(attempt / f"host-{c.host}.json").offset_s for c in commands}
    here = offsets[host_name()]
    start = max(c.start_s + offsets[c.host] for c in commands) - here
    return start, max(c.end_s + offsets[c.host] for c in commands) - here


def _announcement(root: Path) -> Path:
    words = [os.environ.get(name, "") for name in _JOB_VARIABLES]
    here = place()
    if here.local_world == here.world:
        # on one host all ranks are children of one process, which distinguishes two equal jobs
        words.append(str(os.getppid()))
    return root / f".job-{hashlib.sha256('|'.join(words).encode()).hexdigest()[:16]}"


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None

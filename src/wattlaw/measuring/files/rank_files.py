"""The files of the ranks in an attempt's folder.

steps-<rank>.csv   one row for each training step, appended by each rank
rank-<rank>.json   where the rank ran, and one moment of its clock
pauses.csv         times without steps, by rank 0: evaluations, checkpoints
metrics.csv        what evaluations found, by rank 0
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.run_folder import STEP_COLUMNS
from wattlaw.measuring.files.host_files import boot_id, clock_pair, host_name

PHASES = STEP_COLUMNS[6:]

PAUSES = "pauses.csv"
METRICS = "metrics.csv"

PAUSE_COLUMNS = ("kind", "start_s", "end_s")
"""Columns of pauses.csv. ``kind`` is "evaluation" or "checkpoint"; times on rank 0's clock."""

METRIC_COLUMNS = ("step", "trained_samples", "time_s", "evaluated_samples")
"""First columns of metrics.csv, before one column for each metric.

``step`` is the last step before the evaluation, ``trained_samples`` those of all ranks up to then,
warm-up and earlier attempts included, ``time_s`` the start of the evaluation.
"""

_HEADER = (",".join(STEP_COLUMNS) + "\n").encode()
_FLUSH_S = 1.0


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step of one rank; times in s on the host's monotonic clock. None means not measured."""

    step: int
    warmup: bool
    start_s: float
    end_s: float
    samples: float | None = None
    loss: float | None = None
    data_s: float | None = None
    forward_s: float | None = None
    backward_s: float | None = None
    communication_s: float | None = None
    optimiser_s: float | None = None

    def phases(self) -> list[float]:
        """Return the times of the phases that were measured, s."""
        times = [getattr(self, name) for name in PHASES]
        return [t for t in times if t is not None]


class Rank(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where a rank ran, so that its times can be matched to its host's telemetry.

    ``clock`` is one moment as (monotonic s, UTC s since 1970); ``ended`` says that all its steps
    are on disk.
    """

    rank: int
    host: str
    boot_id: str = ""
    pid: int = 0
    clock: tuple[float, float] = (0.0, 0.0)
    ended: bool = False


class Pause(NamedTuple):
    """A time without steps, s on the monotonic clock of rank 0's host."""

    kind: str
    start_s: float
    end_s: float


class Evaluated(NamedTuple):
    """One row of metrics.csv."""

    step: int
    trained_samples: float
    time_s: float
    evaluated_samples: int
    metrics: dict[str, float]


class StepLog:
    """Appends the steps of one rank to its file; rows reach the disk within a second.

    Raises RecordError if the file cannot be created. While the disk is full, rows wait in
    memory; ``close`` raises RecordError if they could not be written at all.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.path = folder / f"steps-{rank}.csv"
        self.rank = Rank(
            rank=rank, host=host_name(), boot_id=boot_id(), pid=os.getpid(), clock=clock_pair()
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with explained(self.path):
            self._file = os.open(self.path, flags, 0o644)
        is_new = os.fstat(self._file).st_size == 0
        self._rows = bytearray(_HEADER if is_new else b"")
        self._flush_at = 0.0
        self._lock = threading.Lock()
        self._write_rank()

    def append(
        self,
        step: int,
        warmup: bool,
        start_s: float,
        end_s: float,
        samples: float | None = None,
        loss: float | None = None,
        data_s: float | None = None,
        forward_s: float | None = None,
        backward_s: float | None = None,
        communication_s: float | None = None,
        optimiser_s: float | None = None,
    ) -> None:
        """Add one step. Takes about 5 µs, and a write to disk once a second."""
        phases = (
            f"{_cell(data_s)},{_cell(forward_s)},{_cell(backward_s)},"
            f"{_cell(communication_s)},{_cell(optimiser_s)}"
        )
        row = (
            f"{step},{int(warmup)},{start_s:.6f},{end_s:.6f},"
            f"{_cell(samples)},{_exact_cell(loss)},{phases}\n"
        )
        with self._lock:
            self._rows += row.encode()
            now = time.monotonic()
            if now >= self._flush_at:
                self._flush_at = now + _FLUSH_S
                self._write()

    def flush(self) -> None:
        """Write the waiting rows. Raises RecordError if the disk refuses."""
        with self._lock, explained(self.path):
            self._write(is_strict=True)

    def close(self) -> None:
        """Write the waiting rows, and note that this rank has ended. Raises RecordError."""
        if self._file < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._file)
            self._file = -1
        self.rank = msgspec.structs.replace(self.rank, ended=True)
        self._write_rank()

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write(self, is_strict: bool = False) -> None:
        try:
            while self._rows:
                written = os.write(self._file, self._rows)
                del self._rows[:written]
        except OSError:
            if is_strict:
                raise

    def _write_rank(self) -> None:
        path = self.path.with_name(f"rank-{self.rank.rank}.json")
        write_whole(path, msgspec.json.encode(self.rank))


def read_steps(path: Path) -> list[Step]:
    """Read the steps of one rank, oldest first; a last line that a crash cut off is left out.

    Raises DamagedRunError naming file and line if a whole line is not a step, OSError if the
    file cannot be read.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    names = lines[0].split(",")
    if not set(STEP_COLUMNS[:4]) <= set(names):
        if len(lines) == 1:
            return []  # not even the header was whole
        raise DamagedRunError(f"{path}:1: columns {', '.join(STEP_COLUMNS)} are required")
    found = []
    for number, line in enumerate(lines[1:-1], 2):
        cells = line.split(",")
        try:
            row = dict(zip(names, cells, strict=False))
            found.append(_step([row.get(name, "") for name in STEP_COLUMNS]))
        except (ValueError, IndexError):
            raise DamagedRunError(f"{path}:{number}: {line[:60]!r} is not a step") from None
    return found


def read_rank(path: Path) -> Rank | None:
    """Read a rank file; None if there is none. Raises DamagedRunError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Rank)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from None


def note_pause(attempt: Path, pause: Pause) -> None:
    """Add a pause to an attempt. Raises RecordError if the disk refuses."""
    cells = (pause.kind, f"{pause.start_s:.6f}", f"{pause.end_s:.6f}")
    _append(attempt / PAUSES, PAUSE_COLUMNS, cells)


def note_metrics(attempt: Path, row: Evaluated) -> None:
    """Add the metrics of an evaluation. Raises RecordError if the disk refuses."""
    columns = (*METRIC_COLUMNS, *row.metrics)
    cells = (
        str(row.step),
        f"{row.trained_samples:.0f}",
        f"{row.time_s:.6f}",
        str(row.evaluated_samples),
        *map(repr, row.metrics.values()),
    )
    _append(attempt / METRICS, columns, cells)


def read_pauses(attempt: Path) -> list[Pause]:
    """Return an attempt's pauses; none without the file. Raises DamagedRunError or RecordError."""
    path = attempt / PAUSES
    found = []
    for number, row in _rows(path):
        try:
            found.append(Pause(row["kind"], float(row["start_s"]), float(row["end_s"])))
        except (KeyError, ValueError):
            columns = ", ".join(PAUSE_COLUMNS)
            raise DamagedRunError(
                f"{path}:{number}: not a pause; columns {columns} are required"
            ) from None
    return found


def read_metrics(attempt: Path) -> list[Evaluated]:
    """Return an attempt's evaluations, oldest first; none without the file.

    Raises DamagedRunError or RecordError.
    """
    path = attempt / METRICS
    found = []
    for number, row in _rows(path):
        try:
            step, trained, time_s, evaluated = (row.pop(n) for n in METRIC_COLUMNS)
            metrics = {name: float(value) for name, value in row.items()}
            found.append(
                Evaluated(int(step), float(trained), float(time_s), int(evaluated), metrics)
            )
        except (KeyError, ValueError):
            columns = ", ".join(METRIC_COLUMNS)
            raise DamagedRunError(
                f"{path}:{number}: not an evaluation; columns {columns} and metrics are required"
            ) from None
    return found


def _step(cells: list[str]) -> Step:
    samples, loss, data_s, forward_s, backward_s, communication_s, optimiser_s = map(
        _optional, cells[4:]
    )
    return Step(
        step=int(cells[0]),
        warmup=cells[1] == "1",
        start_s=float(cells[2]),
        end_s=float(cells[3]),
        samples=samples,
        loss=loss,
        data_s=data_s,
        forward_s=forward_s,
        backward_s=backward_s,
        communication_s=communication_s,
        optimiser_s=optimiser_s,
    )


def _optional(cell: str) -> float | None:
    return float(cell) if cell else None


def _cell(value: float | None) -> str:
    # times and samples are not more precise than this
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _exact_cell(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _append(path: Path, names: Sequence[str], cells: Sequence[str]) -> None:
    with explained(path), open(path, "a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(",".join(names) + "\n")
        file.write(",".join(cells) + "\n")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line numbers and rows; a row with a wrong number of cells is empty."""
    if not path.exists():
        return
    with explained(path, "read"):
        # the last piece is empty, or a line that a crash cut off
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if not lines:
        return
    names = lines[0].split(",")
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",")
        if len(cells) == len(names):
            yield number, dict(zip(names, cells, strict=True))
        else:
            yield number, {}

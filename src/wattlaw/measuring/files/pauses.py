"""What happens between training steps: pauses.csv, the times in which none was taken, and metrics.csv, what was
found on the valid part. Rank 0 appends to both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained
from wattlaw.core.reading import Reading, measured

PAUSES = "pauses.csv"
METRICS = "metrics.csv"

PAUSE_COLUMNS = ("kind", "start_s", "end_s")
"""Columns of pauses.csv. ``kind`` is "evaluation" or "checkpoint"; times on the monotonic clock of rank 0's host."""

METRIC_COLUMNS = ("step", "trained_samples", "time_s", "evaluated_samples")
"""First columns of metrics.csv; one a metric follows. ``step`` is the last step before, ``trained_samples`` what all
ranks had trained on by then, warm-up and earlier attempts included, ``time_s`` the start of the evaluation."""


class Pause(NamedTuple):
    """A time in which no step was taken, s on the monotonic clock of rank 0's host."""

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


def note_pause(attempt: Path, pause: Pause) -> None:
    """Add a pause to an attempt. Raises RecordError where the disk refuses."""
    _append(
        attempt / PAUSES, PAUSE_COLUMNS, (pause.kind, f"{pause.start_s:.6f}", f"{pause.end_s:.6f}")
    )


def note_metrics(attempt: Path, row: Evaluated) -> None:
    """Add what an evaluation found. Raises RecordError where the disk refuses."""
    fixed = (
        str(row.step),
        f"{row.trained_samples:.0f}",
        f"{row.time_s:.6f}",
        str(row.evaluated_samples),
    )
    _append(
        attempt / METRICS,
        (*METRIC_COLUMNS, *row.metrics),
        (*fixed, *map(repr, row.metrics.values())),
    )


def read_pauses(attempt: Path) -> list[Pause]:
    """Return an attempt's pauses; none where it has no such file. Raises DamagedRunError or RecordError."""
    path = attempt / PAUSES
    found = []
    for number, row in _rows(path):
        try:
            found.append(Pause(row["kind"], float(row["start_s"]), float(row["end_s"])))
        except (KeyError, ValueError):
            raise DamagedRunError(
                f"{path}:{number}: no pause; columns {', '.join(PAUSE_COLUMNS)} are needed"
            ) from None
    return found


def read_metrics(attempt: Path) -> list[Evaluated]:
    """Return an attempt's evaluations, oldest first; none where it has none. Raises DamagedRunError or RecordError."""
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
            needed = ", ".join(METRIC_COLUMNS)
            raise DamagedRunError(
                f"{path}:{number}: no evaluation; columns {needed} and metrics are needed"
            ) from None
    return found


def pause_times(pauses: Sequence[Pause]) -> dict[str, Reading]:
    """Return the time of each kind of pause, summed: ``evaluation_s`` and the like; nothing without pauses."""
    kinds = dict.fromkeys(p.kind for p in pauses)
    how = "monotonic clock, outside of every step"
    return {
        f"{k}_s": measured(sum(p.end_s - p.start_s for p in pauses if p.kind == k), how)
        for k in kinds
    }


def _append(path: Path, names: Sequence[str], cells: Sequence[str]) -> None:
    with explained(path), open(path, "a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(",".join(names) + "\n")
        file.write(",".join(cells) + "\n")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.exists():
        return
    with explained(path, "read"):
        # a last line that a crash cut off is left out
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    names = lines[0].split(",") if lines else []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",")
        yield number, dict(zip(names, cells, strict=False)) if len(cells) == len(names) else {}

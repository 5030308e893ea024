"""Lightning's metrics.csv: one run for each file, with its steps, epochs and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.core.reading import measured, missing
from wattlaw.core.run import Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    files_in,
    number,
    read_rows,
)

NAMES = {"lightning": "Lightning"}

Curve = list[tuple[int, int, float]]
"""(step, epoch, training loss), by ascending step; rows of one step in the order of the file."""

_LOSSES = (
    "train_loss_step", "train_loss", "loss_step", "loss", "train/loss_step", "train/loss",
    "train_loss_epoch", "loss_epoch", "train/loss_epoch",
)  # fmt: skip
_NAMES = ("loss", "step", "epoch")
"""The names that ``columns`` may map."""


@dataclass(frozen=True)
class Lightning(Importer):
    """Reads one metrics.csv, or every metrics.csv below a folder.

    ``columns`` maps "loss", "step" and "epoch" to columns with other names.
    """

    summary: ClassVar[str] = "metrics.csv, or a folder of them"

    workload: str = "lightning"
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Raise UnknownNameError if ``columns`` has another name than loss, step or epoch."""
        for name in self.columns or ():
            if name not in _NAMES:
                raise UnknownNameError("name of a Lightning column", name, _NAMES)

    def recognises(self, path: Path) -> bool:
        columns = columns_of(path, "metrics.csv")
        return "step" in columns and not columns.isdisjoint(_LOSSES)

    def read(self, path: Path) -> Imported:
        found = Imported()
        for file in files_in(path, "metrics.csv", found):
            try:
                history = _read_history(file, found, self.columns or {})
            except DataError as error:
                found.skip(file, str(error))
                continue
            if history.curve:
                found.runs.append(_run(_name(file, path), history, self.workload))
            else:
                found.skip(file, "no step has a training loss")
        return found


class LossHistory(NamedTuple):
    """The training losses of a file, and the largest step of all its rows."""

    curve: Curve
    last_step: int


def losses(path: Path, found: Imported | None = None) -> Curve:
    """Return the training losses of a metrics.csv as (step, epoch, loss).

    Rows that cannot be read are reported in ``found``. The loss of a run that diverged is NaN or
    infinite.
    Raises DataError if there is no column of steps or of a training loss.
    """
    return _read_history(path, found or Imported(), {}).curve


def _read_history(path: Path, found: Imported, columns: Mapping[str, str]) -> LossHistory:
    step_column, epoch_column = columns.get("step", "step"), columns.get("epoch", "epoch")
    required = [step_column]
    required += [columns[name] for name in ("loss", "epoch") if name in columns]
    rows = list(read_rows(path, required, found))
    loss_column = columns.get("loss") or _loss_column([row for _, row in rows], path)
    curve: Curve = []
    last_step = -1
    for line, row in rows:
        step, epoch = number(row[step_column]), number(row.get(epoch_column) or 0)
        if step is None or epoch is None:
            column = step_column if step is None else epoch_column
            found.skip(path, f"{row[column]!r} is not a number", line, column)
            continue
        last_step = max(last_step, int(step))
        if not row[loss_column]:
            continue
        try:
            loss = float(row[loss_column])
        except ValueError:
            found.skip(path, f"{row[loss_column]!r} is not a number", line, loss_column)
            continue
        curve.append((int(step), int(epoch), loss))
    curve.sort(key=lambda point: point[0])
    return LossHistory(curve, last_step)


def _loss_column(rows: list[dict[str, str]], path: Path) -> str:
    """Return the first known column of a loss that has a value, else the first known one."""
    header = list(rows[0]) if rows else []
    known = [name for name in _LOSSES if name in header]
    for name in known:
        if any(row[name] for row in rows):
            return name
    if rows and not known:
        raise DataError(
            f"{path}:1: there is no known column of a training loss; name it with "
            f"--column loss=COLUMN, of {', '.join(header)}"
        )
    return known[0] if known else ""


def _name(file: Path, root: Path) -> str:
    # versions of several experiments have the same names
    below = file.parent.relative_to(root).parts if file != root else ()
    return "-".join(below) or file.resolve().parent.name


def _run(name: str, history: LossHistory, workload: str) -> Run:
    first, last = history.curve[0][2], history.curve[-1][2]
    loss_last = measured(last, "last row")
    if not math.isfinite(last):
        loss_last = missing(f"the run diverged: the last loss is {last}")
    return Run(
        setting=setting_from({"workload": workload}),
        trial=f"lightning-{name}",
        source="lightning",
        quantities={
            "steps": measured(float(history.last_step + 1), "largest step, which counts from 0"),
            "loss_first": measured(first, "first row"),
            "loss_last": loss_last,
            "elapsed_s": missing("metrics.csv has no time"),
        },
    )

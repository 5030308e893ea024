"""Lightning's metrics.csv: one run for each file, with its steps, epochs and losses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wattlaw.core.errors import DataError
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
"""(step, epoch, training loss), by ascending step."""

_LOSSES = ("train_loss_step", "train_loss", "loss_step", "loss", "train/loss_step", "train/loss")


@dataclass(frozen=True)
class Lightning(Importer):
    """Reads one metrics.csv, or every metrics.csv below a folder."""

    summary: ClassVar[str] = "metrics.csv, or a folder of them"

    workload: str = "lightning"

    def recognises(self, path: Path) -> bool:
        columns = columns_of(path, "metrics.csv")
        return "step" in columns and not columns.isdisjoint(_LOSSES)

    def read(self, path: Path) -> Imported:
        found = Imported()
        for file in files_in(path, "metrics.csv", found):
            try:
                curve = losses(file, found)
            except DataError as error:
                found.skip(file, str(error))
                continue
            if curve:
                found.runs.append(_run(_name(file, path), curve, self.workload))
            else:
                found.skip(file, "no step has a training loss")
        return found


def losses(path: Path, found: Imported | None = None) -> Curve:
    """Return the training losses of a metrics.csv as (step, epoch, loss).

    Rows that cannot be read are reported in ``found``.
    Raises DataError if there is no column of steps or of a training loss.
    """
    report = found if found is not None else Imported()
    curve: Curve = []
    for line, row in read_rows(path, ("step",), report):
        name = next((n for n in _LOSSES if n in row), None)
        if name is None:
            known = ", ".join(_LOSSES[:4])
            raise DataError(f"{path}:1: there is no training loss; one of {known} is needed")
        if not row[name]:
            continue
        values = {}
        defaults = {"epoch": 0}
        for column in ("step", "epoch", name):
            value = number(row.get(column) or defaults.get(column))
            if value is None:
                report.skip(path, f"{row[column]!r} is not a number", line, column)
                break
            values[column] = value
        else:
            curve.append((int(values["step"]), int(values["epoch"]), values[name]))
    return sorted(curve)


def _name(file: Path, root: Path) -> str:
    # versions of several experiments have the same names
    below = file.parent.relative_to(root).parts if file != root else ()
    return "-".join(below) or file.resolve().parent.name


def _run(name: str, curve: Curve, workload: str) -> Run:
    return Run(
        setting=setting_from({"workload": workload}),
        trial=f"lightning-{name}",
        source="lightning",
        quantities={
            "steps": measured(float(len(curve)), "rows with a training loss"),
            "loss_first": measured(curve[0][2], "first row"),
            "loss_last": measured(curve[-1][2], "last row"),
            "elapsed_s": missing("metrics.csv has no time"),
        },
    )

"""Lightning's metrics.csv: one run, its steps, epochs and losses."""

from __future__ import annotations

from pathlib import Path

from wattlaw.core.errors import DataError
from wattlaw.core.reading import measured, missing
from wattlaw.core.run import Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.imported import Imported, files_in, number
from wattlaw.importers.tables import read_table

NAMES = {"lightning": "read"}

Curve = list[tuple[int, int, float]]
"""(step, epoch, training loss), by ascending step."""

_LOSSES = ("train_loss_step", "train_loss", "loss_step", "loss", "train/loss_step", "train/loss")


def read(path: Path, workload: str = "lightning") -> Imported:
    """Read one metrics.csv, or every one below a folder."""
    found = Imported()
    for file in files_in(path, "metrics.csv", found):
        try:
            curve = losses(file, found)
        except DataError as error:
            found.skip(str(file), str(error))
            continue
        if curve:
            found.runs.append(_run(_name(file, path), curve, workload))
        else:
            found.skip(str(file), "no step has a training loss")
    return found


def losses(path: Path, found: Imported | None = None) -> Curve:
    """Return the training losses of a metrics.csv, (step, epoch, loss). Raises DataError without such columns."""
    report = found if found is not None else Imported()
    curve: Curve = []
    for line, row in read_table(path, ("step",), report):
        name = next((n for n in _LOSSES if n in row), None)
        if name is None:
            raise DataError(
                f"{path}:1: there is no training loss; one of {', '.join(_LOSSES[:4])} is needed"
            )
        if not row[name]:
            continue
        step, epoch, loss = number(row["step"]), number(row.get("epoch") or 0), number(row[name])
        bad = next(
            (c for c, v in (("step", step), ("epoch", epoch), (name, loss)) if v is None), None
        )
        if bad or step is None or epoch is None or loss is None:
            report.skip(str(path), f"{row.get(bad or '')!r} is no number", line, bad or "")
            continue
        curve.append((int(step), int(epoch), loss))
    return sorted(curve)


def _name(file: Path, root: Path) -> str:
    # versions of several experiments bear the same names
    below = file.parent.relative_to(root).parts if file != root else ()
    return "-".join(below) or file.resolve().parent.name


def _run(name: str, curve: Curve, workload: str) -> Run:
    readings = {
        "steps": measured(float(len(curve)), "rows with a training loss"),
        "loss_first": measured(curve[0][2], "first row"),
        "loss_last": measured(curve[-1][2], "last row"),
        "elapsed_s": missing("metrics.csv has no time"),
    }
    return Run(
        setting=setting_from({"workload": workload}),
        trial=f"lightning-{name}",
        source="lightning",
        quantities=readings,
    )

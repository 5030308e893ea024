"""A table of MLPerf runs, one row a run, as it is read from the logs of whole rounds."""

from __future__ import annotations

from pathlib import Path

from wattlaw.core.errors import SettingError
from wattlaw.core.run import Run
from wattlaw.importers.imported import Imported, number
from wattlaw.importers.mlperf_run import made_run, quantities, throughput_note
from wattlaw.importers.mlperf_samples import samples_trained
from wattlaw.importers.tables import Row, read_table

NEEDED = (
    "round",
    "submitter",
    "benchmark",
    "accelerator",
    "nodes",
    "accelerators_per_node",
    "run_seconds",
    "status",
)


def read_runs(path: Path) -> Imported:
    """Read the table; a row without counts or time is reported with its line and column."""
    found = Imported()
    for line, row in read_table(path, NEEDED, found):
        bad = next(
            (c for c in ("nodes", "accelerators_per_node", "run_seconds") if not _positive(row[c])),
            None,
        )
        if bad:
            found.skip(str(path), f"{row[bad]!r} is no positive number", line, bad)
            continue
        try:
            found.runs.append(_run(row, line))
        except SettingError as error:
            found.skip(str(path), str(error), line)
    return found


def _run(row: Row, line: int) -> Run:
    progress: dict[str, float] = {}
    for unit, columns in (
        ("samples_count", ("stop_samples_count", "last_eval_samples_count")),
        ("epoch_num", ("last_eval_epoch", "stop_epoch")),
    ):
        value = next((v for c in columns if (v := number(row.get(c)))), None)
        if value:
            progress[unit] = value
    nodes, each = int(number(row["nodes"]) or 0), int(number(row["accelerators_per_node"]) or 0)
    batch = number(row.get("global_batch_size"))
    trained = samples_trained(row["benchmark"], progress, row, row["round"])
    readings, notes = quantities(number(row["run_seconds"]) or 0.0, trained, batch)
    logged = number(row.get("logged_throughput"))
    notes += throughput_note(readings, [logged] if logged and logged > 0 else [], nodes * each)
    return made_run(
        row["benchmark"], nodes, each, batch, readings, trial=f"{row['round']}-{line}", repeat=0,
        submitter=row["submitter"], edition=row["round"], accelerator=row["accelerator"], notes=tuple(notes),
        state="done" if row["status"] == "success" else "failed", status=row["status"],
    )  # fmt: skip


def _positive(text: str) -> bool:
    value = number(text)
    return value is not None and value > 0

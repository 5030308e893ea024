"""Fit the prior of the scaling law to the published MLPerf runs and write the table that ships.

Run with `python bench/_scaling_prior.py src/wattlaw/laws/scaling_prior.csv`.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

from wattlaw.analysis.groups import find_families
from wattlaw.importers.importer import import_runs
from wattlaw.laws.priors import Family, learn_priors, table_rows

DATA = Path(os.environ.get("WATTLAW_DATA", Path(__file__).parents[2] / "shared" / "data"))
SOURCE = "MLPerf Training v1.0, v3.0, v4.1 (MLCommons, Apache-2.0)"


def published() -> list[Family]:
    """Return every family of the three rounds that has at least two sizes."""
    file = DATA / "mlperf" / "training_runs_v1.0_v3.0_v4.1.csv"
    return find_families(import_runs("mlperf", file).runs)


def main(target: str) -> None:
    """Fit the prior to all families and write the table."""
    rows = table_rows(learn_priors(published()), SOURCE)
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1])

"""Learns the prior of the scaling law from the published MLPerf runs and writes the table that ships.

python bench/_scaling_prior.py src/wattlaw/laws/scaling_prior.csv
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
    """Every family of the three rounds with at least two sizes."""
    return find_families(
        import_runs("mlperf", DATA / "mlperf" / "training_runs_v1.0_v3.0_v4.1.csv").runs
    )


def main(target: str) -> None:
    """Learn from all families and write the table."""
    rows = table_rows(learn_priors(published()), SOURCE)
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1])

"""Read the recorded steps of a rank."""

from __future__ import annotations

import csv


def steps(out, run, rank=0):
    path = out / "run" / run.trial / f"attempt-{run.attempt}" / f"steps-{rank}.csv"
    return list(csv.DictReader(path.read_text().splitlines()))

"""Finds the runs that were recorded, keeps an index of them, and exports them."""

from __future__ import annotations

from wattlaw.records.compact import WrittenIndex, compact, keep_index, write_index
from wattlaw.records.export_runs import export, exported
from wattlaw.records.load import DamagedRun, Runs, load_runs

__all__ = [
    "DamagedRun",
    "Runs",
    "WrittenIndex",
    "compact",
    "export",
    "exported",
    "keep_index",
    "load_runs",
    "write_index",
]

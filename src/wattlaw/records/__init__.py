"""Finds the runs that were recorded, keeps an index of them, and exports them."""

from __future__ import annotations

from wattlaw.records.compact import Compacted, compact, keep_index, write_index
from wattlaw.records.export import export, exported
from wattlaw.records.load import Damaged, Runs, load_runs

__all__ = [
    "Compacted",
    "Damaged",
    "Runs",
    "compact",
    "export",
    "exported",
    "keep_index",
    "load_runs",
    "write_index",
]

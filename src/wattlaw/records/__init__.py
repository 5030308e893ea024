"""Floor 2: finds the runs that were recorded, keeps an index of them, compares and exports them."""

from __future__ import annotations

from wattlaw.records.load import Damaged, Runs, load_runs

__all__ = ["Damaged", "Runs", "load_runs"]

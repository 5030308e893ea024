"""What each named warning means and what to do about it, in words for a reader of the report."""

from __future__ import annotations

MEANINGS: dict[str, tuple[str, str]] = {
    "too few repeats": (
        "With one or two repeats the scatter between runs is hardly known, so intervals are wide or missing.",
        "Run at least 3 repeats: repeats = 3 in the sweep file.",
    ),
    "few repeats": (
        "Some sizes were run fewer than 3 times; their interval leans on the scatter of the others.",
        "Run at least 3 repeats of every setting.",
    ),
    "one setting": (
        "Advice compares settings, and there is only one.",
        "Sweep a second number of devices or batch size.",
    ),
    "no probability": (
        "How surely the bound on the slowdown holds is unknown without repeats.",
        "Run at least 3 repeats.",
    ),
    "no law": (
        "These runs do not suffice for a law.",
        "Two sizes give a speed-up, three an exponent: add values to `over`.",
    ),
    "failed runs": (
        "Trials that failed are left out of every figure.",
        "See what failed below; `wattlaw sweep retry` runs them again.",
    ),
    "runs left out": (
        "Some runs did not record the quantity in question.",
        "See the status in the table of settings.",
    ),
    "weak scaling": (
        "The batch per device is fixed, so a step of N devices does N times the work.",
        "Compare the time per sample rather than the time per step.",
    ),
    "damaged-run": (
        "A run's file is broken or half-written; it is left out.",
        "Delete its folder and resume the sweep to run it again.",
    ),
}

"""The environment of the runs: machine, devices, libraries, source code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from wattlaw.core.environment import Environment
from wattlaw.core.units import show
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context

NAMES = {"machine": "environment"}

MOST_VALUES = 6


def environment(context: Context) -> Section | None:
    """Say what the runs depend on besides their settings."""
    if not context.runs:
        return None
    facts = _of_runs(context)
    for name, values in _of_environments(context.environments).items():
        facts[name] = _joined(values)
    missing = ""
    if not context.environments:
        missing = (
            "libraries and system are unknown, because no environment.json was found with the runs"
        )
    rows = [[name, value] for name, value in facts.items() if value]
    table = PageTable(["", ""], rows, "Environment")
    return Section("machine", "Environment", 60, tables=[table], missing=missing)


def _of_runs(context: Context) -> dict[str, str]:
    runs = context.runs
    return {
        "when": _when([run.started for run in runs if run.started]),
        "devices": _joined(run.machine.device_name for run in runs),
        "processor": _joined(run.machine.cpu_name for run in runs),
        "cores usable": _joined(str(run.machine.cores or "") for run in runs),
        "hosts of a run": _joined(str(run.machine.hosts) for run in runs),
        "wattlaw": _joined(run.wattlaw for run in runs),
        "records from": _joined(run.source for run in runs if run.source != "wattlaw"),
    }


def _when(starts: list[str]) -> str:
    if not starts:
        return ""
    ends = dict.fromkeys(start[:16].replace("T", " ") for start in (min(starts), max(starts)))
    return f"{' – '.join(ends)} UTC"


def _of_environments(found: Iterable[Environment]) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for one in found:
        commit = f"{one.git_commit[:12]}{', changed' if one.git_changed else ''}"
        scheduler = {name: v for name, v in one.scheduler.items() if "JOB_ID" not in name}
        lines = {
            "host": one.host,
            "system": one.system,
            "processor": one.cpu_name,
            "cores usable": f"{one.cores} of {one.cores_of_machine}",
            "memory": show(one.memory_bytes, "B"),
            "Python": one.python,
            "libraries": _pairs(one.libraries, " "),
            "switches": _pairs(one.switches, "="),
            "scheduler": _pairs(scheduler, "="),
            "git commit": commit if one.git_commit else "",
        }
        for name, value in lines.items():
            facts.setdefault(name, []).append(value)
    return facts


def _pairs(values: Mapping[str, object], sign: str) -> str:
    return ", ".join(f"{name}{sign}{value}" for name, value in values.items())


def _joined(values: Iterable[str]) -> str:
    """Return the distinct values, the most frequent first, and how many more there are."""
    counts = Counter(value for value in values if value)
    words = [value for value, _ in counts.most_common(MOST_VALUES)]
    if len(counts) > MOST_VALUES:
        words.append(f"{len(counts) - MOST_VALUES} more")
    return "; ".join(words)

"""The environment of the runs: machine, devices, libraries, source code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from wattlaw.core.run_environment import Environment
from wattlaw.core.units import show
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context

NAMES = {"machine": "environment"}

MAX_VALUES = 6


def environment(context: Context) -> Section | None:
    """List what the runs depend on in addition to their settings."""
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
    values: dict[str, list[str]] = {}
    for run in context.runs:
        machine = run.machine
        lines = {
            "devices": machine.device_name,
            "processor": machine.cpu_name,
            "cores usable": str(machine.cores or ""),
            "hosts of a run": str(machine.hosts),
            "wattlaw": run.wattlaw,
            "records from": run.source.removeprefix("wattlaw"),
        }
        for name, value in lines.items():
            values.setdefault(name, []).append(value)
    starts = [run.started for run in context.runs if run.started]
    facts = {"when": _when(starts)}
    for name, members in values.items():
        facts[name] = _joined(members)
    return facts


def _when(starts: list[str]) -> str:
    if not starts:
        return ""
    ends = dict.fromkeys(start[:16].replace("T", " ") for start in (min(starts), max(starts)))
    return f"{' – '.join(ends)} UTC"


def _of_environments(found: Iterable[Environment]) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for one in found:
        commit = one.git_commit[:12]
        if commit and one.git_changed:
            commit += ", changed"
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
            "git commit": commit,
        }
        for name, value in lines.items():
            facts.setdefault(name, []).append(value)
    return facts


def _pairs(values: Mapping[str, object], sign: str) -> str:
    return ", ".join(f"{name}{sign}{value}" for name, value in values.items())


def _joined(values: Iterable[str]) -> str:
    """Return the distinct values, the most frequent first, and how many more there are."""
    counts = Counter(value for value in values if value)
    words = [value for value, _ in counts.most_common(MAX_VALUES)]
    if len(counts) > MAX_VALUES:
        words.append(f"{len(counts) - MAX_VALUES} more")
    return "; ".join(words)

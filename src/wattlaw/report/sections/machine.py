"""Where the runs were made: machine, devices, libraries, source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from wattlaw.core.environment import Environment
from wattlaw.core.units import show
from wattlaw.report.context import Context
from wattlaw.report.figure import Section, Table

NAMES = {"machine": "machine"}


def machine(context: Context) -> Section | None:
    """Say what the runs depend on besides their settings."""
    if not context.runs:
        return None
    facts = _of_runs(context)
    found = context.environments
    for title, values in (_of_environments(found) if found else {}).items():
        facts[title] = _joined(values)
    missing = (
        ""
        if found
        else "libraries and system are not known, because no environment.json was found beside the runs"
    )
    rows = [[k, v] for k, v in facts.items() if v]
    return Section(
        "machine", "Environment", 60, tables=[Table(["", ""], rows, "Environment")], missing=missing
    )


def _of_runs(context: Context) -> dict[str, str]:
    runs = context.runs
    starts = sorted(r.started for r in runs if r.started)
    ends = dict.fromkeys(s[:16].replace("T", " ") for s in (starts[:1] + starts[-1:]))
    when = " – ".join(ends) + " UTC" if starts else ""
    return {
        "when": when,
        "devices": _joined(r.machine.device_name for r in runs),
        "processor": _joined(r.machine.cpu_name for r in runs),
        "cores usable": _joined(str(r.machine.cores) for r in runs if r.machine.cores),
        "hosts of a run": _joined(str(r.machine.hosts) for r in runs),
        "wattlaw": _joined(r.wattlaw for r in runs),
        "records from": _joined(r.source for r in runs if r.source != "wattlaw"),
    }


def _of_environments(found: Iterable[Environment]) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for env in found:
        lines = {
            "host": env.host,
            "system": env.system,
            "processor": env.cpu_name,
            "cores usable": f"{env.cores} of {env.cores_of_machine}",
            "memory": show(env.memory_bytes, "B"),
            "Python": env.python,
            "libraries": ", ".join(f"{k} {v}" for k, v in env.libraries.items()),
            "switches": ", ".join(f"{k}={v}" for k, v in env.switches.items()),
            "scheduler": ", ".join(
                f"{k}={v}" for k, v in env.scheduler.items() if "JOB_ID" not in k
            ),
            "git commit": f"{env.git_commit[:12]}{', changed' if env.git_changed else ''}"
            if env.git_commit
            else "",
        }
        for name, value in lines.items():
            facts.setdefault(name, []).append(value)
    return facts


def _joined(values: Iterable[str], most: int = 6) -> str:
    counts = Counter(v for v in values if v)
    words = [v for v, _ in counts.most_common(most)]
    return "; ".join(words) + (f"; {len(counts) - most} more" if len(counts) > most else "")

"""`wattlaw.run` and `wattlaw.sweep`: one trial, or a grid of them, as plain calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from wattlaw.core.errors import RecordError
from wattlaw.core.folder import scan
from wattlaw.core.run import Run
from wattlaw.core.sweepfile import Sweep, read_sweep, sweep_from
from wattlaw.records import keep_index, load_runs
from wattlaw.runner.machine import here
from wattlaw.runner.plan import Plan, plan
from wattlaw.runner.sweep import Watcher, carry_out


def run(
    workload: str, *, out: str | Path = "runs", name: str = "run", repeats: int = 1, **setting: Any
) -> list[Run]:
    """Run one setting and return its records.

    ``setting`` takes the fields of `Setting`, ``devices`` (the total), and a workload's options by name.
    Raises UsageError for a setting that cannot be carried out; a trial that fails is recorded as failed.
    """
    values = {"name": name, "repeats": repeats, "setting": {"workload": workload, **setting}}
    return sweep(values, out=out, is_retry=True)


def sweep(
    what: str | Path | dict[str, Any] | Sweep,
    *,
    out: str | Path = "runs",
    watcher: Watcher | None = None,
    is_retry: bool = False,
) -> list[Run]:
    """Carry out a sweep given by its file, its values, or a `Sweep`; return the records of all its trials.

    Trials that lie in ``out`` already are not run again, failed ones only with ``is_retry``. Raises
    UsageError or RecordError.
    """
    order = prepare(what, out)
    carry_out(order.plan, order.folder, order.source, watcher, is_retry)
    return results(order)


class Order(NamedTuple):
    """A sweep ready to be carried out: its plan, the folder of its runs, the bytes of its file."""

    plan: Plan
    folder: Path
    source: bytes


def prepare(what: str | Path | dict[str, Any] | Sweep, out: str | Path) -> Order:
    """Read, check and plan a sweep for this machine; nothing is run or written.

    Earlier runs of the sweep, or beside it, tell how long trials take.
    """
    whole, source = as_sweep(what)
    folder = Path(out) / whole.name
    return Order(plan(whole, here(), earlier(folder)), folder, source)


def results(order: Order) -> list[Run]:
    """Return the records of a sweep's trials, those of earlier calls included; keeps the index of the folder."""
    keep_index(order.folder)
    wanted = {t.id for t in order.plan.trials}
    return [r for r in load_runs(order.folder) if r.trial in wanted]


def earlier(folder: Path) -> list[Run]:
    """Return the runs of a sweep's folder, or of the folder beside it; none where there are none yet."""
    for place in (folder, folder.parent):
        try:
            if place.is_dir() and scan(place).summaries:
                return list(load_runs(place, on_damaged="ignore"))
        except RecordError:
            continue
    return []


def as_sweep(what: str | Path | dict[str, Any] | Sweep) -> tuple[Sweep, bytes]:
    """Return a sweep and the bytes of a file that says the same."""
    if isinstance(what, str | Path):
        return read_sweep(Path(what)), Path(what).read_bytes()
    whole = sweep_from(what) if isinstance(what, dict) else what
    return whole, to_toml(whole).encode()


def to_toml(whole: Sweep) -> str:
    """Return a sweep as the text of its file."""
    values = msgspec.to_builtins(whole)
    tables = {name: values.pop(name, {}) for name in ("setting", "over")}
    lines = [f"{n} = {_toml(v)}" for n, v in values.items()]
    for name, table in tables.items():
        lines += [
            "",
            f"[{name}]",
            *(f"{k} = {_toml(v)}" for k, v in table.items() if v is not None),
        ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # a JSON string is a basic TOML string
        import json

        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return repr(value)

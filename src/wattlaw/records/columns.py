"""A run as one flat row of typed columns: what the index and the exports hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from wattlaw.core.errors import reason
from wattlaw.core.factors import told
from wattlaw.core.run import Run
from wattlaw.core.setting import identity

Type = Literal["text", "whole", "number", "texts"]


class Column(NamedTuple):
    """A column that every run has: its name, its type and where its value comes from; None is empty."""

    name: str
    type: Type
    value: Callable[[Run], Any]


COLUMNS = (
    Column("trial", "text", lambda run: run.trial),
    Column("sweep", "text", lambda run: run.sweep),
    Column("state", "text", lambda run: run.state),
    Column("repeat", "whole", lambda run: run.repeat),
    Column("attempt", "whole", lambda run: run.attempt),
    Column("started", "text", lambda run: run.started),
    Column("source", "text", lambda run: run.source),
    Column("wattlaw", "text", lambda run: run.wattlaw),
    Column("setting_id", "text", lambda run: identity(run.setting, run.workload_version)),
    Column("workload", "text", lambda run: run.setting.workload),
    Column("workload_version", "whole", lambda run: run.workload_version),
    Column("preset", "text", lambda run: told(run, "preset")),
    Column("devices", "whole", lambda run: run.setting.devices),
    Column("nodes", "whole", lambda run: run.setting.nodes),
    Column("devices_per_node", "whole", lambda run: run.setting.devices_per_node),
    Column("batch_per_device", "whole", lambda run: run.setting.batch_per_device),
    Column("precision", "text", lambda run: told(run, "precision")),
    Column("power_cap_w", "number", lambda run: run.setting.power_cap_w),
    Column("sm_clock_limit_mhz", "number", lambda run: run.setting.sm_clock_mhz),
    Column("memory_clock_limit_mhz", "number", lambda run: run.setting.memory_clock_mhz),
    Column("device_type", "text", lambda run: run.machine.device_type or run.setting.device_type),
    Column("backend", "text", lambda run: told(run, "backend")),
    Column("seed", "whole", lambda run: run.setting.seed),
    Column("stop_steps", "whole", lambda run: run.setting.stop.steps),
    Column("stop_epochs", "number", lambda run: run.setting.stop.epochs),
    Column("stop_seconds", "number", lambda run: run.setting.stop.seconds),
    Column("stop_target", "text", lambda run: str(run.setting.stop.target or "") or None),
    Column("warmup_steps", "whole", lambda run: run.setting.warmup_steps),
    Column("options", "text", lambda run: _json(run.setting.options)),
    Column("command", "text", lambda run: run.setting.command),
    Column("step_pattern", "text", lambda run: run.setting.step_pattern),
    Column("device_name", "text", lambda run: run.machine.device_name),
    Column("cpu_name", "text", lambda run: run.machine.cpu_name),
    Column("hosts", "whole", lambda run: run.machine.hosts),
    Column("cores", "whole", lambda run: run.machine.cores),
    Column("labels", "text", lambda run: _json(run.labels)),
    Column("warnings", "texts", lambda run: [note.name for note in run.warnings]),
    Column("error", "text", lambda run: reason(run.error) or None),
)
"""Columns of every row. A quantity follows as ``<name>`` (number) and ``<name>_status`` (text)."""

PLACE = ("folder", "mtime_ns", "size", "summary")
"""Columns of an index that say where a row's summary was read, and its text."""

_TAKEN = frozenset(column.name for column in COLUMNS) | frozenset(PLACE)


def row(run: Run) -> dict[str, Any]:
    """Return the fixed columns of a run."""
    return {column.name: column.value(run) for column in COLUMNS}


def column_of(quantity: str) -> str:
    """Return the column of a quantity: its own name, unless another column has that."""
    taken = quantity in _TAKEN or quantity.endswith("_status")
    return f"quantity_{quantity}" if taken else quantity


def _json(values: dict[str, Any]) -> str | None:
    return msgspec.json.encode(values, order="sorted").decode() if values else None

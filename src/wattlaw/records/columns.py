"""A run as one flat row of typed columns, for the index and the exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec

from wattlaw.core.errors import reason
from wattlaw.core.factors import stated_value
from wattlaw.core.run import Run
from wattlaw.core.setting import identity

ColumnType = Literal["text", "whole", "number", "texts"]
FlatRow = dict[str, object]


class RunColumn(NamedTuple):
    """A column that every run has: its name, its type and the source of its value."""

    name: str
    type: ColumnType
    value: Callable[[Run], object]


COLUMNS = (
    RunColumn("trial", "text", lambda run: run.trial),
    RunColumn("sweep", "text", lambda run: run.sweep),
    RunColumn("state", "text", lambda run: run.state),
    RunColumn("repeat", "whole", lambda run: run.repeat),
    RunColumn("attempt", "whole", lambda run: run.attempt),
    RunColumn("started", "text", lambda run: run.started),
    RunColumn("source", "text", lambda run: run.source),
    RunColumn("wattlaw", "text", lambda run: run.wattlaw),
    RunColumn("setting_id", "text", lambda run: identity(run.setting, run.workload_version)),
    RunColumn("workload", "text", lambda run: run.setting.workload),
    RunColumn("workload_version", "whole", lambda run: run.workload_version),
    RunColumn("preset", "text", lambda run: stated_value(run, "preset")),
    RunColumn("devices", "whole", lambda run: run.setting.devices),
    RunColumn("nodes", "whole", lambda run: run.setting.nodes),
    RunColumn("devices_per_node", "whole", lambda run: run.setting.devices_per_node),
    RunColumn("batch_per_device", "whole", lambda run: run.setting.batch_per_device),
    RunColumn("precision", "text", lambda run: stated_value(run, "precision")),
    RunColumn("power_cap_w", "number", lambda run: run.setting.power_cap_w),
    RunColumn("sm_clock_limit_mhz", "number", lambda run: run.setting.sm_clock_mhz),
    RunColumn("memory_clock_limit_mhz", "number", lambda run: run.setting.memory_clock_mhz),
    RunColumn(
        "device_type", "text", lambda run: run.machine.device_type or run.setting.device_type
    ),
    RunColumn("backend", "text", lambda run: stated_value(run, "backend")),
    RunColumn("seed", "whole", lambda run: run.setting.seed),
    RunColumn("stop_steps", "whole", lambda run: run.setting.stop.steps),
    RunColumn("stop_epochs", "number", lambda run: run.setting.stop.epochs),
    RunColumn("stop_seconds", "number", lambda run: run.setting.stop.seconds),
    RunColumn("stop_target", "text", lambda run: str(run.setting.stop.target or "") or None),
    RunColumn("warmup_steps", "whole", lambda run: run.setting.warmup_steps),
    RunColumn("options", "text", lambda run: _json(run.setting.options)),
    RunColumn("command", "text", lambda run: run.setting.command),
    RunColumn("step_pattern", "text", lambda run: run.setting.step_pattern),
    RunColumn("device_name", "text", lambda run: run.machine.device_name),
    RunColumn("cpu_name", "text", lambda run: run.machine.cpu_name),
    RunColumn("hosts", "whole", lambda run: run.machine.hosts),
    RunColumn("cores", "whole", lambda run: run.machine.cores),
    RunColumn("labels", "text", lambda run: _json(run.labels)),
    RunColumn("warnings", "texts", lambda run: [note.name for note in run.warnings]),
    RunColumn("error", "text", lambda run: reason(run.error) or None),
)
"""Columns of every row. Each quantity adds ``<name>`` (number) and ``<name>_status`` (text)."""

PLACE = ("folder", "mtime_ns", "size", "summary")
"""Columns of an index that record where a row's summary was read, and its text."""

COLUMN_NAMES = tuple(column.name for column in COLUMNS)

_TAKEN = frozenset((*COLUMN_NAMES, *PLACE))


def flat_row(run: Run) -> FlatRow:
    """Return the fixed columns of a run."""
    return {column.name: column.value(run) for column in COLUMNS}


def column_of(quantity: str) -> str:
    """Return the column of a quantity: its own name, unless another column has that name."""
    is_taken = quantity in _TAKEN or quantity.endswith("_status")
    return f"quantity_{quantity}" if is_taken else quantity


def _json(values: Mapping[str, object]) -> str | None:
    return msgspec.json.encode(values, order="sorted").decode() if values else None

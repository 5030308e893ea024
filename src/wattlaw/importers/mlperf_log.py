"""One log of MLPerf Training: lines ``:::MLLOG {json}``, some behind a rank's prefix."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from wattlaw.importers.imported import Imported, number


class Log(NamedTuple):
    """What matters of one log: first value of each key, last progress, start and stop (ms), status."""

    values: dict[str, Any]
    progress: dict[str, float]
    throughputs: list[float]
    start_ms: float | None
    stop_ms: float | None
    status: str


def parse(text: str, name: str, found: Imported) -> Log:
    """Return what a log says; lines that are no JSON are reported."""
    values: dict[str, Any] = {}
    progress: dict[str, float] = {}
    at_stop: dict[str, float] = {}
    throughputs: list[float] = []
    start = stop = None
    status = ""
    for line, event in events(text, name, found):
        key, value, extra = event.get("key"), event.get("value"), event.get("metadata")
        extra = extra if isinstance(extra, dict) else {}
        if not isinstance(key, str):
            found.skip(name, "an event without a key", line)
            continue
        if key == "run_start":
            start = start if start is not None else number(event.get("time_ms"))
        elif key == "run_stop":
            stop, status = number(event.get("time_ms")), str(extra.get("status", ""))
            at_stop = _reached(extra)
        elif key == "tracked_stats" and isinstance(value, dict) and number(value.get("throughput")):
            throughputs.append(number(value.get("throughput")) or 0.0)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            values.setdefault(key, value)
        if key in ("eval_stop", "eval_accuracy", "block_stop"):
            progress.update(_reached(extra))
    if "epoch_num" in progress and progress.get("samples_count", -1) == number(
        values.get("eval_samples")
    ):
        del progress["samples_count"]  # those of the evaluation, beside what was trained until then
    steps, batch = at_stop.pop("step_num", None), number(values.get("global_batch_size"))
    if steps and batch and not at_stop:
        # checkpoints may be evaluated after the run was stopped, so the steps at the stop count
        at_stop["samples_count"] = steps * batch
    return Log(
        values,
        at_stop or progress,
        throughputs,
        start,
        stop,
        status or str(values.get("status", "")),
    )


def _reached(extra: dict[str, Any]) -> dict[str, float]:
    units = ("samples_count", "epoch_num", "step_num")
    return {unit: reached for unit in units if (reached := number(extra.get(unit)))}


def events(text: str, name: str, found: Imported) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, event) of a log's MLLOG lines."""
    for line, content in enumerate(text.splitlines(), 1):
        at = content.find(":::MLLOG")
        if at < 0:
            continue
        try:
            event = json.loads(content[at + 8 :])
        except (ValueError, RecursionError):
            found.skip(name, "an event that is no JSON", line)
            continue
        if isinstance(event, dict):
            yield line, event

"""The run that one published result of MLPerf Training makes, whether read from its log or from a table."""

from __future__ import annotations

from typing import Any

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.mlperf_samples import GPT3_TOKENS


def quantities(
    seconds: float, trained: Reading, batch: float | None
) -> tuple[dict[str, Reading], list[Note]]:
    """Return the quantities that follow from a run's time and samples."""
    found = {"elapsed_s": measured(seconds, "run_start to run_stop"), "samples": trained}
    if batch:
        found["global_batch"] = measured(batch, "as logged")
    if trained.value:
        rate = trained.value / seconds
        found["samples_per_s"] = Reading(rate, "measured", "samples ÷ time, evaluation included")
        if batch:
            found["step_time_s"] = Reading(
                batch / rate, "measured", "time ÷ steps, evaluation included"
            )
    return found, []


def made_run(
    benchmark: str, nodes: int, each: int, batch: float | None, readings: dict[str, Reading], *, trial: str,
    repeat: int, submitter: str, edition: str, accelerator: str, notes: tuple[Note, ...], state: str, status: str,
) -> Run:  # fmt: skip
    """Return the run of one result. Raises SettingError for counts that no machine has."""
    share = batch / (nodes * each) if batch else None
    values: dict[str, Any] = {"workload": benchmark, "nodes": nodes, "devices_per_node": each}
    if share and share >= 1 and share == int(share):
        values["batch_per_device"] = int(share)
    labels = {"round": edition, "submitter": submitter}
    if state == "done":
        # a run of MLPerf ends when the benchmark's quality is reached
        readings |= {"target_time_s": readings["elapsed_s"], "target_samples": readings["samples"]}
    return Run(
        setting=setting_from(values), trial=trial, sweep=f"mlperf-{edition}".rstrip("-"), repeat=repeat,
        state="done" if state == "done" else "failed", source="mlperf",
        machine=Machine(device_name=accelerator, hosts=nodes),
        labels={k: v for k, v in labels.items() if v}, quantities=readings, warnings=notes,
        error="" if state == "done" else f"the log ends with status {status!r}",
    )  # fmt: skip


def throughput_note(readings: dict[str, Reading], logged: list[float], devices: int) -> list[Note]:
    """Return a warning where the logged throughput is neither the derived rate nor that of one accelerator."""
    rate = readings.get("samples_per_s", missing("")).value
    if not rate or not logged:
        return []
    usual = sorted(logged)[len(logged) // 2]
    # evaluation and start-up are in the derived rate, so the logged one may be up to a third higher
    for unit, share in (
        ("", 1.0),
        ("samples per accelerator", 1.0 / devices),
        ("tokens", GPT3_TOKENS),
    ):
        if 0.9 < usual / (rate * share) < 1.5:
            return (
                [Note("throughput_unit", f"the log counts {unit}; the rate is samples ÷ time")]
                if unit
                else []
            )
    message = f"the log says {usual:.4g}, samples ÷ time is {rate:.4g} a second; the latter is used"
    return [Note("throughput_disagrees", message)]

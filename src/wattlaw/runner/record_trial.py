"""The third part of a trial: its record, from the files that the ranks and the samplers left."""

from __future__ import annotations

from pathlib import Path

from wattlaw import __version__
from wattlaw.core.options import training_options
from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Run
from wattlaw.core.run_folder import attempts
from wattlaw.core.setting import Setting
from wattlaw.executors.executor import TrialSpec
from wattlaw.measuring.reduce.summary import summarise
from wattlaw.measuring.reduce.training import (
    metric_quantities,
    resumed_quantities,
    target_quantities,
)
from wattlaw.runner import node_devices
from wattlaw.runner.command.output_steps import with_output
from wattlaw.runner.rank_spec import read_answer
from wattlaw.runner.resume import checkpoint_of, went_through
from wattlaw.runner.watch_ranks import Failure


def record(
    spec: TrialSpec, attempt: Path, started: str, trial_s: float, failure: Failure | None
) -> Run:
    """Return the record of an attempt that has ended; ``started`` in UTC, its duration in s.

    Raises DamagedRunError or RecordError naming the file.
    """
    setting = spec.trial.setting
    summary = summarise(attempt, setting.devices)
    quantities, warnings = with_output(attempt, setting, summary.quantities, summary.warnings)
    of_training, notes = _training(attempt, setting)
    quantities |= of_training
    quantities["trial_s"] = measured(trial_s, "monotonic clock")
    quantities |= _memory_peak(attempt, setting)
    if _is_sharded(setting):
        quantities["communication_s"] = missing(
            "fsdp communicates inside the passes, where waiting cannot be separated"
        )
    return Run(
        setting=setting,
        trial=spec.id,
        sweep=spec.sweep,
        wattlaw=__version__,
        workload_version=spec.trial.version,
        repeat=spec.trial.repeat,
        attempt=int(attempt.name.removeprefix("attempt-")),
        state="failed" if failure else "done",
        started=started,
        machine=node_devices.machine(setting, node_devices.here()),
        quantities=quantities,
        warnings=(*warnings, *notes, *read_answer(attempt, 0).notes),
        error=failure.text if failure else "",
    )


def _training(attempt: Path, setting: Setting) -> tuple[dict[str, Reading], list[Note]]:
    """Return metrics, time to target and the cost of earlier attempts of one training."""
    quantities, notes = metric_quantities(attempt), list[Note]()
    chain = went_through(attempt, attempts(attempt.parent))
    if setting.stop.target:
        of_target, warnings = target_quantities(chain, setting.stop.target)
        quantities |= of_target
        notes += warnings
    if origin := checkpoint_of(attempt):
        _, first_step = origin
        of_all, warnings = resumed_quantities(chain, first_step)
        quantities |= of_all
        notes += warnings
    return quantities, notes


def _memory_peak(attempt: Path, setting: Setting) -> dict[str, Reading]:
    answers = [read_answer(attempt, rank) for rank in range(setting.devices)]
    if answers[0].gpu_memory_peak_bytes is None:
        return {}
    peak = max(answer.gpu_memory_peak_bytes or 0 for answer in answers)
    how = "torch's allocator, largest of the ranks"
    return {"gpu_memory_peak_bytes": measured(float(peak), how)}


def _is_sharded(setting: Setting) -> bool:
    if setting.command or setting.devices == 1:
        return False
    return training_options(setting)["strategy"] == "fsdp"

"""What happens between steps: evaluations, checkpoints, and a saved model at the end.

Their time is recorded as pauses and belongs to no step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from wattlaw.core.errors import TrialError
from wattlaw.core.plugins import need
from wattlaw.measuring.files.rank_files import Evaluated, Pause, note_metrics, note_pause
from wattlaw.runner.worker.checkpoint import Checkpoints, Progress
from wattlaw.runner.worker.evaluation import Evaluation
from wattlaw.runner.worker.full_state import full_state
from wattlaw.runner.worker.step_rows import StepRows
from wattlaw.runner.worker.trainer import Trainer
from wattlaw.workloads.saved import MODEL, check_storable, save


class Interruptions:
    """Decides after which steps to evaluate or write a checkpoint, and does so.

    paused_s         time so far without a step, s
    is_target_met    whether the metric of ``stop.target`` has reached its value
    """

    def __init__(
        self, trainer: Trainer, rows: StepRows, most_steps: int | None, attempt: Path | None
    ) -> None:
        self.trainer, self.rows, self.most_steps = trainer, rows, most_steps
        options = trainer.options
        self.paused_s, self.is_target_met = 0.0, False
        self._measured_from_s: float | None = None
        self._spent_s = 0.0
        self._evaluate_every = int(options["evaluate_every"])
        self._checkpoint_every = int(options["checkpoint_every"])
        self._evaluated_at = -1
        is_evaluated = bool(self._evaluate_every or options["evaluate_at_end"])
        is_saved = bool(self._checkpoint_every or options["save_model"])
        if attempt is None and (is_evaluated or is_saved):
            raise TrialError("evaluations, checkpoints and models need the folder of an attempt")
        self._attempt = attempt
        if is_saved:
            # fail now rather than at the end of the training
            check_storable(trainer.bare.state_dict())
        self._evaluation = self._make_evaluation() if is_evaluated else None
        self._checkpoints = self._make_checkpoints() if self._checkpoint_every else None

    def next_stop(self, taken: int, until: int) -> int:
        """Return the number of steps after which something is due next, at most ``until``."""
        warmup = self.trainer.setting.warmup_steps
        measured = max(0, taken - warmup)
        stops = [until]
        for every in (self._evaluate_every, self._checkpoint_every):
            if every:
                stops.append(warmup + (measured // every + 1) * every)
        return min(stops)

    def run_due(self, taken: int) -> None:
        """Evaluate or write a checkpoint if that is due after this number of steps."""
        measured = taken - self.trainer.setting.warmup_steps
        if measured <= 0:
            return
        if self._evaluate_every and measured % self._evaluate_every == 0:
            self._evaluate(taken)
        is_over = self.is_target_met or measured == self.most_steps
        if self._checkpoints and measured % self._checkpoint_every == 0 and not is_over:
            progress = Progress(taken=taken, measured_s=self._measured_s())
            with self._pause("checkpoint"):
                # the rows of all steps that will not be taken again
                self.rows.flush()
                self._checkpoints.write(self._folder(), progress)

    def end(self, taken: int) -> None:
        """Evaluate, unless that was just done or is not requested, and save the model."""
        if self._evaluation and self._evaluated_at != taken:
            self._evaluate(taken)
        if self.trainer.options["save_model"]:
            with self._pause("saving"):
                weights = full_state(self.trainer.bare)
                if self.trainer.rank == 0:
                    name, workload = self.trainer.setting.workload, self.trainer.workload
                    save(self._folder() / MODEL, name, workload, weights)

    def resume(self, checkpoint: Path) -> int:
        """Restore a checkpoint and return the number of steps that had been taken by then."""
        if self._checkpoints is None:
            raise TrialError("training resumes from a checkpoint only with checkpoint_every")
        progress = self._checkpoints.read(checkpoint)
        self._spent_s = progress.measured_s
        return progress.taken

    def begin_measured(self) -> float:
        """Start the time of measured steps; return the time of those in earlier attempts, s."""
        self._measured_from_s = self.trained_s() - self._spent_s
        return self._spent_s

    def trained_s(self) -> float:
        """Return the time on the clock of the steps without the pauses, s."""
        return self.rows.now() - self.paused_s

    def _measured_s(self) -> float:
        if self._measured_from_s is None:
            return self._spent_s
        return self.trained_s() - self._measured_from_s

    def _make_checkpoints(self) -> Checkpoints:
        need("safetensors.torch", "a checkpoint")  # fail now rather than after the first steps
        trainer = self.trainer
        return Checkpoints(
            trainer.strategy,
            trainer.optimiser,
            trainer.scaler,
            trainer.schedule,
            trainer.batches,
            trainer.plateau,
        )

    def _make_evaluation(self) -> Evaluation:
        trainer = self.trainer
        evaluation = Evaluation(
            trainer.workload,
            trainer.strategy,
            trainer.batches.batch_size,
            most_samples=int(trainer.options["evaluate_samples"]),
            loader_workers=int(trainer.options["loader_workers"]),
            ranks=trainer.ranks,
            rank=trainer.rank,
        )
        target, plateau = trainer.setting.stop.target, trainer.plateau
        if target:
            evaluation.check(target.metric, "the target's")
        if plateau and plateau.metric:
            evaluation.check(plateau.metric.removeprefix("-"), "the plateau's")
        return evaluation

    def _evaluate(self, taken: int) -> None:
        assert self._evaluation is not None, "it is requested by the same options"
        with self._pause("evaluation") as start_s:
            metrics = self._evaluation.metrics()
        self._evaluated_at = taken
        if self.trainer.rank == 0:
            trained = float(taken * self.trainer.samples_per_step)
            row = Evaluated(taken - 1, trained, start_s, self._evaluation.samples, metrics)
            note_metrics(self._folder(), row)
        if self.trainer.plateau:
            self.trainer.plateau.look(metrics)
        target = self.trainer.setting.stop.target
        self.is_target_met = target is not None and target.is_met(metrics[target.metric])

    @contextlib.contextmanager
    def _pause(self, kind: str) -> Iterator[float]:
        start_s = self.rows.now()
        yield start_s
        end_s = self.rows.now()
        self.paused_s += end_s - start_s
        if self.trainer.rank == 0:
            note_pause(self._folder(), Pause(kind, start_s, end_s))

    def _folder(self) -> Path:
        assert self._attempt is not None, "checked at the start"
        return self._attempt

"""What a training does between its steps: evaluations, checkpoints, and at the end a saved model.

Their time is noted as pauses and lies in no step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wattlaw.core.errors import TrialError
from wattlaw.measuring.files.rank_files import Evaluated, Pause, note_metrics, note_pause
from wattlaw.runner.worker.checkpoint import Checkpoints, Progress
from wattlaw.runner.worker.evaluation import Evaluation
from wattlaw.runner.worker.state import full_state
from wattlaw.workloads.saved import MODEL, check_storable, save

if TYPE_CHECKING:
    from wattlaw.runner.worker.loop import Loop


class Between:
    """Says where the steps of a loop are to be interrupted, and does what is due there.

    paused_s          time so far in which no step was taken, s
    measured_from_s   when measured steps began, pauses and earlier attempts left out; None before that
    is_met            whether the target of the setting has been met
    """

    def __init__(self, loop: Loop) -> None:
        self.loop, options = loop, loop.options
        self.paused_s, self.is_met = 0.0, False
        self.measured_from_s: float | None = None
        self._evaluate_every, self._checkpoint_every = (
            int(options[n]) for n in ("evaluate_every", "checkpoint_every")
        )
        self._evaluated_at = -1
        self._spent_s = 0.0
        wants_folder = self._evaluate_every or self._checkpoint_every or options["evaluate_at_end"]
        if loop.attempt is None and (wants_folder or options["save_model"]):
            raise TrialError("evaluations, checkpoints and models need the folder of an attempt")
        if self._checkpoint_every or options["save_model"]:
            # rather now than when the training is done
            check_storable(loop.bare.state_dict())
        self._evaluation = (
            self._evaluated() if self._evaluate_every or options["evaluate_at_end"] else None
        )
        self._checkpoints = None
        if self._checkpoint_every:
            self._checkpoints = Checkpoints(
                loop.strategy, loop.optimiser, loop.scaler, loop.schedule, loop.data, loop.plateau
            )

    def next_stop(self, taken: int, until: int) -> int:
        """Return how many steps will have been taken when something is due next, at most ``until``."""
        warmup = self.loop.setting.warmup_steps
        done = max(0, taken - warmup)
        each = [e for e in (self._evaluate_every, self._checkpoint_every) if e]
        return min([until, *(warmup + (done // e + 1) * e for e in each)])

    def attend(self, taken: int) -> None:
        """Do what is due after so many steps."""
        measured = taken - self.loop.setting.warmup_steps
        if measured <= 0:
            return
        if self._evaluate_every and measured % self._evaluate_every == 0:
            self._evaluate(taken)
        is_over = self.is_met or measured == self.loop.most
        if self._checkpoints and measured % self._checkpoint_every == 0 and not is_over:
            progress = Progress(taken=taken, measured_s=self._measured_s())
            with self._pause("checkpoint"):
                # the rows of all steps that are not taken again
                self.loop.log.flush()
                self._checkpoints.write(self._folder(), progress)

    def end(self, taken: int) -> None:
        """Evaluate where that is asked for and was not just done, and save the model."""
        if self._evaluation and self._evaluated_at != taken:
            self._evaluate(taken)
        if self.loop.options["save_model"]:
            with self._pause("saving"):
                weights = full_state(self.loop.bare)
                if self.loop.rank == 0:
                    save(
                        self._folder() / MODEL,
                        self.loop.setting.workload,
                        self.loop.workload,
                        weights,
                    )

    def resume(self, checkpoint: Path) -> int:
        """Bring back a checkpoint and return the steps that were taken by then."""
        if self._checkpoints is None:
            raise TrialError("a training goes on from a checkpoint only with checkpoint_every")
        progress = self._checkpoints.read(checkpoint)
        self._spent_s = progress.measured_s
        return progress.taken

    def begin_measured(self) -> float:
        """Note that measured steps begin now; return the seconds of such steps that earlier attempts took."""
        self.measured_from_s = self.trained_s() - self._spent_s
        return self._spent_s

    def trained_s(self) -> float:
        """Return the time, s, on the clock of the steps, which stands still in pauses."""
        return self.loop.now() - self.paused_s

    def _measured_s(self) -> float:
        return (
            self._spent_s
            if self.measured_from_s is None
            else self.trained_s() - self.measured_from_s
        )

    def _evaluated(self) -> Evaluation:
        loop, most, workers = (
            self.loop,
            *(int(self.loop.options[n]) for n in ("evaluate_samples", "loader_workers")),
        )
        found = Evaluation(
            loop.workload, loop.strategy, loop.data.batch_size, most, workers, loop.ranks, loop.rank
        )
        if loop.setting.stop.target:
            found.check(loop.setting.stop.target.metric, "the target's")
        if loop.plateau and loop.plateau.metric:
            found.check(loop.plateau.metric.removeprefix("-"), "the plateau's")
        return found

    def _evaluate(self, taken: int) -> None:
        assert self._evaluation is not None, "asked for by the same options"
        with self._pause("evaluation") as start_s:
            metrics = self._evaluation.metrics()
        self._evaluated_at = taken
        if self.loop.rank == 0:
            trained = float(taken * self.loop.samples_a_step)
            row = Evaluated(taken - 1, trained, start_s, self._evaluation.samples, metrics)
            note_metrics(self._folder(), row)
        if self.loop.plateau:
            self.loop.plateau.look(metrics)
        target = self.loop.setting.stop.target
        self.is_met = target is not None and target.is_met(metrics[target.metric])

    @contextlib.contextmanager
    def _pause(self, kind: str) -> Iterator[float]:
        start = self.loop.now()
        yield start
        end = self.loop.now()
        self.paused_s += end - start
        if self.loop.rank == 0:
            note_pause(self._folder(), Pause(kind, start, end))

    def _folder(self) -> Path:
        assert self.loop.attempt is not None, "checked at the start"
        return self.loop.attempt

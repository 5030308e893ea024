"""The training loop of one rank: warm-up steps, then measured ones, with interruptions.

The recorded communication time is the part of the all-reduce that does not overlap with the
backward pass: from the all-reduce of the last gradient bucket until the backward pass returns. With
a strategy that communicates inside the passes it is missing.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.distributed as dist

from wattlaw.core.setting import Setting, Stop
from wattlaw.runner.worker.device_timer import AnyClock
from wattlaw.runner.worker.interruptions import Interruptions
from wattlaw.runner.worker.step_rows import StepRows, StepSink
from wattlaw.runner.worker.trainer import Trainer
from wattlaw.workloads.base import Workload

_CHECK_EVERY_S = 1.0


class Loop:
    """Trains the model of one rank and records its steps. ``attempt`` is the folder for files."""

    def __init__(
        self,
        setting: Setting,
        workload: Workload,
        device: torch.device,
        clock: AnyClock,
        sink: StepSink,
        attempt: Path | None = None,
    ) -> None:
        self.setting = setting
        self.trainer = Trainer(setting, workload, device, clock)
        self.most_steps = most_steps(
            setting.stop, len(self.trainer.batches), self.trainer.accumulation
        )
        total_steps = None if self.most_steps is None else setting.warmup_steps + self.most_steps
        self.trainer.set_schedule(total_steps)
        self.rows = StepRows(clock, sink, self.trainer.strategy.has_exchange_mark)
        self.interruptions = Interruptions(self.trainer, self.rows, self.most_steps, attempt)
        self.taken = 0

    def train(self, checkpoint: Path | None = None) -> None:
        """Take the warm-up steps, then the measured ones, and write the row of every step.

        After resuming from ``checkpoint`` there are warm-up steps again. Raises TrialError.
        """
        if self.trainer.options["compile"]:
            self.trainer.check_compiled()
        if checkpoint:
            self.taken = self.interruptions.resume(checkpoint)
        warmup, left = self.setting.warmup_steps, None
        if self.most_steps is not None:
            left = max(0, warmup + self.most_steps - self.taken)
            # at least one of the steps that are left is measured
            warmup = min(warmup, max(0, left - 1))
        self._take(warmup, is_warmup=True)
        self._take_measured(None if left is None else left - warmup)
        self.rows.now()
        self.interruptions.end(self.taken)

    def _take_measured(self, most: int | None) -> None:
        seconds, interruptions = self.setting.stop.seconds, self.interruptions
        spent_s = interruptions.begin_measured()
        start_s, first = interruptions.trained_s(), self.taken
        if seconds is None:
            self._take(most or 0)
            return
        checks, more = [(0, start_s)], 1
        if seconds <= spent_s or most == 0:
            more = 0
        while more and not interruptions.is_target_met:
            self._take(more)
            checks.append((self.taken - first, interruptions.trained_s()))
            more = self._agree_on_more(checks, most, seconds - spent_s)

    def _take(self, steps: int, *, is_warmup: bool = False) -> None:
        until = self.taken + steps
        while self.taken < until and not self.interruptions.is_target_met:
            for step in range(self.taken, self.interruptions.next_stop(self.taken, until)):
                self.step(step, is_warmup)
                self.taken += 1
            self.interruptions.run_due(self.taken)

    def step(self, number: int, is_warmup: bool) -> None:
        """Take and record one step."""
        self.rows.add(self.trainer.step(number, is_warmup))

    def _agree_on_more(
        self, checks: list[tuple[int, float]], most: int | None, seconds: float
    ) -> int:
        # rank 0 decides by its clock
        count = torch.tensor([steps_to_take(checks, most, seconds)], device=self.trainer.device)
        if self.trainer.ranks > 1:
            dist.broadcast(count, 0)
        return int(count)


def most_steps(stop: Stop, batches_per_epoch: int, accumulation: int) -> int | None:
    """Return the most measured steps that a stop allows; None without steps and epochs."""
    limits = []
    if stop.steps is not None:
        limits.append(stop.steps)
    if stop.epochs is not None:
        steps = stop.epochs * batches_per_epoch / accumulation
        limits.append(max(1, math.ceil(steps)))
    return min(limits, default=None)


def steps_to_take(checks: list[tuple[int, float]], most: int | None, seconds: float) -> int:
    """Return how many steps to take before the next check of the clock; 0 if the time is up.

    ``checks`` are the steps done and the time, s, of each check so far. The clock is checked after
    1, 2, 4, … steps, and at least once per second, so that a steady pace ends within half a step of
    ``seconds``.
    """
    (_, start_s), (before, before_s), (done, now_s) = checks[0], checks[-2], checks[-1]
    # the slower of both paces: too few steps are corrected at the next check, too many never
    mean_s, latest_s = (now_s - start_s) / done, (now_s - before_s) / (done - before)
    step_s = max(mean_s, latest_s, 1e-9)
    left_s = seconds - (now_s - start_s)
    if left_s < step_s / 2:
        return 0
    more = max(1, min(done, int(min(left_s, _CHECK_EVERY_S) / step_s)))
    return more if most is None else min(more, most - done)

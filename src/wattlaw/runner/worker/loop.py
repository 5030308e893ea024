"""The training loop of one rank: data, forward, backward, optimiser, each marked on the device's time line."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.errors import TrialError
from wattlaw.core.options import training_options
from wattlaw.core.setting import Setting
from wattlaw.runner.worker.compile_check import gradient_notes
from wattlaw.runner.worker.data import Batches, to_device
from wattlaw.runner.worker.device_timer import Clock
from wattlaw.runner.worker.interruptions import Between
from wattlaw.runner.worker.pace import most_steps, steps_to_take
from wattlaw.runner.worker.schedule import Plateau, scaling, scheduler, set_rate
from wattlaw.runner.worker.strategy import strategy_for
from wattlaw.runner.worker.user_class import checked_loss, model_of, optimiser_of
from wattlaw.workloads.base import Workload


class StepSink(Protocol):
    """Takes one row of steps-<rank>.csv; see ``core.folder.STEP_COLUMNS``."""

    def append(
        self,
        step: int,
        warmup: bool,
        start_s: float,
        end_s: float,
        samples: float | None = None,
        loss: float | None = None,
        data_s: float | None = None,
        forward_s: float | None = None,
        backward_s: float | None = None,
        communication_s: float | None = None,
        optimiser_s: float | None = None,
    ) -> None: ...

    def flush(self) -> None: ...


class Loop:
    """Trains one replica and records its steps.

    The recorded communication is the part of the all-reduce that the backward pass does not hide: the time
    from the moment the last gradient bucket is handed over until the backward pass returns. A strategy that
    exchanges within the passes leaves it open.
    """

    def __init__(
        self,
        setting: Setting,
        workload: Workload,
        device: torch.device,
        clock: Clock,
        log: StepSink,
        attempt: Path | None = None,
    ) -> None:
        self.setting, self.workload, self.device, self.clock, self.log = (
            setting,
            workload,
            device,
            clock,
            log,
        )
        self.options, self.attempt = training_options(setting), attempt
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(setting.seed)
        self.bare = model_of(workload).to(device)
        # before the optimiser: a strategy may put other parameters in the place of the model's
        self.strategy = strategy_for(
            workload, self.bare, setting.precision, self.options, device, clock
        )
        torch.manual_seed(setting.seed + self.rank)
        self.scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")
        self.data = Batches(setting, workload, device, self.ranks, self.rank)
        self.parts = int(self.options["accumulation"])
        self.samples_a_step = self.data.batch_size * self.ranks * self.parts
        self.most = most_steps(setting.stop, len(self.data), self.parts)
        self.optimiser, self.schedule = self._optimiser()
        self.plateau = None
        if self.schedule and self.options["schedule"] == "plateau":
            self.plateau = Plateau(self.optimiser, self.schedule, self.options)
        self.clip_norm = float(self.options["clip_norm"]) or workload.clip_norm
        self.taken = 0
        self._pending: collections.deque[tuple[int, bool, list[Any], int, Tensor]] = (
            collections.deque()
        )
        self.between = Between(self)

    def train(self, resume: Path | None = None) -> None:
        """Run the warm-up steps, then the measured ones, and write every step's row.

        ``resume`` is a checkpoint to go on from; the steps after it begin with a warm-up of their own.
        """
        if self.options["compile"]:
            self._look_at_gradients()
        if resume:
            self.taken = self.between.resume(resume)
        left = (
            None
            if self.most is None
            else max(0, self.setting.warmup_steps + self.most - self.taken)
        )
        warmup = (
            self.setting.warmup_steps
            if left is None
            else min(self.setting.warmup_steps, max(0, left - 1))
        )
        self._take(warmup, True)
        self._take_measured(None if left is None else left - warmup)
        self._settle()
        self.between.end(self.taken)

    def _look_at_gradients(self) -> None:
        batch = to_device(self.data.first(), self.device)
        found = gradient_notes(self.strategy, self.workload.loss, batch)
        self.workload.notes = [*self.workload.notes, *found]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def _take_measured(self, most: int | None) -> None:
        seconds = self.setting.stop.seconds
        spent, start, first = self.between.begin_measured(), self.between.trained_s(), self.taken
        if seconds is None:
            self._take(most or 0, False)
            return
        asked, more = [(0, start)], 1 if seconds > spent and most != 0 else 0
        while more and not self.between.is_met:
            self._take(more, False)
            asked.append((self.taken - first, self.between.trained_s()))
            more = self._more(asked, most, seconds - spent)

    def _take(self, steps: int, warmup: bool) -> None:
        until = self.taken + steps
        while self.taken < until and not self.between.is_met:
            for step in range(self.taken, self.between.next_stop(self.taken, until)):
                self._step(step, warmup)
                self.taken += 1
            self.between.attend(self.taken)

    def _step(self, step: int, warmup: bool) -> None:
        mark, parts = self.clock.mark, self.parts
        marks, total = [mark()], None
        for part in range(parts):
            batch = to_device(next(self.data), self.device)
            marks.append(mark())
            with self.strategy.quiet(part < parts - 1):
                with self.strategy.cast():
                    loss = self.strategy.calculate(self.workload.loss, batch)
                marks.append(mark())
                self.strategy.exchange = None
                loss = checked_loss(self.workload, loss)
                share = loss / parts if parts > 1 else loss
                self.scaler.scale(share).backward()
                self.strategy.check_exchanged()
            done = mark()
            marks += [self.strategy.exchange or done, done]
            total = share.detach() if total is None else total + share.detach()
        if self.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.bare.parameters(), self.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.schedule:
            self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        assert total is not None, "there is at least one part"
        host_loss = self._to_host(total)
        marks.append(mark())
        self._pending.append((step, warmup, marks, parts * self.data.batch_size, host_loss))
        while self._pending and self.clock.passed(self._pending[0][2][-1]):
            self._write(*self._pending.popleft())

    def _write(self, step: int, warmup: bool, marks: list[Any], samples: int, loss: Tensor) -> None:
        value = float(loss)
        times = [self.clock.seconds(m) for m in marks]
        data = forward = backward = wait = 0.0
        before = times[0]
        for loaded, forwarded, bucket, done in _fours(times[1:-1]):
            data += loaded - before
            forward += forwarded - loaded
            backward += bucket - forwarded
            wait += done - bucket
            before = done
        optimiser = times[-1] - before
        communication = wait if self.strategy.tells else None
        self.log.append(
            step,
            warmup,
            times[0],
            times[-1],
            samples,
            value,
            data,
            forward,
            backward,
            communication,
            optimiser,
        )
        if not math.isfinite(value):
            raise TrialError(
                f"the loss is {value} at step {step}; a lower learning_rate or precision fp32 may help"
            )

    def _settle(self) -> None:
        self.clock.synchronise()
        while self._pending:
            self._write(*self._pending.popleft())

    def _more(self, asked: list[tuple[int, float]], most: int | None, seconds: float) -> int:
        # rank 0 decides by its clock and tells the others
        count = torch.tensor([steps_to_take(asked, most, seconds)], device=self.device)
        if self.ranks > 1:
            dist.broadcast(count, 0)
        return int(count)

    def now(self) -> float:
        """Return the time, s, at which the device has done all its work; every step's row is written by then."""
        mark = self.clock.mark()
        self._settle()
        return self.clock.seconds(mark)

    def _optimiser(self) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        optimiser, options = optimiser_of(self.workload, self.bare.parameters()), self.options
        published = self.workload.batch.get(self.workload.preset)
        factor = scaling(str(options["learning_rate_scaling"]), self.samples_a_step, published)
        set_rate(optimiser, float(options["learning_rate"]), factor)
        if options["schedule"] == "constant" and not options["schedule_warmup"]:
            return optimiser, None
        steps = None if self.most is None else self.setting.warmup_steps + self.most
        return optimiser, scheduler(optimiser, options, steps)

    def _to_host(self, loss: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return loss
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        # read only after the step's last mark has passed, which lies behind this copy
        return host.copy_(loss, non_blocking=True)


def _fours(times: list[float]) -> Iterator[tuple[float, float, float, float]]:
    for i in range(0, len(times), 4):
        yield times[i], times[i + 1], times[i + 2], times[i + 3]

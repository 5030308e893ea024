"""The training loop of one rank: data, forward, backward, optimiser, each marked on the device's time line."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from wattlaw.core.errors import TrialError
from wattlaw.core.setting import Setting
from wattlaw.runner.options import training_options
from wattlaw.runner.worker_clock import Clock
from wattlaw.runner.worker_data import Batches, to_device
from wattlaw.runner.worker_pace import most_steps, steps_to_take
from wattlaw.runner.worker_strategy import strategy_for
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


class Loop:
    """Trains one replica and records its steps.

    The recorded communication is the part of the all-reduce that the backward pass does not hide: the time
    from the moment the last gradient bucket is handed over until the backward pass returns. A strategy that
    exchanges within the passes leaves it open.
    """

    def __init__(self, setting: Setting, workload: Workload, device: torch.device, clock: Clock, log: StepSink) -> None:
        self.setting, self.workload, self.device, self.clock, self.log = setting, workload, device, clock, log
        self.options = training_options(setting)
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(setting.seed)
        self.bare = workload.model().to(device)
        # before the optimiser: a strategy may put other parameters in the place of the model's
        self.strategy = strategy_for(workload, self.bare, setting.precision, self.options, device, clock)
        self.optimiser = self._optimiser()
        torch.manual_seed(setting.seed + self.rank)
        self.scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")
        self.data = Batches(setting, workload, device, self.ranks, self.rank)
        self._pending: collections.deque[tuple[int, bool, list[Any], int, Tensor]] = collections.deque()

    def train(self) -> None:
        """Run the warm-up steps, then the measured ones, and write every step's row."""
        warmup, stop = self.setting.warmup_steps, self.setting.stop
        most, seconds = most_steps(stop, len(self.data), int(self.options["accumulation"])), stop.seconds
        for step in range(warmup):
            self._step(step, True)
        asked = [(0, self._now())]
        done, more = 0, (1 if seconds else most) or 0
        while more:
            for step in range(warmup + done, warmup + done + more):
                self._step(step, False)
            done += more
            asked.append((done, self._now()))
            more = self._more(asked, most, seconds) if seconds else 0

    def _step(self, step: int, warmup: bool) -> None:
        mark = self.clock.mark
        marks, samples, total = [mark()], 0, torch.zeros((), device=self.device)
        parts = int(self.options["accumulation"])
        for part in range(parts):
            batch = to_device(next(self.data), self.device)
            marks.append(mark())
            samples += self.data.batch_size
            with self.strategy.quiet(part < parts - 1):
                with self.strategy.cast():
                    loss = self.workload.loss(self.strategy.model, batch)
                marks.append(mark())
                self.strategy.exchange = None
                self.scaler.scale(loss / parts).backward()
            done = mark()
            marks += [self.strategy.exchange or done, done]
            total = total + loss.detach() / parts
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        host_loss = self._to_host(total)
        marks.append(mark())
        self._pending.append((step, warmup, marks, samples, host_loss))
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
            step, warmup, times[0], times[-1], samples, value, data, forward, backward, communication, optimiser
        )
        if not math.isfinite(value):
            raise TrialError(f"the loss is {value} at step {step}; a lower learning_rate or precision fp32 may help")

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

    def _now(self) -> float:
        mark = self.clock.mark()
        self._settle()
        return self.clock.seconds(mark)

    def _optimiser(self) -> torch.optim.Optimizer:
        optimiser = self.workload.optimiser(self.bare.parameters())
        rate = float(self.options["learning_rate"])
        if rate:
            for group in optimiser.param_groups:
                group["lr"] = rate
        return optimiser

    def _to_host(self, loss: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return loss
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        # read only after the step's last mark has passed, which lies behind this copy
        return host.copy_(loss, non_blocking=True)


def _fours(times: list[float]) -> Iterator[tuple[float, float, float, float]]:
    for i in range(0, len(times), 4):
        yield times[i], times[i + 1], times[i + 2], times[i + 3]

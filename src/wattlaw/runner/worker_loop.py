"""The training loop of one rank: data, forward, backward, optimiser, each marked on the device's time line."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from wattlaw.core.errors import TrialError
from wattlaw.core.setting import Setting
from wattlaw.runner.options import training_options
from wattlaw.runner.worker_clock import Clock
from wattlaw.runner.worker_strategy import Strategy
from wattlaw.workloads.base import Workload

_ASK_S = 1.0


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
    from the moment the last gradient bucket is handed over until the backward pass returns.
    """

    def __init__(self, setting: Setting, workload: Workload, device: torch.device, clock: Clock, log: StepSink) -> None:
        self.setting, self.workload, self.device, self.clock, self.log = setting, workload, device, clock, log
        self.options = training_options(setting)
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(setting.seed)
        self.bare = workload.model().to(device)
        # before the optimiser: a strategy may put other parameters in the place of the model's
        self.strategy = Strategy(self.bare, setting.precision, self.options, device, clock)
        self.optimiser = self._optimiser()
        torch.manual_seed(setting.seed + self.rank)
        self.scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")
        self.batch_size = setting.batch_per_device or workload.batch.get(workload.preset, 32)
        self.loader, self.sampler = self._loader()
        self._pending: collections.deque[tuple[int, bool, list[Any], int, Tensor]] = collections.deque()

    def train(self) -> None:
        """Run the warm-up steps, then the measured ones, and write every step's row."""
        batches = self._batches()
        warmup, most, seconds = self.setting.warmup_steps, self._most_steps(), self.setting.stop.seconds
        for step in range(warmup):
            self._step(step, True, batches)
        asked = [(0, self._now())]
        done, more = 0, (1 if seconds else most) or 0
        while more:
            for step in range(warmup + done, warmup + done + more):
                self._step(step, False, batches)
            done += more
            asked.append((done, self._now()))
            more = self._more(asked, most, seconds) if seconds else 0

    def _step(self, step: int, warmup: bool, batches: Iterator[Any]) -> None:
        mark = self.clock.mark
        marks, samples, total = [mark()], 0, torch.zeros((), device=self.device)
        parts = int(self.options["accumulation"])
        for part in range(parts):
            batch = to_device(next(batches), self.device)
            marks.append(mark())
            samples += self.batch_size
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
        data = forward = backward = communication = 0.0
        before = times[0]
        for loaded, forwarded, bucket, done in _fours(times[1:-1]):
            data += loaded - before
            forward += forwarded - loaded
            backward += bucket - forwarded
            communication += done - bucket
            before = done
        optimiser = times[-1] - before
        self.log.append(
            step, warmup, times[0], times[-1], samples, value, data, forward, backward, communication, optimiser
        )
        if not math.isfinite(value):
            raise TrialError(f"the loss is {value} at step {step}; a lower learning_rate or precision fp32 may help")

    def _settle(self) -> None:
        self.clock.synchronise()
        while self._pending:
            self._write(*self._pending.popleft())

    def _most_steps(self) -> int | None:
        stop, wanted = self.setting.stop, []
        if stop.steps is not None:
            wanted.append(stop.steps)
        if stop.epochs is not None:
            wanted.append(max(1, math.ceil(stop.epochs * len(self.loader) / int(self.options["accumulation"]))))
        return min(wanted) if wanted else None

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

    def _batches(self) -> Iterator[Any]:
        for epoch in itertools.count():
            self.sampler.set_epoch(epoch)
            yield from self.loader

    def _loader(self) -> tuple[DataLoader[Any], DistributedSampler[Any]]:
        data = self.workload.data("train")
        # one sampler for every number of ranks: N ranks of b samples see what one rank of N·b sees
        sampler: DistributedSampler[Any] = DistributedSampler(
            data, self.ranks, self.rank, shuffle=True, seed=self.setting.seed, drop_last=True
        )
        workers = int(self.options["loader_workers"])
        loader = DataLoader(
            data,
            self.batch_size,
            sampler=sampler,
            collate_fn=self.workload.collate,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        if len(loader) == 0:
            held = len(sampler)
            raise TrialError(f"batch_per_device is {self.batch_size}, but a rank's share of the data is {held} samples")
        return loader, sampler

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


def steps_to_take(asked: list[tuple[int, float]], most: int | None, seconds: float) -> int:
    """Return how many steps to take before the clock is asked again; 0 where the time is up.

    ``asked`` has the steps done and the time, s, of each earlier look at the clock. It is looked at after 1,
    2, 4, … steps, at last once a second, so a steady pace ends within half a step of ``seconds``.
    """
    (_, start), (before, then), (done, now) = asked[0], asked[-2], asked[-1]
    # the slower of the pace so far and the latest: too few steps are mended at the next look, too many never
    each = max((now - start) / done, (now - then) / (done - before), 1e-9)
    left = seconds - (now - start)
    if left < each / 2:
        return 0
    more = max(1, min(done, int(min(left, _ASK_S) / each)))
    return more if most is None else min(more, most - done)


def _fours(times: list[float]) -> Iterator[tuple[float, float, float, float]]:
    for i in range(0, len(times), 4):
        yield times[i], times[i + 1], times[i + 2], times[i + 3]


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a batch to a device: whatever has ``.to``, and dicts, lists and tuples of it."""
    if isinstance(batch, dict):
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(v, device) for v in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(v, device) for v in batch)
    return batch.to(device, non_blocking=True) if hasattr(batch, "to") else batch

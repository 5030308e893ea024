"""One training step of one rank: data, forward, backward and optimiser, each marked in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.options import training_options
from wattlaw.core.setting import Setting
from wattlaw.runner.worker.compile_check import gradient_notes
from wattlaw.runner.worker.device_timer import AnyClock
from wattlaw.runner.worker.rank_batches import Batches, to_device
from wattlaw.runner.worker.schedule import Plateau, scaling, scheduler, set_rate
from wattlaw.runner.worker.step_rows import TakenStep, to_host
from wattlaw.runner.worker.strategy import rank, ranks, strategy_for
from wattlaw.runner.worker.user_class import checked_loss, model_of, optimiser_of
from wattlaw.workloads.base import Workload


class Trainer:
    """The model of one rank and everything that trains it.

    bare              the model itself, without DDP or compilation
    strategy          how it is spread over the ranks
    batches           the training batches of this rank
    accumulation      batches whose gradients are added for one step
    samples_per_step  of all ranks
    schedule          of the learning rate over the steps; None if the rate is constant
    plateau           of the learning rate over evaluations; None without one
    """

    def __init__(
        self, setting: Setting, workload: Workload, device: torch.device, clock: AnyClock
    ) -> None:
        self.setting, self.workload, self.device, self.clock = setting, workload, device, clock
        self.options = training_options(setting)
        self.ranks, self.rank = ranks(), rank()
        torch.manual_seed(setting.seed)
        self.bare = model_of(workload).to(device)
        # before the optimiser: a strategy may replace the parameters of the model
        self.strategy = strategy_for(
            workload, self.bare, setting.precision, self.options, device, clock
        )
        torch.manual_seed(setting.seed + self.rank)
        self.scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")
        self.batches = Batches(setting, workload, device, self.ranks, self.rank)
        self.accumulation = int(self.options["accumulation"])
        self.samples_per_step = self.batches.batch_size * self.ranks * self.accumulation
        self.clip_norm = float(self.options["clip_norm"]) or workload.clip_norm
        self.optimiser = self._optimiser()
        self.schedule: LambdaLR | None = None
        self.plateau: Plateau | None = None

    def set_schedule(self, steps: int | None) -> None:
        """Make the schedules of the learning rate; ``steps`` in total, None if unknown."""
        options = self.options
        if options["schedule"] == "constant" and not options["schedule_warmup"]:
            return
        self.schedule = scheduler(self.optimiser, options, steps)
        if options["schedule"] == "plateau":
            self.plateau = Plateau(self.optimiser, self.schedule, options)

    def _optimiser(self) -> torch.optim.Optimizer:
        optimiser = optimiser_of(self.workload, self.bare.parameters())
        published = self.workload.batch.get(self.workload.preset)
        kind = str(self.options["learning_rate_scaling"])
        factor = scaling(kind, self.samples_per_step, published)
        set_rate(optimiser, float(self.options["learning_rate"]), factor)
        return optimiser

    def check_compiled(self) -> None:
        """Warn if the gradients of the compiled model differ from those of the uncompiled one."""
        batch = to_device(self.batches.first(), self.device)
        found = gradient_notes(self.strategy, self.workload.loss, batch)
        self.workload.notes = [*self.workload.notes, *found]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def step(self, number: int, is_warmup: bool) -> TakenStep:
        """Take one step of the optimiser and return its marks and mean loss.

        Raises TrialError if the workload's loss is not a scalar that can be trained on.
        """
        mark = self.clock.mark
        marks, total = [mark()], None
        for part in range(self.accumulation):
            is_last = part == self.accumulation - 1
            share = self._backward(marks, is_last)
            total = share if total is None else total + share
        if self.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.bare.parameters(), self.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.schedule:
            self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        assert total is not None, "there is at least one batch"
        loss = to_host(total)
        marks.append(mark())
        samples = self.accumulation * self.batches.batch_size
        return TakenStep(number, is_warmup, marks, samples, loss)

    def _backward(self, marks: list[object], is_last: bool) -> Tensor:
        """Add the gradients of one batch; return its share of the loss and append four marks."""
        mark, strategy = self.clock.mark, self.strategy
        batch = to_device(next(self.batches), self.device)
        marks.append(mark())
        with strategy.no_sync(not is_last):
            with strategy.cast():
                loss = strategy.calculate(self.workload.loss, batch)
            marks.append(mark())
            strategy.exchange = None
            loss = checked_loss(self.workload, loss)
            share = loss / self.accumulation if self.accumulation > 1 else loss
            self.scaler.scale(share).backward()
            strategy.check_exchanged()
        done = mark()
        marks += [strategy.exchange or done, done]
        return share.detach()

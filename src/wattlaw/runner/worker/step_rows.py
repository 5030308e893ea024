"""The rows of steps-<rank>.csv, written once the device has passed the marks of a step."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wattlaw.core.errors import TrialError
from wattlaw.runner.worker.device_timer import AnyClock


class StepSink(Protocol):
    """Takes one row of steps-<rank>.csv; see ``core.run_folder.STEP_COLUMNS``."""

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


class TakenStep(NamedTuple):
    """A step with its time marks.

    marks    start; for each accumulated batch after loading, forward pass, start of the last
             all-reduce and backward pass; end
    samples  of this rank
    loss     scalar, on the host; on a GPU the copy is complete when the last mark has passed
    """

    step: int
    is_warmup: bool
    marks: Sequence[object]
    samples: int
    loss: Tensor


class StepRows:
    """Writes steps in order; ``has_communication``: communication is measured separately."""

    def __init__(self, clock: AnyClock, sink: StepSink, has_communication: bool) -> None:
        self.clock, self.sink, self.has_communication = clock, sink, has_communication
        self._pending: collections.deque[TakenStep] = collections.deque()

    def add(self, taken: TakenStep) -> None:
        """Add a step; write the rows that the device has passed. Raises TrialError for a NaN."""
        self._pending.append(taken)
        while self._pending and self.clock.passed(self._pending[0].marks[-1]):
            self._write(self._pending.popleft())

    def now(self) -> float:
        """Return when the device has done all its work, s; every row is written by then."""
        mark = self.clock.mark()
        self.clock.synchronise()
        while self._pending:
            self._write(self._pending.popleft())
        return self.clock.seconds(mark)

    def flush(self) -> None:
        """Write all rows to disk."""
        self.sink.flush()

    def _write(self, taken: TakenStep) -> None:
        loss = float(taken.loss)
        start, *times, end = map(self.clock.seconds, taken.marks)
        data = forward = backward = wait = 0.0
        before = start
        for i in range(0, len(times), 4):
            loaded, forwarded, last_reduce, done = times[i : i + 4]
            data += loaded - before
            forward += forwarded - loaded
            backward += last_reduce - forwarded
            wait += done - last_reduce
            before = done
        communication = wait if self.has_communication else None
        self.sink.append(
            taken.step,
            taken.is_warmup,
            start,
            end,
            taken.samples,
            loss,
            data,
            forward,
            backward,
            communication,
            end - before,
        )
        if not math.isfinite(loss):
            raise TrialError(
                f"the loss is {loss} at step {taken.step}; a lower learning_rate or precision fp32 "
                "may help"
            )


def to_host(loss: Tensor) -> Tensor:
    """Return a copy of a scalar on the host, without waiting for the device."""
    if loss.device.type == "cpu":
        return loss
    host = torch.empty((), dtype=loss.dtype, pin_memory=True)
    return host.copy_(loss, non_blocking=True)

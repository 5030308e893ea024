"""``wattlaw.measure``: time and energy of a code block or a training loop, in three lines.

with wattlaw.measure("runs/mine") as m:
    for x, y in loader:
        train_step(x, y)
        m.step(samples=len(x))
print(m.result.reading("gpu_energy_j"))
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from wattlaw.core.errors import RecordError, UsageError
from wattlaw.core.factors import ASSUMED
from wattlaw.core.reading import Reading
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop, setting_from
from wattlaw.measuring.files.rank_files import StepLog, read_steps
from wattlaw.measuring.hosts.job_record import (
    Record,
    announced,
    announced_attempt,
    finish,
    new_record,
    passing_place,
    place,
    run_of,
    wait_for_hosts,
    wait_for_steps,
)
from wattlaw.measuring.reduce.summary import parts, summarise
from wattlaw.measuring.sampling.clock_offsets import clock_served
from wattlaw.measuring.sampling.host_sampler import check_rate
from wattlaw.measuring.sampling.sampler_process import Sampler, start_sampler
from wattlaw.measuring.sampling.shared_sampler import copy_telemetry, running_sampler

ATTEMPT, WARMUP = "WATTLAW_ATTEMPT", "WATTLAW_WARMUP_STEPS"
"""Set by the runner of a sweep: where this trial's steps go, and how many of them are warm-up."""


_NO_NAMES = ("", "-", "-c", "__main__", "ipykernel_launcher")
"""What stands for a program's name where code was piped in, given on the command line, or typed into a notebook."""


P = ParamSpec("P")


T = TypeVar("T")


def measure(
    folder: str | Path | None = None,
    *,
    name: str | None = None,
    hz: float = 10.0,
    warmup: int = 0,
    synchronise: bool = True,
    gpus: Sequence[int | str] | None = None,
    setting: Mapping[str, Any] | None = None,
) -> Window:
    """Measure a code block, or, as a decorator, every call of a function, also of an ``async`` one.

    folder       where the record goes; each use adds a repeat. None keeps no record, only ``result`` of a block
    name         what the record calls the workload (the program's name by default)
    hz           readings a second, 0.1 to 100
    warmup       first steps that enter no rate and no energy
    synchronise  wait for CUDA at the edges of windows, through the torch that the program has imported
    gpus         indices or UUIDs of the GPUs to read; None is all that CUDA_VISIBLE_DEVICES leaves
    setting      more of the setting, such as {"batch_per_device": 32}, for fits over several runs

    With torchrun or Slurm each rank writes its steps, one process a host reads the meters, rank 0 makes
    the record. Inside a trial of a sweep only steps are written: the runner measures already. Inside
    `wattlaw measure -- …` the telemetry is that of the sampler which already runs.
    Raises UsageError or SettingError at once, RecordError where the folder cannot be written.
    """
    if callable(folder):
        raise UsageError(
            "write @wattlaw.measure('runs/mine') with brackets, and in them the folder for the records"
        )
    check_rate(hz)
    if warmup < 0:
        raise UsageError(f"warmup is {warmup}; it must be at least 0")
    given = dict(setting or {})
    whole = _setting(name, warmup, given)
    # given values that equal a default would not be told from untold ones
    labels = {n: str(given[n]) for n, default in ASSUMED.items() if given.get(n) == default}
    return Window(
        Path(folder) if folder is not None else None, whole, hz, synchronise, gpus, labels
    )


class Window:
    """A measured block. ``step`` marks the end of a training step, ``window`` measures a part.

    After the block ``result`` is the Run with its totals (rank 0 only; None inside a sweep's trial), and
    ``windows`` holds the quantities of each inner window, by name.
    """

    def __init__(
        self,
        folder: Path | None,
        setting: Setting,
        hz: float,
        synchronise: bool,
        gpus: Sequence[int | str] | None,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.result: Run | None = None
        self.windows: dict[str, list[dict[str, Reading]]] = {}
        self._arguments = (folder, setting, hz, synchronise, gpus, labels)
        self._folder, self._setting, self._hz, self._gpus = folder, setting, hz, gpus
        self._synchronise, self._labels = synchronise, labels
        self._owner = 0
        self._stack = contextlib.ExitStack()
        self._place = place()
        self._inner: list[tuple[str, float, float]] = []
        self._log: StepLog | None = None

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function with each of its calls measured into a record of its own.

        An ``async`` function is measured until it returns. Raises UsageError for a generator, and without a folder.
        """
        if self._folder is None and not os.environ.get(ATTEMPT):
            raise UsageError(
                "nobody could read what the calls cost; give a folder: @wattlaw.measure('runs/mine')"
            )
        return decorated(function, lambda: Window(*self._arguments))

    def __enter__(self) -> Window:
        if self._log is not None:
            raise UsageError(
                "this block is open already; each needs a wattlaw.measure(...) of its own"
            )
        self._steps, self._inner, self.windows, self._owner = 0, [], {}, os.getpid()
        self._record: Record | None = None
        self._sampler: Sampler | None = None
        self._borrowed: Path | None = None
        with contextlib.ExitStack() as stack:
            attempt = self._join(stack)
            log = StepLog(attempt, self._place.rank)
            stack.callback(log.close)
            self._edge()
            self._stack, self._log = stack.pop_all(), log
        self._began = self._last = time.monotonic()
        return self

    def step(
        self,
        samples: float | None = None,
        loss: float | None = None,
        *,
        data_s: float | None = None,
        forward_s: float | None = None,
        backward_s: float | None = None,
        communication_s: float | None = None,
        optimiser_s: float | None = None,
    ) -> None:
        """Mark the end of a training step; it began at the mark before, or where the block began.

        ``samples`` are those of this rank; ``loss`` may be a tensor, which waits for its device. Costs about 5 µs.
        """
        log = self._log
        if log is None:
            raise UsageError(
                "step() marks a step inside its block: with wattlaw.measure(...) as m: ... m.step()"
            )
        if os.getpid() != self._owner:
            raise UsageError(
                "this block was opened by another process, which forked this one; open one here"
            )
        now = time.monotonic()
        value = None if loss is None else float(loss)
        is_warmup = self._steps < self._setting.warmup_steps
        log.append(self._first + self._steps, is_warmup, self._last, now, samples, value, data_s, forward_s,
                         backward_s, communication_s, optimiser_s)  # fmt: skip
        self._steps += 1
        self._last = now
        if is_warmup and self._steps == self._setting.warmup_steps:
            self._edge()
            self._began = self._last = time.monotonic()

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Measure a part of the block, such as an evaluation; parts may nest and repeat."""
        self._edge()
        start = time.monotonic()
        try:
            yield
        finally:
            self._edge()
            self._inner.append((name, start, time.monotonic()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if os.getpid() != self._owner:
            return  # a child that was forked in the block leaves it; the record is its parent's
        if error is None:
            # after an error the device may never answer again
            self._edge()
        end = time.monotonic()
        log, self._log = self._log, None
        assert log is not None, "left before it was entered"
        with self._stack:
            try:
                log.close()
            except RecordError as refused:
                # the block is over, and what comes after it in the user's program must not be lost to a full disk
                print(f"wattlaw: {refused}", file=sys.stderr)
            if os.environ.get(ATTEMPT) or not (self._sampler or self._borrowed or self._record):
                return
            attempt = log.path.parent
            if self._place.world > 1 and error is None:
                wait_for_steps(attempt, self._place.world)
            if self._sampler:
                self._sampler.stop()
            elif self._borrowed:
                copy_telemetry(self._borrowed, attempt, self._began, end)
            if self._record:
                if self._place.world > 1 and error is None:
                    wait_for_hosts(attempt, self._place.world)
                self._summarise(
                    self._record, end, "".join(traceback.format_exception(error)) if error else ""
                )

    def _join(self, stack: contextlib.ExitStack) -> Path:
        """Return the attempt folder of this process, and start what it has to start."""
        self._first = 0
        given = os.environ.get(ATTEMPT)
        if given:
            self._setting = _with_warmup(self._setting)
            path = Path(given) / f"steps-{self._place.rank}.csv"
            before = read_steps(path) if path.exists() else []
            self._first = before[-1].step + 1 if before else 0
            return Path(given)
        if not self._place.is_leader:
            if self._folder is None:
                raise UsageError(
                    "several ranks need a folder for their record, as in wattlaw.measure('runs/mine')"
                )
            attempt = announced_attempt(self._folder)
        else:
            root = self._folder or Path(tempfile.mkdtemp(prefix="wattlaw-", dir=passing_place()))
            if self._folder is None:
                stack.callback(shutil.rmtree, root, ignore_errors=True)
            self._record = new_record(root, self._setting, self._labels)
            attempt = self._record.attempt
            if self._place.world > self._place.local_world:
                stack.enter_context(clock_served(attempt))
            if self._place.world > 1:
                stack.enter_context(announced(root, attempt))
        if self._place.samples:
            self._borrowed = running_sampler()
            if self._borrowed is None:
                root_pid = os.getppid() if self._place.local_world > 1 else os.getpid()
                self._sampler = stack.enter_context(
                    start_sampler(attempt, hz=self._hz, root_pid=root_pid, gpus=self._gpus)
                )
        return attempt

    def _edge(self) -> None:
        if self._synchronise:
            synchronise_cuda()
        if self._sampler:
            self._sampler.edge()

    def _summarise(self, record: Record, end: float, error: str) -> None:
        found = parts(record.attempt, [(start, end) for _, start, end in self._inner])
        for (name, _, _), quantities in zip(self._inner, found, strict=True):
            self.windows.setdefault(name, []).append(quantities)
        # this rank's block may end before another rank's last step
        between = None if self._place.world > 1 and self._steps else (self._began, end)
        # a block alone that marks no steps lacks none
        ranks = self._setting.devices if self._place.world > 1 or self._steps else None
        whole = summarise(record.attempt, ranks, between)
        self.result = finish(record, whole, error) if self._folder else run_of(record, whole, error)


def synchronise_cuda() -> None:
    """Wait for the current CUDA device, through the torch that the program has imported; imports none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _setting(name: str | None, warmup: int, more: Mapping[str, Any]) -> Setting:
    here = place()
    program = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else "measure"
    values: dict[str, Any] = {
        "workload": name or (program if program not in _NO_NAMES else "measure"),
        "nodes": max(1, here.world // here.local_world),
        "devices_per_node": here.local_world,
        **more,
    }
    values.setdefault("stop", {"steps": 1})
    setting = setting_from(values)
    fields = {n: getattr(setting, n) for n in Setting.__struct_fields__}
    # a block ends where it ends, not after so many steps
    fields["stop"] = setting.stop if "stop" in more else Stop()
    return Setting(**{**fields, "warmup_steps": warmup})


def _with_warmup(setting: Setting) -> Setting:
    text = os.environ.get(WARMUP, "")
    fields = {n: getattr(setting, n) for n in Setting.__struct_fields__}
    return Setting(**{**fields, "warmup_steps": int(text)}) if text.isdigit() else setting


def decorated(
    function: Callable[P, T], block: Callable[[], AbstractContextManager[object]]
) -> Callable[P, T]:
    """Return a function that runs in a block of its own at each call; an ``async`` one until it returns.

    Raises UsageError for a generator: a call of it only makes it, and its body runs where somebody iterates.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{function.__name__} is a generator, whose body runs where it is iterated; "
            "write `with wattlaw.measure(...)` around that loop"
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def measured_task(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block():
                return await function(*args, **kwargs)

        return cast("Callable[P, T]", measured_task)

    @functools.wraps(function)
    def measured_call(*args: P.args, **kwargs: P.kwargs) -> T:
        with block():
            return function(*args, **kwargs)

    return measured_call

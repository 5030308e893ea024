"""``wattlaw.measure``: time and energy of a code block, a training loop, or a function.

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

import msgspec

from wattlaw.core.errors import RecordError, UsageError
from wattlaw.core.factors import ASSUMED
from wattlaw.core.files import temporary_folder
from wattlaw.core.reading import Reading
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop, setting_from
from wattlaw.measuring.files.rank_files import StepLog, read_steps
from wattlaw.measuring.hosts.job_record import (
    JobRecord,
    announced,
    announced_attempt,
    finish,
    new_record,
    place,
    wait_for_hosts,
    wait_for_steps,
)
from wattlaw.measuring.reduce.summary import run_of, summarise, summarise_spans
from wattlaw.measuring.sampling.clock_offsets import clock_served
from wattlaw.measuring.sampling.host_sampler import check_rate
from wattlaw.measuring.sampling.sampler_process import Sampler, start_sampler
from wattlaw.measuring.sampling.shared_sampler import copy_telemetry, running_sampler

ATTEMPT, WARMUP = "WATTLAW_ATTEMPT", "WATTLAW_WARMUP_STEPS"
"""Set by the runner of a sweep: the folder for a trial's steps, and how many are warm-up."""

_NO_PROGRAM = ("", "-", "-c", "__main__", "ipykernel_launcher")
"""Names of code that has no program: from a pipe, the command line, or a notebook."""

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
    """Measure a code block, or as a decorator every call of a function, also of an ``async`` one.

    folder       folder for the record; each use adds a repeat. None: only the block's ``result``
    name         name of the workload in the record; by default the program's
    hz           readings per second, 0.1 to 100
    warmup       number of first steps that are excluded from rates and energies
    synchronise  wait for CUDA at the edges of windows, if the program has imported torch
    gpus         indices or UUIDs of the GPUs to read; None: all that CUDA_VISIBLE_DEVICES allows
    setting      further fields of the setting, such as {"batch_per_device": 32}, for fits over runs

    With torchrun or Slurm each rank writes its steps, one process on each host reads the meters,
    and rank 0 makes the record. In a trial of a sweep only steps are written, since the runner
    measures. In `wattlaw measure -- …` the telemetry is that of the running sampler.
    Raises UsageError or SettingError, and RecordError if the folder cannot be written.
    """
    if callable(folder):
        raise UsageError(
            "call the decorator with the folder for its records: @wattlaw.measure('runs/mine')"
        )
    check_rate(hz)
    if warmup < 0:
        raise UsageError(f"warmup is {warmup}; it must be at least 0")
    values = dict(setting or {})
    whole = _setting(name, warmup, values)
    # labels mark the values that the user set although they equal the default
    labels = {n: str(values[n]) for n, default in ASSUMED.items() if values.get(n) == default}
    root = None if folder is None else Path(folder)
    return Window(root, whole, hz, synchronise, gpus, labels)


class Window:
    """A measured block. ``step`` marks the end of a training step; ``window`` measures a part.

    After the block ``result`` is the Run with its totals (on rank 0; None in a trial of a sweep),
    and ``windows`` holds the quantities of each inner window by name.
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
        """Return a function that records each of its calls; an ``async`` one until it returns.

        Raises UsageError for a generator, and without a folder.
        """
        if self._folder is None and not os.environ.get(ATTEMPT):
            raise UsageError(
                "a decorator needs a folder for its records: @wattlaw.measure('runs/mine')"
            )
        return _measured_function(function, lambda: Window(*self._arguments))

    def __enter__(self) -> Window:
        if self._log is not None:
            raise UsageError(
                "this block is already open; use one wattlaw.measure(...) for each block"
            )
        self._steps, self._inner, self.windows, self._owner = 0, [], {}, os.getpid()
        self._record: JobRecord | None = None
        self._sampler: Sampler | None = None
        self._shared: Path | None = None
        with contextlib.ExitStack() as stack:
            attempt = self._open(stack)
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
        """Mark the end of a training step, which began at the previous mark or with the block.

        ``samples`` are those of this rank. A ``loss`` that is a tensor waits for its device. Takes
        about 5 µs.
        """
        log = self._log
        if log is None:
            raise UsageError(
                "step() works only within its block: with wattlaw.measure(...) as m: ... m.step()"
            )
        if os.getpid() != self._owner:
            raise UsageError(
                "this block was opened by the parent of this process; open a block here"
            )
        now = time.monotonic()
        value = None if loss is None else float(loss)
        is_warmup = self._steps < self._setting.warmup_steps
        log.append(
            self._first_step + self._steps,
            is_warmup,
            self._last,
            now,
            samples,
            value,
            data_s,
            forward_s,
            backward_s,
            communication_s,
            optimiser_s,
        )
        self._steps += 1
        self._last = now
        if is_warmup and self._steps == self._setting.warmup_steps:
            self._edge()
            self._began = self._last = time.monotonic()

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Measure a part of the block, such as an evaluation; parts may nest and repeat.

        The quantities are in ``windows[name]`` after the block.
        """
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
            return  # a forked child leaves the block; the record is its parent's
        if error is None:
            # after an error the device may not answer any more
            self._edge()
        end = time.monotonic()
        log, self._log = self._log, None
        assert log is not None
        with self._stack:
            try:
                log.close()
            except RecordError as refusal:
                # a full disk must not end the user's program
                print(f"wattlaw: {refusal}", file=sys.stderr)
            if os.environ.get(ATTEMPT) or not (self._sampler or self._shared or self._record):
                return
            attempt = log.path.parent
            waits_for_others = self._place.world > 1 and error is None
            if waits_for_others:
                wait_for_steps(attempt, self._place.world)
            if self._sampler:
                self._sampler.stop()
            elif self._shared:
                copy_telemetry(self._shared, attempt, self._began, end)
            if self._record:
                if waits_for_others:
                    wait_for_hosts(attempt, self._place.world)
                trace_lines = traceback.format_exception(error) if error else []
                self._summarise(self._record, end, "".join(trace_lines))

    def _open(self, stack: contextlib.ExitStack) -> Path:
        """Return the attempt folder of this process, and start the sampler if it is its task."""
        self._first_step = 0
        folder = os.environ.get(ATTEMPT)
        if folder:
            self._setting = _with_warmup(self._setting)
            path = Path(folder) / f"steps-{self._place.rank}.csv"
            before = read_steps(path) if path.exists() else []
            if before:
                self._first_step = before[-1].step + 1
            return Path(folder)
        attempt = self._new_attempt(stack) if self._place.is_leader else self._leaders_attempt()
        if self._place.samples:
            self._shared = running_sampler()
            if self._shared is None:
                root_pid = os.getppid() if self._place.local_world > 1 else os.getpid()
                sampler = start_sampler(attempt, hz=self._hz, root_pid=root_pid, gpus=self._gpus)
                self._sampler = stack.enter_context(sampler)
        return attempt

    def _new_attempt(self, stack: contextlib.ExitStack) -> Path:
        root = self._folder
        if root is None:
            root = Path(tempfile.mkdtemp(prefix="wattlaw-", dir=temporary_folder()))
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        self._record = new_record(root, self._setting, self._labels)
        attempt = self._record.attempt
        if self._place.world > self._place.local_world:
            stack.enter_context(clock_served(attempt))
        if self._place.world > 1:
            stack.enter_context(announced(root, attempt))
        return attempt

    def _leaders_attempt(self) -> Path:
        if self._folder is None:
            raise UsageError(
                "several ranks need a folder for their record, as in wattlaw.measure('runs/mine')"
            )
        return announced_attempt(self._folder)

    def _edge(self) -> None:
        if self._synchronise:
            synchronise_cuda()
        if self._sampler:
            self._sampler.edge()

    def _summarise(self, record: JobRecord, end: float, error: str) -> None:
        spans = [(start, end) for _, start, end in self._inner]
        found = summarise_spans(record.attempt, spans)
        for (name, _, _), quantities in zip(self._inner, found, strict=True):
            self.windows.setdefault(name, []).append(quantities)
        is_parallel = self._place.world > 1
        # with other ranks the steps define the window: theirs may end after this block
        between = None if is_parallel and self._steps else (self._began, end)
        ranks = self._setting.devices if is_parallel or self._steps else None
        whole = summarise(record.attempt, ranks, between)
        if self._folder:
            self.result = finish(record, whole, error)
        else:
            self.result = run_of(
                whole, record.setting, record.trial, labels=record.labels, error=error
            )


def synchronise_cuda() -> None:
    """Wait for the current CUDA device if the program has imported torch; does not import it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _setting(name: str | None, warmup: int, more: Mapping[str, Any]) -> Setting:
    here = place()
    program = Path(sys.argv[0]).stem if sys.argv else ""
    values: dict[str, Any] = {
        "workload": name or ("measure" if program in _NO_PROGRAM else program),
        "nodes": max(1, here.world // here.local_world),
        "devices_per_node": here.local_world,
        **more,
    }
    values.setdefault("stop", {"steps": 1})
    setting = setting_from(values)
    # a block has no stopping condition unless the user gives one
    stop = setting.stop if "stop" in more else Stop()
    return msgspec.structs.replace(setting, stop=stop, warmup_steps=warmup)


def _with_warmup(setting: Setting) -> Setting:
    text = os.environ.get(WARMUP, "")
    if not text.isdigit():
        return setting
    return msgspec.structs.replace(setting, warmup_steps=int(text))


def _measured_function(
    function: Callable[P, T], block: Callable[[], AbstractContextManager[object]]
) -> Callable[P, T]:
    """Return a function that runs in a new block at each call; an ``async`` one until it returns.

    Raises UsageError for a generator: a call only creates it, and its body runs while it is
    iterated.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{function.__name__} is a generator: its body runs while it is iterated; "
            "put `with wattlaw.measure(...)` around that loop"
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

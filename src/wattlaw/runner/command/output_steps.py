"""Steps of a user's command, found in its output as the lines arrive."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from wattlaw.core.errors import TrialError
from wattlaw.core.files import why, write_whole
from wattlaw.core.reading import Note, Reading
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.measuring.files.rank_files import StepLog

SEEN = "output-steps.json"
_LOOK_S = 0.002
_WAIT_S = 0.05
_SHARED_MOST = 0.05
_FINEST = 20
_SKIPPED_MOST = 1000
_LAST_LINES = 3
_IN_MODIFY = 2
_IN_CLOEXEC = 0o2000000
_HIGHEST = 2.0**53
_libc = ctypes.CDLL(None, use_errno=True)


class Seen(msgspec.Struct):
    """output-steps.json: how the lines of a command's output were seen.

    ``lines`` of the output, ``found`` by the pattern, ``shared`` of these that were read together with an
    earlier one and so have no time of their own, ``skipped`` steps that had no line; ``look_s`` is the time
    between looks, 0 where the kernel tells of each write; ``last`` lines of the output.
    """

    lines: int = 0
    found: int = 0
    shared: int = 0
    skipped: int = 0
    look_s: float = 0.0
    last: list[str] = []


class OutputSteps:
    """Follows a growing output file in a thread and records a step for every line that the pattern finds.

    The groups ``step``, ``samples`` and ``loss`` of the pattern are used where it has them. A step lasts from
    the line before it to its own line, so the first line only starts the clock; where the step's number grew
    by more than one, the steps between share that time. The thread waits until the
    kernel tells of a write (inotify), or looks every 2 ms where it does not. ``check`` and leaving the context
    raise TrialError where the output could not be followed.
    """

    def __init__(self, output: Path, pattern: str, setting: Setting, log: StepLog) -> None:
        self._output, self._log, self._setting = output, log, setting
        self._pattern = re.compile(pattern.encode())
        self._rest = b""
        self._arrived_s = 0.0
        self._last_s: float | None = None
        self._steps, self._number, self._told, self._every = 0, -1, -1, 1
        self._last: deque[bytes] = deque(maxlen=_LAST_LINES)
        self.seen = Seen()
        self.position = 0
        self._fault: Exception | None = None
        self._opened, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="wattlaw-output", daemon=True)

    def __enter__(self) -> OutputSteps:
        self._thread.start()
        # the file is held from here on, whatever the command does to its name
        self._opened.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.seen.last = [line.decode(errors="replace")[:100] for line in self._last]
        write_whole(self._output.with_name(SEEN), msgspec.json.encode(self.seen))
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise TrialError where the output can no longer be followed."""
        if self._fault:
            said = (
                why(self._fault, self._output, "read")
                if isinstance(self._fault, OSError)
                else repr(self._fault)
            )
            raise TrialError(f"the steps in the command's output cannot be followed: {said}")

    def _follow(self) -> None:
        # this is where the thread ends: whatever goes wrong is the trial's failure, raised by check
        try:
            with (
                open(self._output, "rb", buffering=0) as file,
                contextlib.closing(_Wakes(self._output)) as wakes,
            ):
                self._opened.set()
                told = True
                while True:
                    is_last = self._ended.is_set()
                    if new := file.read(1 << 20):
                        self._take(new, time.monotonic())
                        self.position += len(new)
                        told = told or wakes.doubt()
                    elif is_last:
                        break
                    else:
                        told = wakes.wait()
                self.seen.look_s = wakes.look_s
            self._lines([self._rest] if self._rest else [], self._arrived_s)
        except Exception as error:
            self._fault = error
            self._opened.set()

    def _take(self, new: bytes, now: float) -> None:
        self._arrived_s = now
        *lines, self._rest = (self._rest + new).replace(b"\r", b"\n").split(b"\n")
        self._lines(lines, now)

    def _lines(self, lines: list[bytes], now: float) -> None:
        self.seen.lines += len(lines)
        self._last.extend(line for line in lines if line.strip())
        found = [m for line in lines if (m := self._pattern.search(line))]
        self.seen.found += len(found)
        self.seen.shared += max(0, len(found) - (now != self._last_s))
        # several lines of one look share its time evenly: they cannot be told apart
        start = self._last_s
        for index, match in enumerate(found, 1):
            if start is None:
                self._last_s = start = now
                told = _step_number(match.groupdict())
                self._number = self._told = -1 if told is None else told
                continue
            end = start + (now - start) * index / len(found)
            self._add(match.groupdict(), self._last_s or start, end)
            self._last_s = end

    def _add(self, groups: Mapping[str, bytes | None], start: float, end: float) -> None:
        passed = self._passed(_step_number(groups))
        self._number += passed
        self.seen.skipped += passed - 1
        samples, batch = _number(groups.get("samples")), self._setting.batch_per_device
        if samples is not None and 0 < samples <= _HIGHEST:
            each: float | None = samples / passed
        else:
            each = batch * self._setting.devices if batch else None
        for index in range(passed):
            warmup = self._steps < self._setting.warmup_steps
            begin, until = (start + (end - start) * i / passed for i in (index, index + 1))
            loss = _number(groups.get("loss")) if index == passed - 1 else None
            self._log.append(self._number - passed + 1 + index, warmup, begin, until, each, loss)
            self._steps += 1

    def _passed(self, told: int | None) -> int:
        """Return the steps since the line before: by their numbers, which may begin anew or go on from elsewhere."""
        before, self._told = self._told, self._told + 1 if told is None else told
        more = self._told - before
        if more < 0:
            return self._every
        if not 0 < more <= _SKIPPED_MOST:
            return 1
        self._every = more
        return more


class _Wakes:
    """Waits for writes to a file."""

    def __init__(self, path: Path) -> None:
        self._file = _libc.inotify_init1(_IN_CLOEXEC)
        if (
            self._file >= 0
            and _libc.inotify_add_watch(self._file, os.fsencode(path), _IN_MODIFY) < 0
        ):
            self.close()
        # a user may have used up the kernel's watches
        self.look_s = 0.0 if self._file >= 0 else _LOOK_S
        self._poll = select.poll()
        if self._file >= 0:
            self._poll.register(self._file, select.POLLIN)

    def wait(self) -> bool:
        """Return once the file was written to, or after a while; False where the kernel told of nothing."""
        if self._file < 0:
            time.sleep(_LOOK_S)
        elif not self._poll.poll(_WAIT_S * 1e3):
            return False
        else:
            os.read(self._file, 4096)
        return True

    def doubt(self) -> bool:
        """Look every 2 ms from now on where a write of which the kernel had not told was not just missed."""
        if not self._poll.poll(0):
            self.close()
            self.look_s = _LOOK_S
        return True

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def with_output(
    attempt: Path, setting: Setting, quantities: Mapping[str, Reading], notes: Iterable[Note]
) -> tuple[dict[str, Reading], tuple[Note, ...]]:
    """Return a trial's quantities and warnings with what its output says of them.

    Step times that were not seen one by one keep their median and lose their spread; a pattern that found
    nothing is named. Unchanged where no pattern was followed.
    """
    found, warnings = dict(quantities), list(notes)
    try:
        seen = msgspec.json.decode((attempt / SEEN).read_bytes(), type=Seen)
    except FileNotFoundError:
        return found, tuple(warnings)
    # one output speaks for all devices
    warnings = [n for n in warnings if n.name != "ranks_missing"]
    if seen.found < 2:
        warnings.append(_too_few(seen, setting))
    step = found.get("step_time_s")
    if step is None or step.value is None:
        return found, tuple(warnings)
    share = (seen.shared + seen.skipped) / (seen.found + seen.skipped)
    if share > _SHARED_MOST or step.value < _FINEST * seen.look_s:
        found["step_time_s"] = msgspec.structs.replace(
            step, low=None, high=None, how="median of steps smoothed over lines read together"
        )
        how = (
            f"{share:.0%} of the steps have no line or arrived with another"
            if share > _SHARED_MOST
            else "steps pass between looks"
        )
        text = f"{how}: single step times are unknown, only their mean; print each step's line at once, or use measure"
        warnings = [n for n in warnings if n.name != "unstable_steps"] + [
            Note("steps_smoothed", text)
        ]
    return found, tuple(warnings)


def _too_few(seen: Seen, setting: Setting) -> Note:
    if seen.found:
        return Note(
            "few_steps",
            "step_pattern found one line only; a step lasts from one such line to the next",
        )
    last = " | ".join(seen.last)
    printed = (
        f"{counted(seen.lines, 'line')} of output; the last: {last}"
        if seen.lines
        else "the output, which is empty"
    )
    return Note(
        "pattern_never_matched", f"step_pattern {setting.step_pattern!r} finds no step in {printed}"
    )


def _step_number(groups: Mapping[str, bytes | None]) -> int | None:
    value = _number(groups.get("step"))
    return int(value) if value is not None and 0 <= value <= _HIGHEST else None


def _number(text: bytes | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

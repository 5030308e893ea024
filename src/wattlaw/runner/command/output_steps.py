"""Finds the steps of a user's command in its output, as the lines arrive."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from wattlaw.core.errors import TrialError
from wattlaw.core.files import why, write_whole
from wattlaw.core.reading import Note, Reading
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.measuring.files.rank_files import StepLog

OUTPUT_STEPS = "output-steps.json"

_LOOK_S = 0.002
_WAIT_S = 0.05
_MAX_SHARED = 0.05
"""Individual step times are unknown if more than this share of the steps have no own time."""
_FINEST = 20
"""Individual step times are unknown if a step lasts less than this many reads."""
_MAX_SKIPPED = 1000
_LAST_LINES = 3
_HIGHEST = 2.0**53
_IN_MODIFY = 2
_IN_CLOEXEC = 0o2000000
_libc = ctypes.CDLL(None, use_errno=True)


class LinesSeen(msgspec.Struct):
    """output-steps.json: how the lines of a command's output were seen.

    lines    of the output, of which the pattern matched ``found``
    shared   matches that were read together with an earlier one and have no time of their own
    skipped  steps without a line
    look_s   time between two reads; 0 if the kernel reports each write
    last     lines of the output
    """

    lines: int = 0
    found: int = 0
    shared: int = 0
    skipped: int = 0
    look_s: float = 0.0
    last: list[str] = []


class OutputSteps:
    """Follows a growing output file in a thread and records a step for every line that matches.

    The groups ``step``, ``samples`` and ``loss`` of the pattern are used if it has them. A step
    lasts from the matching line before it to its own line, so the first one only starts the clock.
    If the number of the step grew by more than one, the steps in between share the time. The thread
    waits until the kernel reports a write (inotify), or reads every 2 ms if it does not. ``check``
    and leaving the context raise TrialError if the output could not be followed.
    """

    def __init__(self, output: Path, pattern: str, setting: Setting, log: StepLog) -> None:
        self._output, self._log, self._setting = output, log, setting
        self._pattern = re.compile(pattern.encode())
        self._rest = b""
        self._arrived_s = 0.0
        self._last_s: float | None = None
        self._steps, self._number, self._printed, self._every = 0, -1, -1, 1
        self._last: deque[bytes] = deque(maxlen=_LAST_LINES)
        self.seen = LinesSeen()
        self.position = 0
        self._fault: Exception | None = None
        self._opened, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="wattlaw-output", daemon=True)

    def __enter__(self) -> OutputSteps:
        self._thread.start()
        # from here on the file stays open, whatever the command does to its name
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
        write_whole(self._output.with_name(OUTPUT_STEPS), msgspec.json.encode(self.seen))
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise TrialError if the output can no longer be followed."""
        if self._fault is None:
            return
        reason = repr(self._fault)
        if isinstance(self._fault, OSError):
            reason = why(self._fault, self._output, "read")
        raise TrialError(f"the steps in the command's output cannot be followed: {reason}")

    def _follow(self) -> None:
        try:
            with (
                open(self._output, "rb", buffering=0) as file,
                contextlib.closing(_Wakes(self._output)) as wakes,
            ):
                self._opened.set()
                was_reported = True
                while True:
                    is_last = self._ended.is_set()
                    if new := file.read(1 << 20):
                        self._take(new, time.monotonic())
                        self.position += len(new)
                        was_reported = was_reported or wakes.doubt()
                    elif is_last:
                        break
                    else:
                        was_reported = wakes.wait()
                self.seen.look_s = wakes.look_s
            if self._rest:
                self._take_lines([self._rest], self._arrived_s)
        except Exception as error:  # the thread ends here; check raises it as the trial's failure
            self._fault = error
            self._opened.set()

    def _take(self, new: bytes, now: float) -> None:
        self._arrived_s = now
        *lines, self._rest = (self._rest + new).replace(b"\r", b"\n").split(b"\n")
        self._take_lines(lines, now)

    def _take_lines(self, lines: Sequence[bytes], now: float) -> None:
        self.seen.lines += len(lines)
        self._last.extend(line for line in lines if line.strip())
        matches = [match for match in map(self._pattern.search, lines) if match]
        self.seen.found += len(matches)
        self.seen.shared += max(0, len(matches) - (now != self._last_s))
        # lines that were read together share the time evenly: they cannot be separated
        start = self._last_s
        for index, match in enumerate(matches, 1):
            if start is None:
                self._last_s = start = now
                printed = _step_number(match.groupdict())
                self._number = self._printed = -1 if printed is None else printed
                continue
            end = start + (now - start) * index / len(matches)
            self._add(match.groupdict(), self._last_s or start, end)
            self._last_s = end

    def _add(self, groups: Mapping[str, bytes | None], start: float, end: float) -> None:
        passed = self._steps_passed(_step_number(groups))
        self._number += passed
        self.seen.skipped += passed - 1
        samples, loss = self._samples(groups, passed), _number(groups.get("loss"))
        for index in range(passed):
            is_warmup = self._steps < self._setting.warmup_steps
            step_start = start + (end - start) * index / passed
            step_end = start + (end - start) * (index + 1) / passed
            number, is_last = self._number - passed + 1 + index, index == passed - 1
            self._log.append(
                number, is_warmup, step_start, step_end, samples, loss if is_last else None
            )
            self._steps += 1

    def _samples(self, groups: Mapping[str, bytes | None], passed: int) -> float | None:
        """Return the samples of each step: as printed, else of the setting; None if unknown."""
        printed, batch = _number(groups.get("samples")), self._setting.batch_per_device
        if printed is not None and 0 < printed <= _HIGHEST:
            return printed / passed
        return batch * self._setting.devices if batch else None

    def _steps_passed(self, printed: int | None) -> int:
        """Return the steps since the line before, by their numbers, which may restart or jump."""
        before = self._printed
        self._printed = before + 1 if printed is None else printed
        more = self._printed - before
        if more < 0:
            return self._every
        if not 0 < more <= _MAX_SKIPPED:
            return 1
        self._every = more
        return more


class _Wakes:
    """Waits for writes to a file."""

    def __init__(self, path: Path) -> None:
        self._file = _libc.inotify_init1(_IN_CLOEXEC)
        if self._file >= 0:
            watch = _libc.inotify_add_watch(self._file, os.fsencode(path), _IN_MODIFY)
            if watch < 0:  # a user may have used up the kernel's watches
                self.close()
        self.look_s = 0.0 if self._file >= 0 else _LOOK_S
        self._poll = select.poll()
        if self._file >= 0:
            self._poll.register(self._file, select.POLLIN)

    def wait(self) -> bool:
        """Return after a write, or after a while; False if the kernel reported none."""
        if self._file < 0:
            time.sleep(_LOOK_S)
        elif not self._poll.poll(_WAIT_S * 1e3):
            return False
        else:
            os.read(self._file, 4096)
        return True

    def doubt(self) -> bool:
        """Look every 2 ms from now on, if the kernel still does not report the write just found."""
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
    """Return a trial's quantities and warnings, corrected by how its output was seen.

    If step times were not seen one by one, their median is kept and their spread is dropped; a
    pattern that matched nothing is a warning. Unchanged if no pattern was followed.
    """
    found, warnings = dict(quantities), list(notes)
    try:
        seen = msgspec.json.decode((attempt / OUTPUT_STEPS).read_bytes(), type=LinesSeen)
    except FileNotFoundError:
        return found, tuple(warnings)
    # one output speaks for all devices
    warnings = [note for note in warnings if note.name != "ranks_missing"]
    if seen.found < 2:
        warnings.append(_too_few(seen, setting))
    step = found.get("step_time_s")
    reason = _why_smoothed(seen, step)
    if step is not None and reason:
        how = "median of steps smoothed over lines read together"
        found["step_time_s"] = msgspec.structs.replace(step, low=None, high=None, how=how)
        warnings = [note for note in warnings if note.name != "unstable_steps"]
        text = (
            f"{reason}: individual step times are unknown, only their mean; print the line of each "
            "step immediately, or use wattlaw.measure"
        )
        warnings.append(Note("steps_smoothed", text))
    return found, tuple(warnings)


def _why_smoothed(seen: LinesSeen, step: Reading | None) -> str:
    """Return why individual step times are unknown; "" if they are known or there are none."""
    if step is None or step.value is None:
        return ""
    share = (seen.shared + seen.skipped) / (seen.found + seen.skipped)
    if share > _MAX_SHARED:
        return f"{share:.0%} of the steps have no line or arrived with another"
    if step.value < _FINEST * seen.look_s:
        return "several steps pass between two reads"
    return ""


def _too_few(seen: LinesSeen, setting: Setting) -> Note:
    if seen.found:
        return Note(
            "few_steps",
            "step_pattern matched one line only; a step lasts from one such line to the next",
        )
    printed = "the output, which is empty"
    if seen.lines:
        last = " | ".join(seen.last)
        printed = f"{counted(seen.lines, 'line')} of output; the last: {last}"
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

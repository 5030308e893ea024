"""A user's own command as a workload: placeholders filled in, steps found in its output."""

from __future__ import annotations

import re
import shlex
import string
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.setting import FIELDS, Setting
from wattlaw.measuring.steps import StepLog

APPLIED = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz", "device_type")
"""Fields that wattlaw carries out itself, whether the command names them or not."""


def words_of(setting: Setting, out: str) -> list[str]:
    """Return the words of a setting's command, placeholders filled in; no shell ever reads them.

    ``{out}`` is the attempt's folder. Raises SettingError or UnknownNameError for a bad template.
    """
    values = placeholders(setting, out)
    try:
        words = shlex.split(setting.command or "")
    except ValueError as error:
        raise SettingError(f"command {setting.command!r}: {error}") from None
    if not words:
        raise SettingError('command is empty; give the words to run, such as command = "python train.py"')
    filled = [_fill(word, values) for word in words]
    # "python" is the interpreter that runs wattlaw: on many machines only python3 is on the PATH
    return [sys.executable if filled[0] == "python" else filled[0], *filled[1:]]


def placeholders(setting: Setting, out: str) -> dict[str, Any]:
    """Return what a command may name in braces."""
    fields = {n: getattr(setting, n) for n in FIELDS if n not in ("options", "command", "step_pattern", "stop")}
    steps = setting.stop.steps
    return {**fields, "devices": setting.devices, "steps": steps, "out": out, **setting.options}


def used_names(command: str) -> set[str]:
    """Return the names that a command's braces use."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(command) if name}
    except ValueError as error:
        raise SettingError(f"command {command!r}: {error}; a brace itself is written {{{{ or }}}}") from None


def check_swept(command: str, names: list[str]) -> None:
    """Raise SettingError where a swept name would not change what the command does."""
    used = used_names(command)
    aliases = {"devices_per_node": "devices", "devices": "devices_per_node"}
    for name in names:
        if name not in used and name not in APPLIED and aliases.get(name) not in used:
            raise SettingError(f"over.{name} changes nothing: the command does not name {{{name}}}")


def check_pattern(pattern: str | None) -> None:
    """Raise SettingError where a step pattern is no regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise SettingError(f"step_pattern {pattern!r} is no regular expression: {error}") from None


class OutputSteps:
    """Follows a growing output file and records a step for every line that the pattern finds.

    The groups ``step``, ``samples`` and ``loss`` of the pattern are used where it has them. A step lasts from
    the line before it to its own line, so the first line only starts the clock.
    """

    def __init__(self, output: Path, pattern: str, setting: Setting, log: StepLog) -> None:
        self._output, self._log, self._setting = output, log, setting
        self._pattern = re.compile(pattern.encode())
        self._rest = b""
        self._position = 0
        self._last_s: float | None = None
        self._steps = 0

    def follow(self) -> None:
        """Read what the command has printed since the last call."""
        now = time.monotonic()
        with open(self._output, "rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        *lines, self._rest = (self._rest + new).replace(b"\r", b"\n").split(b"\n")
        found = [m for line in lines if (m := self._pattern.search(line))]
        # several lines of one look share its time evenly: they cannot be told apart
        start = self._last_s
        for index, match in enumerate(found, 1):
            if start is None:
                self._last_s = start = now
                continue
            end = start + (now - start) * index / len(found)
            self._add(match.groupdict(), self._last_s or start, end)
            self._last_s = end

    def _add(self, groups: Mapping[str, bytes | None], start: float, end: float) -> None:
        warmup = self._steps < self._setting.warmup_steps
        samples = _number(groups.get("samples")) or (self._setting.batch_per_device or 1) * self._setting.devices
        step = _number(groups.get("step"))
        number = self._steps if step is None else int(step)
        self._log.append(number, warmup, start, end, samples, _number(groups.get("loss")))
        self._steps += 1


def _fill(word: str, values: Mapping[str, Any]) -> str:
    for name in used_names(word):
        if name not in values:
            raise UnknownNameError("placeholder", name, values)
        if values[name] is None:
            raise SettingError(f"the command names {{{name}}}, but {name} is not set; set it in [setting] or [over]")
    return word.format_map(values)


def _number(text: bytes | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

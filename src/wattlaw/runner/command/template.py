"""A user's own command as a workload: its placeholders filled in, its options and step pattern checked."""

from __future__ import annotations

import re
import shlex
import string
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from wattlaw.core.errors import SettingError, UnknownNameError, nearest
from wattlaw.core.setting import FIELDS, Setting

APPLIED = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz", "device_type", "threads")
"""Names that wattlaw carries out itself, whether the command names them or not."""

GROUPS = ("step", "samples", "loss")
"""Named groups of a step pattern."""

_PLAIN = re.compile(r"[^\W\d][\w-]*")
_OURS = ("preset", "precision", "steps")


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
        raise SettingError(
            'command is empty; give the words to run, such as command = "python train.py"'
        )
    filled = [_fill(word, values) for word in words]
    # "python" is the interpreter that runs wattlaw: on many machines only python3 is on the PATH
    return [sys.executable if filled[0] == "python" else filled[0], *filled[1:]]


def placeholders(setting: Setting, out: str) -> dict[str, Any]:
    """Return what a command may name in braces."""
    fields = {
        n: getattr(setting, n)
        for n in FIELDS
        if n not in ("options", "command", "step_pattern", "stop")
    }
    steps = setting.stop.steps
    return {**fields, "devices": setting.devices, "steps": steps, "out": out, **setting.options}


def used_names(command: str) -> set[str]:
    """Return the names that a command's braces use. Raises SettingError for anything but a plain name in them."""
    try:
        parts = list(string.Formatter().parse(command))
    except ValueError as error:
        raise SettingError(
            f"command {command!r}: {error}; a brace itself is written {{{{ or }}}}"
        ) from None
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion or not _PLAIN.fullmatch(name)):
            raise SettingError(
                f"command {command!r}: braces hold a plain name, such as {{batch_per_device}}; "
                "a brace itself is written {{ or }}"
            )
    return {name for _, name, _, _ in parts if name}


def check_options(setting: Setting) -> None:
    """Raise UnknownNameError for an option that does nothing: none that the command names, nor one of wattlaw's."""
    used = used_names(setting.command or "")
    for name in setting.options:
        if name not in used and name not in APPLIED:
            near = nearest(name, [*_fields(), *APPLIED, *used])
            raise SettingError(
                f"{name} changes nothing: the command does not name {{{name}}}; {near}"
            )


def check_swept(commands: Iterable[str], names: Iterable[str]) -> None:
    """Raise SettingError where a swept name would not change what the commands do."""
    used = set().union(*(used_names(command) for command in commands))
    aliases = {"devices_per_node": "devices", "devices": "devices_per_node", "nodes": "devices"}
    whole = ("command", "options")
    for name in names:
        if name not in used and name not in (*APPLIED, *whole) and aliases.get(name) not in used:
            near = (
                nearest(name, [*_fields(), *APPLIED, *used])
                if name not in FIELDS
                else "name it there"
            )
            raise SettingError(
                f"over.{name} changes nothing: the command does not name {{{name}}}; {near}"
            )


def check_given(command: str, given: Iterable[str]) -> None:
    """Raise SettingError where a command names a value that nobody gave: wattlaw's default is not the command's."""
    # steps are given as a part of stop
    known = {"steps" if name == "stop" else name for name in given}
    for name in _OURS:
        if name in used_names(command) and name not in known:
            how = "stop = { steps = 100 }" if name == "steps" else f"{name} in [setting] or [over]"
            raise SettingError(f"the command names {{{name}}}, but {name} is not given; give {how}")


def check_pattern(pattern: str | None) -> None:
    """Raise SettingError where a step pattern is no regular expression, UnknownNameError for an unknown group."""
    try:
        groups = re.compile((pattern or "").encode()).groupindex
    except (re.error, ValueError, OverflowError) as error:
        raise SettingError(f"step_pattern {pattern!r} is no regular expression: {error}") from None
    for name in groups:
        if name not in GROUPS:
            raise UnknownNameError("group of step_pattern", name, GROUPS)


def _fields() -> list[str]:
    return [*(f for f in FIELDS if f != "options"), "devices"]


def _fill(word: str, values: Mapping[str, Any]) -> str:
    for name in used_names(word):
        if name not in values:
            raise UnknownNameError("placeholder", name, values)
        if values[name] is None:
            raise SettingError(
                f"the command names {{{name}}}, but {name} is not set; set it in [setting] or [over]"
            )
    return word.format_map(values)

"""A user's own command as a workload: its placeholders, options and step pattern."""

from __future__ import annotations

import re
import shlex
import string
import sys
from collections.abc import Iterable, Mapping

from wattlaw.core.errors import SettingError, UnknownNameError, nearest
from wattlaw.core.setting import FIELDS, Setting

APPLIED = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz", "device_type", "threads")
"""Names that wattlaw applies itself, whether or not the command contains them."""

GROUPS = ("step", "samples", "loss")
"""Named groups of a step pattern."""

_PLAIN = re.compile(r"[^\W\d][\w-]*")
_NEVER_ASSUMED = ("preset", "precision", "steps")
"""Names whose defaults are not a command's: one that contains them needs a value."""


def words_of(setting: Setting, out: str) -> list[str]:
    """Return the words of a setting's command with its placeholders filled; no shell reads them.

    ``{out}`` is the attempt folder. Raises SettingError or UnknownNameError for a wrong template.
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
    program, *arguments = (_fill(word, values) for word in words)
    # many machines have only python3 on the PATH
    return [sys.executable if program == "python" else program, *arguments]


def placeholders(setting: Setting, out: str) -> dict[str, object]:
    """Return the values that a command may contain in braces."""
    left_out = ("options", "command", "step_pattern", "stop")
    fields = {name: getattr(setting, name) for name in FIELDS if name not in left_out}
    steps = setting.stop.steps
    return {**fields, "devices": setting.devices, "steps": steps, "out": out, **setting.options}


def used_names(command: str) -> set[str]:
    """Return the names in a command's braces. Raises SettingError for anything else in them."""
    try:
        parts = list(string.Formatter().parse(command))
    except ValueError as error:
        raise SettingError(
            f"command {command!r}: {error}; a brace itself is written {{{{ or }}}}"
        ) from None
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion or not _PLAIN.fullmatch(name)):
            raise SettingError(
                f"command {command!r}: braces contain a plain name, such as {{batch_per_device}}; "
                "a brace itself is written {{ or }}"
            )
    return {name for _, name, _, _ in parts if name}


def check_options(setting: Setting) -> None:
    """Raise SettingError for an option without effect: neither the command nor wattlaw uses it."""
    used = used_names(setting.command or "")
    for name in setting.options:
        if name not in used and name not in APPLIED:
            near = nearest(name, [*_field_names(), *APPLIED, *used])
            raise SettingError(
                f"{name} changes nothing: the command does not contain {{{name}}}; {near}"
            )


def check_swept(commands: Iterable[str], names: Iterable[str]) -> None:
    """Raise SettingError if a swept name would not change what the commands do."""
    used = set().union(*(used_names(command) for command in commands))
    aliases = {"devices_per_node": "devices", "devices": "devices_per_node", "nodes": "devices"}
    effective = {*used, *APPLIED, "command", "options"}
    for name in names:
        if name in effective or aliases.get(name) in used:
            continue
        advice = "write it there"
        if name not in FIELDS:
            advice = nearest(name, [*_field_names(), *APPLIED, *used])
        raise SettingError(
            f"over.{name} changes nothing: the command does not contain {{{name}}}; {advice}"
        )


def check_given(command: str, given: Iterable[str]) -> None:
    """Raise SettingError if a command contains a value that is not set and has no default."""
    # steps are set as a part of stop
    known = {"steps" if name == "stop" else name for name in given}
    for name in _NEVER_ASSUMED:
        if name in used_names(command) and name not in known:
            how = f"{name} in [setting] or [over]"
            if name == "steps":
                how = "stop = { steps = 100 }"
            raise SettingError(
                f"the command contains {{{name}}}, but {name} is not set; give {how}"
            )


def check_pattern(pattern: str | None) -> None:
    """Raise SettingError for a wrong regular expression, UnknownNameError for an unknown group."""
    try:
        groups = re.compile((pattern or "").encode()).groupindex
    except (re.error, ValueError, OverflowError) as error:
        raise SettingError(
            f"step_pattern {pattern!r} is not a valid regular expression: {error}"
        ) from None
    for name in groups:
        if name not in GROUPS:
            raise UnknownNameError("group of step_pattern", name, GROUPS)


def _field_names() -> list[str]:
    return [*(name for name in FIELDS if name != "options"), "devices"]


def _fill(word: str, values: Mapping[str, object]) -> str:
    for name in used_names(word):
        if name not in values:
            raise UnknownNameError("placeholder", name, values)
        if values[name] is None:
            raise SettingError(
                f"the command contains {{{name}}}, but {name} is not set; set it in [setting] or "
                "[over]"
            )
    return word.format_map(values)

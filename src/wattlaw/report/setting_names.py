"""Names of settings: "2 GPUs, batch 32, 200 W cap"; short ones leave out what all share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from wattlaw.core.factors import Factor
from wattlaw.core.run import Run
from wattlaw.core.units import counted

DEVICE_WORDS = {"cpu": ("process", "processes"), "cuda": ("GPU", "GPUs"), "gpu": ("GPU", "GPUs")}

UNSET = {
    "power_cap_w": "no cap set",
    "sm_clock_mhz": "SM clock not set",
    "memory_clock_mhz": "memory clock not set",
}

_LAYOUT = {"workload", "preset", "devices", "nodes", "devices_per_node", "batch_per_device"}
_FORMS = {
    "precision": "{}",
    "device_type": "{}",
    "device_name": "{}",
    "backend": "{}",
    "power_cap_w": "{} W cap",
    "sm_clock_mhz": "SM {} MHz",
    "memory_clock_mhz": "memory {} MHz",
    "batch_per_device": "batch {}",
}
_LONGEST_COMMAND = 60

Named = tuple[Mapping[str, Factor], Run]
"""A setting: its factors, and one of its runs."""


def name_settings(settings: Sequence[Named]) -> list[tuple[str, str]]:
    """Return for each setting of a workload its full and its short name.

    The short name has only what differs between the settings. Equal names get a number, such as
    those of long commands that were cut, so that no figure joins two settings.
    """
    devices, layouts, batches, commands = set(), set(), set(), set()
    for one, _ in settings:
        devices.add(one["devices"])
        layouts.add((one["devices"], one["nodes"]))
        batches.add(one["batch_per_device"])
        commands.add(one.get("command"))
    varied = _varied([one for one, _ in settings])
    start = shared_start(commands)
    names = []
    for one, run in settings:
        words = {"devices": _device_text(one, run)}
        if len(layouts) > len(devices):
            words["nodes"] = counted(int(one["nodes"] or 1), "node")
        words["batch"] = factor_words("batch_per_device", one["batch_per_device"])
        for name in varied:
            words[name] = factor_words(name, one.get(name), start) or unset_words(one, run, name)
        full = joined(words.values())
        if len(devices) == 1:
            del words["devices"]
        if len(batches) == 1:
            del words["batch"]
        short = joined(words.values())
        names.append((full, short or full))
    return _numbered(names)


def device_type_of(run: Run) -> str:
    """Return the type of the devices that trained, as recorded or as requested."""
    return run.machine.device_type or run.setting.device_type


def factor_words(name: str, value: Factor, shared: str = "") -> str:
    """Return a factor as text: "200 W cap", "bf16", "compile: yes"; "" if it has no value.

    The groups of fits and advice give numbers as text: "200". ``shared`` is the start that long
    commands have in common, which is left out.
    """
    if value is None or value == "":
        return ""
    if name == "command":
        return _command_words(str(value), shared)
    if isinstance(value, bool):
        return f"{name}: {'yes' if value else 'no'}"
    word = f"{value:g}" if isinstance(value, float) else str(value)
    return _FORMS[name].format(word) if name in _FORMS else f"{name} {word}"


def shared_start(commands: Iterable[Factor]) -> str:
    """Return the whole words with which all commands start, without the name of a last option.

    It is "" for fewer than two commands.
    """
    distinct = {str(command) for command in commands}
    if len(distinct) < 2:
        return ""
    words = []
    for same in zip(*(command.split(" ") for command in distinct), strict=False):
        if len(set(same)) > 1:
            break
        words.append(same[0])
    if words and words[-1].startswith("-"):
        words.pop()
    return "".join(f"{word} " for word in words)


def unset_words(factors: Mapping[str, Factor], run: Run, name: str) -> str:
    """Return the name of a limit that was not set: "no cap set"; "" for other people's records."""
    if factors.get(name) is not None or run.source != "wattlaw":
        return ""
    return UNSET.get(name, "")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "batch 8" before "batch 16"."""
    key = []
    for part in re.split(r"([0-9]+)", name):
        key.append((int(part), "") if part.isdecimal() else (0, part))
    return key


def _command_words(command: str, shared: str) -> str:
    if len(command) <= _LONGEST_COMMAND:
        return command
    words = f"… {command[len(shared) :]}" if shared and command.startswith(shared) else command
    return words if len(words) <= _LONGEST_COMMAND else f"{words[: _LONGEST_COMMAND - 1]}…"


def _varied(settings: Sequence[Mapping[str, Factor]]) -> list[str]:
    found = []
    for name in dict.fromkeys(name for one in settings for name in one):
        values = {one.get(name) for one in settings}
        if name not in _LAYOUT and len(values) > 1:
            found.append(name)
    return found


def joined(words: Iterable[str]) -> str:
    """Return words with commas between them, without empty ones."""
    return ", ".join(word for word in words if word)


def _device_text(factors: Mapping[str, Factor], run: Run) -> str:
    words = DEVICE_WORDS.get(device_type_of(run), ("device", "devices"))
    return counted(int(factors["devices"] or 1), *words)


def _numbered(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    seen: Counter[str] = Counter()
    found = []
    for full, short in names:
        seen[full] += 1
        ending = f" ({seen[full]})" if seen[full] > 1 else ""
        found.append((full + ending, short + ending))
    return found

"""The factors that may distinguish one run from another, and those that are only noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Stop

Factor = str | float | int | bool | None

CHANCE = frozenset({"seed", "stop", "warmup_steps", "step_pattern"})
"""Fields of a setting that change no rate: runs that differ only in these are repeats."""

ASSUMED = {"preset": "base", "precision": "fp32", "backend": "auto"}
"""Fields that a user's own code may lack; their defaults would be a claim about it."""

_STATING_SOURCES = frozenset({"wattlaw", "csv"})
"""Sources whose records state preset and precision; of a CSV table the user names the columns."""

_NO_STOP = Stop()

_NAMES = tuple(name for name in FIELDS if name not in CHANCE and name != "options")
_values = attrgetter(*_NAMES)
_values_of_setting = attrgetter(*(name for name in _NAMES if name != "device_type"))


def factors(run: Run) -> dict[str, Factor]:
    """Return all factors of a run: fields of its setting, options, labels, machine.

    What is not known of a user's command or block of code, such as its precision, is None unless
    stated.
    """
    setting = run.setting
    found: dict[str, Factor] = dict(zip(_NAMES, _values(setting), strict=True))
    found |= {name: stated_value(run, name) for name in ASSUMED}
    found["devices"] = setting.devices
    found["device_type"] = run.machine.device_type or setting.device_type
    found["device_name"] = run.machine.device_name
    found.update(run.labels)
    found.update(setting.options)
    return found


def stated_value(run: Run, name: str) -> str | None:
    """Return a run's preset, precision or back-end; None for an unstated default."""
    setting = run.setting
    value: str = getattr(setting, name)
    if value != ASSUMED[name] or name in run.labels:
        return run.labels.get(name, value)
    # a trial of wattlaw has a stop; a block of a user's code ends where it ends
    is_users_code = setting.command is not None or (
        run.source == "wattlaw" and setting.stop == _NO_STOP
    )
    if not is_users_code and run.source in _STATING_SOURCES:
        return value
    # a command that names a field was started with it; other records state only what is in them
    return value if f"{{{name}}}" in (setting.command or "") else None


def repeats(runs: Iterable[Run]) -> list[list[Run]]:
    """Return the runs in groups with equal factors, in the order of each group's first run."""
    # equivalent to comparing the dicts of all factors, in a tenth of the time
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        setting, machine = run.setting, run.machine
        key = (
            *_values_of_setting(setting),
            machine.device_type or setting.device_type,
            machine.device_name,
            *_sorted_items(setting.options),
            *_sorted_items(run.labels),
        )
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _sorted_items(values: Mapping[str, Factor]) -> list[tuple[str, Factor]]:
    return sorted(values.items()) if values else []


NO_CAP = "no cap"

_ABSENT = {
    "power_cap_w": NO_CAP,
    "sm_clock_mhz": "no limit",
    "memory_clock_mhz": "no limit",
    "device_name": "unknown",
}
"""How a group without a value of a factor is labelled; "not set" for all other factors."""


def factor_label(name: str, value: Factor) -> str:
    """Return the value of a factor as the key of a group has it: "32", "yes", "no cap"."""
    if value is None or value == "":
        return _ABSENT.get(name, "not set")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

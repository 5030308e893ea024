"""What may set one run apart from another, and what is chance."""

from __future__ import annotations

from operator import attrgetter

from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS

Factor = str | float | int | bool | None

CHANCE = frozenset({"seed", "stop", "warmup_steps", "step_pattern"})
"""Fields of a setting that change no rate: runs that differ only in these are repeats."""

_NAMES = tuple(n for n in FIELDS if n not in CHANCE and n != "options")
_values = attrgetter(*_NAMES)


def factors(run: Run) -> dict[str, Factor]:
    """Return all that may set a run apart from another: fields of its setting, options, labels, machine."""
    setting = run.setting
    found: dict[str, Factor] = dict(zip(_NAMES, _values(setting), strict=True))
    found["devices"] = setting.devices
    found["device_type"] = run.machine.device_type or setting.device_type
    found["device_name"] = run.machine.device_name
    found.update(run.labels)
    found.update(setting.options)
    return found


def repeats(runs: list[Run]) -> list[list[Run]]:
    """Return the runs in groups that share every factor, in the order of each group's first run."""
    alike: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        # equal in these is equal in all factors; the reverse is settled below, once a group and not once a run
        options, labels = run.setting.options, run.labels
        key = (*_values(run.setting), run.machine.device_type, run.machine.device_name)
        alike.setdefault((*key, *options.items(), *labels.items()), []).append(run)
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for members in alike.values():
        told = tuple(sorted((name, repr(value)) for name, value in factors(members[0]).items()))
        groups.setdefault(told, []).extend(members)
    return list(groups.values())

"""What may set one run apart from another, and what is chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Stop

Factor = str | float | int | bool | None

CHANCE = frozenset({"seed", "stop", "warmup_steps", "step_pattern"})
"""Fields of a setting that change no rate: runs that differ only in these are repeats."""

UNTOLD = {"preset": "base", "precision": "fp32", "backend": "auto"}
"""Fields that a user's own code need not have, and the defaults that would claim something of it."""

_TELL_ALL = frozenset({"wattlaw", "csv"})
"""Sources whose records say preset and precision: of a table the user says which columns they are."""

_ENDS_BY_ITSELF = Stop()

_NAMES = tuple(n for n in FIELDS if n not in CHANCE and n != "options")
_values = attrgetter(*_NAMES)
_told = attrgetter(*(n for n in _NAMES if n != "device_type"))


def factors(run: Run) -> dict[str, Factor]:
    """Return all that may set a run apart from another: fields of its setting, options, labels, machine.

    What wattlaw does not know of a user's command or block of code, such as its precision, is None unless it was given.
    """
    setting = run.setting
    found: dict[str, Factor] = dict(zip(_NAMES, _values(setting), strict=True))
    found |= {n: told(run, n) for n in UNTOLD}
    found["devices"] = setting.devices
    found["device_type"] = run.machine.device_type or setting.device_type
    found["device_name"] = run.machine.device_name
    found.update(run.labels)
    found.update(setting.options)
    return found


def told(run: Run, name: str) -> str | None:
    """Return a run's preset, precision or back-end; None where the setting has its default and nobody gave it."""
    setting = run.setting
    value: str = getattr(setting, name)
    if value != UNTOLD[name] or name in run.labels:
        return run.labels.get(name, value)
    # a trial of wattlaw's own says when to stop; a block of a user's code ends where it ends
    is_own = setting.command is not None or (
        run.source == "wattlaw" and setting.stop == _ENDS_BY_ITSELF
    )
    if not is_own and run.source in _TELL_ALL:
        return value
    # a command that names a field was given it; somebody else's record says only what is in it
    return value if f"{{{name}}}" in (setting.command or "") else None


def repeats(runs: Iterable[Run]) -> list[list[Run]]:
    """Return the runs in groups that share every factor, in the order of each group's first run."""
    # as telling as the dict of all factors, and made in a tenth of the time
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        setting, machine = run.setting, run.machine
        kind = machine.device_type or setting.device_type
        key = (
            *_told(setting),
            kind,
            machine.device_name,
            *_items(setting.options),
            *_items(run.labels),
        )
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _items(values: Mapping[str, Factor]) -> list[tuple[str, Factor]]:
    return sorted(values.items()) if values else []

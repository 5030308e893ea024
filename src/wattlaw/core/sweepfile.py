"""A grid of settings with repeats, as one readable ``sweep.toml``."""

from __future__ import annotations

import itertools
import math
import random
import re
import tomllib
from pathlib import Path

import msgspec

from wattlaw.core.errors import SettingError, UnknownNameError, UsageError
from wattlaw.core.files import explained
from wattlaw.core.setting import PlainValue, PlainValues, Setting, explain, identity, setting_from


class Sweep(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """A sweep as its file gives it.

    name          names the folder of its runs
    repeats       how often each setting is carried out, in fresh processes
    order_seed    of the random order in which trials run
    cooldown_s    pause between trials, s
    time_limit_s  a trial is stopped and recorded as failed after this time, s
    hz            readings per second of every meter
    setting       what all trials share
    over          the grid: each name with its values; every combination is a setting
    """

    name: str
    repeats: int = 3
    order_seed: int = 0
    cooldown_s: float = 0.0
    time_limit_s: float | None = None
    hz: float = 10.0
    setting: PlainValues = {}
    over: dict[str, list[PlainValue]] = {}


class Trial(msgspec.Struct, frozen=True, gc=False):
    """One setting and a repeat number."""

    setting: Setting
    repeat: int
    version: int = 1

    @property
    def id(self) -> str:
        """Name of the trial's folder, such as ``schnet-4f0c9a17be21-r0``."""
        return (
            f"{_word(self.setting.workload)}-{identity(self.setting, self.version)}-r{self.repeat}"
        )


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file. Raises UsageError naming the file and what is wrong in it."""
    with explained(path, "read"):
        data = path.read_bytes()
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        return sweep_from(values, default_name=path.stem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def sweep_from(values: PlainValues, default_name: str = "sweep") -> Sweep:
    """Build a sweep from plain values. Raises SettingError or UnknownNameError."""
    for name in values:
        if name not in Sweep.__struct_fields__:
            raise UnknownNameError("key", name, Sweep.__struct_fields__)
    values = {"name": default_name, "over": {}, **values}
    if isinstance(values["over"], dict):
        over = {}
        for name, value in values["over"].items():
            over[name] = value if isinstance(value, list) else [value]
        values["over"] = over
    try:
        sweep = msgspec.convert(values, Sweep)
    except msgspec.ValidationError as error:
        raise SettingError(explain(str(error))) from None
    _check(sweep)
    return sweep


def settings(sweep: Sweep) -> list[Setting]:
    """Return every setting of the grid, in the file's order, each once."""
    names = list(sweep.over)
    points = itertools.product(*(sweep.over[n] for n in names))
    found = [setting_from(_merge(sweep.setting, dict(zip(names, p, strict=True)))) for p in points]
    return list({identity(s): s for s in found}.values())


def trials(sweep: Sweep, versions: dict[str, int] | None = None) -> list[Trial]:
    """Return the trials in the order in which they run.

    Each repeat is a block that holds every setting once, in an order of its own (a randomised
    complete block design), so that a slow drift of the machine does not look like an effect of a
    setting. ``versions`` gives each workload's version if it is not 1.
    """
    versions = versions or {}
    grid = settings(sweep)
    order = random.Random(sweep.order_seed)
    found = []
    for repeat in range(sweep.repeats):
        block = [Trial(s, repeat, versions.get(s.workload, 1)) for s in grid]
        order.shuffle(block)
        found += block
    return found


def _merge(shared: PlainValues, point: PlainValues) -> PlainValues:
    merged = {**shared, **point}
    both = [values["options"] for values in (shared, point) if "options" in values]
    if len(both) == 2 and all(isinstance(options, dict) for options in both):
        merged["options"] = {**both[0], **both[1]}
    return merged


def _check(sweep: Sweep) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", sweep.name):
        raise SettingError(f"name is {sweep.name!r}; use letters, digits, '.', '_' and '-'")
    if sweep.repeats < 1:
        raise SettingError(f"repeats is {sweep.repeats}; it must be at least 1")
    if not 0.1 <= sweep.hz <= 100:
        raise SettingError(f"hz is {sweep.hz}; it must be between 0.1 and 100")
    if not 0 <= sweep.cooldown_s < math.inf:
        raise SettingError(f"cooldown_s is {sweep.cooldown_s}; it must be at least 0, in s")
    if sweep.time_limit_s is not None and not 0 < sweep.time_limit_s < math.inf:
        raise SettingError(f"time_limit_s is {sweep.time_limit_s}; it must be positive, in s")
    for name, values in sweep.over.items():
        if not values:
            raise SettingError(f"over.{name} is empty; give at least one value")


def _word(text: str) -> str:
    # every other sign becomes "-", so that a class path makes a good folder name
    return re.sub(r"[^A-Za-z0-9+._-]+", "-", text).strip("-.")[:40] or "trial"

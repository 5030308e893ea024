"""Options that every workload understands because the runner itself carries them out."""

from __future__ import annotations

from wattlaw.core.errors import SettingError
from wattlaw.core.setting import OptionValue, Setting, known_choice

TRAINING: dict[str, OptionValue] = {
    "threads": 0,
    "accumulation": 1,
    "strategy": "ddp",
    "activation_checkpointing": False,
    "compile": False,
    "loader_workers": 0,
    "learning_rate": 0.0,
}
"""Their defaults. ``threads``: CPU threads a process, 0 shares the cores evenly. ``accumulation``: batches
a device whose gradients are added before one step. ``strategy``: how several devices share the work, see
CHOICES. ``activation_checkpointing``: blocks keep their inputs alone and are calculated again when needed. ``loader_workers``: processes that load data for a rank.
``learning_rate``: 0 keeps the one the workload is published with."""

CHOICES: dict[str, tuple[str, ...]] = {"strategy": ("ddp", "fsdp")}
"""``ddp``: the whole model on each device; ``fsdp``: a share of it."""


def training_options(setting: Setting) -> dict[str, OptionValue]:
    """Return the runner's options of a setting, defaults filled in. Raises SettingError or UnknownNameError for wrong values."""
    chosen = {n: setting.options.get(n, default) for n, default in TRAINING.items()}
    for name, value in chosen.items():
        default = TRAINING[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = isinstance(value, bool) if isinstance(default, bool) else whole or isinstance(value, type(default))
        if not fits or (isinstance(value, int | float) and value < 0):
            raise SettingError(f"option {name} is {value!r}; it must be like {default!r}")
    for name, choices in CHOICES.items():
        known_choice(name, str(chosen[name]), choices)
    if chosen["accumulation"] == 0:
        raise SettingError("option accumulation is 0; it must be at least 1")
    return chosen


def workload_options(setting: Setting) -> dict[str, OptionValue]:
    """Return the options that are the workload's own."""
    return {n: v for n, v in setting.options.items() if n not in TRAINING}

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
    "learning_rate_scaling": "none",
    "schedule": "constant",
    "schedule_warmup": 0,
    "schedule_steps": 0,
    "schedule_end": 0.0,
    "schedule_every": 0,
    "schedule_factor": 0.1,
    "schedule_patience": 10,
    "schedule_metric": "",
    "clip_norm": 0.0,
    "evaluate_every": 0,
    "evaluate_at_end": False,
    "evaluate_samples": 0,
    "checkpoint_every": 0,
    "save_model": False,
}
"""Their defaults.

threads                CPU threads a process; 0 shares the cores evenly
accumulation           batches a device whose gradients are added before one step
strategy               how several devices share the work; "ddp": the whole model on each, "fsdp": a share of it
activation_checkpointing  blocks keep their inputs alone and are calculated again when needed
loader_workers         processes that load data for a rank
learning_rate          0 keeps the one the workload is published with
learning_rate_scaling  of that rate with the samples of a step, against the workload's own batch on one device
schedule               of the rate over the steps, warm-up steps included
schedule_warmup        steps in which the rate rises linearly from 0
schedule_steps         steps after which "cosine" and "linear" have come down; 0: all that the stop allows
schedule_end           the share of the rate that they come down to, and below which "plateau" does not fall
schedule_every         steps after which "step" multiplies the rate by schedule_factor
schedule_patience      evaluations without a better metric after which "plateau" multiplies the rate by that factor
schedule_metric        the metric of "plateau", which is to fall; "-NAME" for one that is to rise; "": the first
clip_norm              the largest norm of all gradients together; 0 keeps what the workload is published with
evaluate_every         measured steps between evaluations on the valid part, one more at the end; 0: none
evaluate_at_end        evaluate once, at the end
evaluate_samples       the first samples of the valid part that are evaluated; 0: all
checkpoint_every       measured steps between checkpoints, from which a stopped trial goes on; 0: none
save_model             write the trained model into the attempt's folder
"""

CHOICES: dict[str, tuple[str, ...]] = {
    "strategy": ("ddp", "fsdp"),
    "learning_rate_scaling": ("none", "linear", "sqrt"),
    "schedule": ("constant", "cosine", "linear", "step", "plateau"),
}


def checked(name: str, value: OptionValue, default: OptionValue) -> OptionValue:
    """Return ``value`` as the type of the option's default. Raises SettingError where it does not fit."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, type(default)) and not isinstance(value, bool):
        return value
    raise SettingError(
        f"option {name} is {value!r}; it must be a {type(default).__name__} such as {default!r}"
    )


def training_options(setting: Setting) -> dict[str, OptionValue]:
    """Return the runner's options of a setting, defaults filled in.

    Raises SettingError or UnknownNameError for wrong values.
    """
    chosen = {
        n: checked(n, setting.options.get(n, default), default) for n, default in TRAINING.items()
    }
    for name, value in chosen.items():
        if isinstance(value, int | float) and value < 0:
            raise SettingError(f"option {name} is {value!r}; it must not be negative")
    for name, choices in CHOICES.items():
        known_choice(name, str(chosen[name]), choices)
    if chosen["accumulation"] == 0:
        raise SettingError("option accumulation is 0; it must be at least 1")
    if setting.stop.target and not chosen["evaluate_every"]:
        raise SettingError(
            "a target needs evaluate_every, the steps between two looks at the valid part"
        )
    _check_schedule(setting, chosen)
    return chosen


def _check_schedule(setting: Setting, chosen: dict[str, OptionValue]) -> None:
    kind, stop = chosen["schedule"], setting.stop
    if kind == "step" and not chosen["schedule_every"]:
        raise SettingError(
            "schedule step needs schedule_every, the steps between two falls of the learning rate"
        )
    if kind == "plateau" and not chosen["evaluate_every"]:
        raise SettingError(
            "schedule plateau needs evaluate_every, the steps between two looks at the valid part"
        )
    if kind == "plateau" and not 0 < float(chosen["schedule_factor"]) < 1:
        raise SettingError(
            f"schedule_factor is {chosen['schedule_factor']:g}; plateau needs one between 0 and 1"
        )
    is_ended = stop.steps is not None or stop.epochs is not None
    if kind in ("cosine", "linear") and not chosen["schedule_steps"] and not is_ended:
        raise SettingError(
            f"schedule {kind} needs schedule_steps, or a stop in steps or epochs, to know its end"
        )


def workload_options(setting: Setting) -> dict[str, OptionValue]:
    """Return the options that are the workload's own."""
    return {n: v for n, v in setting.options.items() if n not in TRAINING}

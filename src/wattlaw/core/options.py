"""The options that every workload understands because the runner itself carries them out.

This is the one place that names them: the runner, the advice, the command line and the
documentation read it.
"""

from __future__ import annotations

from typing import NamedTuple

from wattlaw.core.errors import SettingError
from wattlaw.core.setting import OptionValue, Setting, known_choice


class TrainingOption(NamedTuple):
    """One option: its default, which also gives its type, what it does in one line, and its choices
    if it has any.

    ``is_tunable`` says that the option changes the speed or energy of training and not what is
    trained, so that advice may choose between runs that differ in it.
    """

    default: OptionValue
    meaning: str
    choices: tuple[str, ...] = ()
    is_tunable: bool = False


OPTIONS: dict[str, TrainingOption] = {
    "threads": TrainingOption(
        0, "CPU threads per process; 0 shares the cores evenly", is_tunable=True
    ),
    "accumulation": TrainingOption(
        1, "batches per device whose gradients are added before one step", is_tunable=True
    ),
    "strategy": TrainingOption(
        "ddp",
        "how devices share the model: ddp replicates it, fsdp shards it",
        choices=("ddp", "fsdp"),
        is_tunable=True,
    ),
    "activation_checkpointing": TrainingOption(
        False, "keep only the inputs of each block and recompute the rest backward", is_tunable=True
    ),
    "compile": TrainingOption(False, "compile the model with torch.compile", is_tunable=True),
    "loader_workers": TrainingOption(
        0, "processes that load data for each rank; 0 loads in the rank itself", is_tunable=True
    ),
    "learning_rate": TrainingOption(0.0, "learning rate; 0 keeps the workload's published one"),
    "learning_rate_scaling": TrainingOption(
        "none",
        "how the learning rate grows with the global batch",
        choices=("none", "linear", "sqrt"),
    ),
    "schedule": TrainingOption(
        "constant",
        "schedule of the learning rate over all steps, warm-up steps included",
        choices=("constant", "cosine", "linear", "step", "plateau"),
    ),
    "schedule_warmup": TrainingOption(0, "steps in which the learning rate rises from 0"),
    "schedule_steps": TrainingOption(
        0, "steps until cosine and linear reach their end; 0 takes all that the stop allows"
    ),
    "schedule_end": TrainingOption(
        0.0, "final share of the learning rate, and the minimum of plateau"
    ),
    "schedule_every": TrainingOption(
        0, "steps after which step multiplies the learning rate by schedule_factor"
    ),
    "schedule_factor": TrainingOption(0.1, "factor of step and plateau"),
    "schedule_patience": TrainingOption(
        10, "evaluations without improvement before plateau multiplies the learning rate"
    ),
    "schedule_metric": TrainingOption(
        "", "metric that plateau monitors; -NAME if more is better; empty: the first"
    ),
    "clip_norm": TrainingOption(
        0.0, "norm to which the gradients are clipped; 0 keeps the workload's published one"
    ),
    "evaluate_every": TrainingOption(
        0, "measured steps between evaluations on the validation set; 0 never evaluates"
    ),
    "evaluate_at_end": TrainingOption(False, "evaluate once, at the end"),
    "evaluate_samples": TrainingOption(
        0, "samples of the validation set that are evaluated; 0 takes all"
    ),
    "checkpoint_every": TrainingOption(
        0, "measured steps between checkpoints, from which a trial resumes; 0 writes none"
    ),
    "save_model": TrainingOption(False, "write the trained model into the attempt's folder"),
}

TRAINING: dict[str, OptionValue] = {name: option.default for name, option in OPTIONS.items()}
"""The default of every option."""

TUNABLE_FIELDS = (
    "devices",
    "nodes",
    "devices_per_node",
    "batch_per_device",
    "precision",
    "power_cap_w",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "backend",
)
"""Fields of a setting that a user may choose freely while the same thing is trained."""

TUNABLE = (*TUNABLE_FIELDS, *(name for name, option in OPTIONS.items() if option.is_tunable))
"""All that advice may choose; runs that differ in anything else are not compared."""


def checked(name: str, value: OptionValue, default: OptionValue) -> OptionValue:
    """Return ``value`` in the type of the option's default. Raises SettingError otherwise."""
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
    for name, option in OPTIONS.items():
        if option.choices:
            known_choice(name, str(chosen[name]), option.choices)
    if chosen["accumulation"] == 0:
        raise SettingError("option accumulation is 0; it must be at least 1")
    if setting.stop.target and not chosen["evaluate_every"]:
        raise SettingError("a target needs evaluate_every, the steps between two evaluations")
    _check_schedule(setting, chosen)
    return chosen


def _check_schedule(setting: Setting, chosen: dict[str, OptionValue]) -> None:
    kind, stop = chosen["schedule"], setting.stop
    if kind == "step" and not chosen["schedule_every"]:
        raise SettingError(
            "schedule step needs schedule_every, the steps between two decays of the learning rate"
        )
    if kind == "plateau" and not chosen["evaluate_every"]:
        raise SettingError(
            "schedule plateau needs evaluate_every, the steps between two evaluations"
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

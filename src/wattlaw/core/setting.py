"""A setting: one point of the search space, and its identity."""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.units import counted

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Backend = Literal["auto", "gloo", "nccl"]
DeviceType = Literal["auto", "cpu", "cuda"]
OptionValue = str | int | float | bool

PlainValue: TypeAlias = Any
PlainValues: TypeAlias = dict[str, PlainValue]
"""Values as read from TOML, JSON or a command line, before they are checked."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A metric of the validation set, and the value that it must fall below or rise above."""

    metric: str
    below: float | None = None
    above: float | None = None

    def is_met(self, value: float) -> bool:
        """Return whether a value of the metric meets the target; NaN never does."""
        return value < self.below if self.below is not None else value > (self.above or 0.0)

    def __str__(self) -> str:
        return (
            f"{self.metric} below {self.below:g}"
            if self.below is not None
            else f"{self.metric} above {self.above:g}"
        )


class Stop(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """When a trial ends: after steps, epochs or seconds, or at a target, whichever is first."""

    steps: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    target: Target | None = None


class Setting(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """What a trial runs. Frozen; ``identity`` gives it a name that new fields do not change.

    workload          a name from ``wattlaw list workloads``, ``package.module:Class``, or any word
                      if ``command`` is the user's own command
    preset            size of the workload: "tiny", "base" or another that it offers
    nodes             number of machines
    devices_per_node  processes per node, one device each
    batch_per_device  samples per device and step; None is the workload's own default
    precision         arithmetic of the forward and backward pass
    power_cap_w       power limit to set on each device, W; None: unchanged
    sm_clock_mhz, memory_clock_mhz   clock limits to set, MHz; None: unchanged
    device_type       "cpu", "cuda", or "auto": GPUs if there are any
    backend           of the communication; "auto" is NCCL on GPUs and Gloo on CPUs
    warmup_steps      first steps, recorded separately and excluded from rates
    options           all other options of the workload, by name
    command           the user's own command; ``{batch_per_device}`` and other names are filled in
    step_pattern      regular expression that finds the steps in the command's output
    """

    workload: str
    preset: str = "base"
    nodes: int = 1
    devices_per_node: int = 1
    batch_per_device: int | None = None
    precision: Precision = "fp32"
    power_cap_w: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    device_type: DeviceType = "auto"
    backend: Backend = "auto"
    seed: int = 0
    stop: Stop = Stop(steps=100)
    warmup_steps: int = 5
    options: dict[str, OptionValue] = {}
    command: str | None = None
    step_pattern: str | None = None

    @property
    def devices(self) -> int:
        """Devices of all nodes."""
        return self.nodes * self.devices_per_node


FIELDS = Setting.__struct_fields__


def setting_from(values: PlainValues) -> Setting:
    """Build a setting from plain values, as in a sweep file or on a command line.

    ``devices`` is understood as the total over ``nodes``; a name that is not a field becomes an
    option.
    Raises SettingError, naming the field and what would be valid.
    """
    values = dict(values)
    options = _options(values.pop("options", {}))
    if "devices" in values:
        values["devices_per_node"] = _per_node(values.pop("devices"), values)
    for name in [n for n in values if n not in FIELDS]:
        options |= _options({name: values.pop(name)})
    if "workload" not in values:
        if "command" not in values:
            raise SettingError(
                "a setting needs a workload (see `wattlaw list workloads`) or a command"
            )
        values["workload"] = "command"
    if options:
        values["options"] = options
    for name, kind in _CHOICES.items():
        if isinstance(values.get(name), str):
            known_choice(name, values[name], get_args(kind))
    if "stop" in values:
        _check_stop(values["stop"])
    try:
        setting = msgspec.convert(values, Setting)
    except msgspec.ValidationError as error:
        raise SettingError(explain(str(error))) from None
    check_setting(setting)
    return setting


def check_setting(setting: Setting) -> None:
    """Raise SettingError if a setting could run on no machine at all."""
    if not setting.workload:
        raise SettingError("workload is empty; `wattlaw list workloads` lists them")
    for name in ("nodes", "devices_per_node", "batch_per_device"):
        value = getattr(setting, name)
        if value is not None and value < 1:
            raise SettingError(f"{name} is {value}; it must be at least 1")
    for name in ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz"):
        value = getattr(setting, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SettingError(f"{name} is {value}; it must be a positive number")
    if setting.warmup_steps < 0:
        raise SettingError(f"warmup_steps is {setting.warmup_steps}; it must be at least 0")
    stop = [setting.stop.steps, setting.stop.epochs, setting.stop.seconds]
    if setting.stop.target is not None:
        _check_target(setting.stop.target, setting.command)
    if not setting.command and all(s is None for s in stop):
        lacks = (
            "has only a target; also set a maximum of" if setting.stop.target else "is empty; set"
        )
        raise SettingError(
            f"stop {lacks} steps, epochs or seconds, such as stop = {{ steps = 100 }}"
        )
    if any(s is not None and not 0 < s < math.inf for s in stop):
        raise SettingError("stop must be positive and finite, such as stop = { steps = 100 }")
    if setting.backend == "nccl" and setting.device_type == "cpu":
        raise SettingError("backend nccl needs GPUs; use gloo with device_type cpu")


def to_json(setting: Setting) -> bytes:
    """Return the canonical JSON of a setting: sorted keys, and nothing that equals its default."""
    # msgspec leaves a default out only if it is the very same object, so equal values are
    # dropped here
    values = {n: v for n, d in _defaults(type(setting)).items() if (v := getattr(setting, n)) != d}
    values |= {n: float(values[n]) for n in _FLOATS if n in values}
    values["workload"] = setting.workload
    if "stop" in values:
        values["stop"] = {
            n: v for n in Stop.__struct_fields__ if (v := getattr(setting.stop, n)) is not None
        }
        values["stop"] |= {
            n: float(values["stop"][n]) for n in ("epochs", "seconds") if n in values["stop"]
        }
        if setting.stop.target is not None:
            values["stop"]["target"] = _plain(setting.stop.target)
    return msgspec.json.encode(values, order="sorted")


def identity(setting: Setting, version: int = 1) -> str:
    """Return 12 hex digits that name a setting of one version of its workload."""
    text = to_json(setting) + (f"#v{version}".encode() if version != 1 else b"")
    return hashlib.sha256(text).hexdigest()[:12]


_FLOATS = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz")
_CHOICES = {"precision": Precision, "backend": Backend, "device_type": DeviceType}


@functools.cache
def _defaults(kind: type[Setting]) -> PlainValues:
    return {field.name: field.default for field in msgspec.structs.fields(kind)} | {"options": {}}


def known_choice(field: str, name: str, choices: tuple[str, ...]) -> None:
    """Raise UnknownNameError, with the valid names, if ``name`` is none of a field's choices."""
    if name not in choices:
        raise UnknownNameError(field, name, choices)


def _options(values: object) -> dict[str, OptionValue]:
    if not isinstance(values, dict):
        raise SettingError(
            f"options is {values!r}; it must be a table, such as options = {{ accumulation = 2 }}"
        )
    for name, value in values.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        small = not isinstance(value, int) or abs(value) < 2**63
        if not isinstance(value, OptionValue) or not finite or not small:
            raise SettingError(
                f"option {name!r} is {value!r}; it must be a string, a finite number, true or false"
            )
    return dict(values)


def _check_stop(stop: object) -> None:
    if isinstance(stop, Stop):
        return
    if not isinstance(stop, dict):
        raise SettingError(f"stop is {stop!r}; give a table, such as stop = {{ steps = 100 }}")
    for name in stop:
        known_choice("key of stop", name, Stop.__struct_fields__)
    target = stop.get("target")
    if isinstance(target, dict):
        for name in target:
            known_choice("key of stop.target", name, Target.__struct_fields__)
    elif target is not None and not isinstance(target, Target):
        raise SettingError(f"stop.target is {target!r}; {_TARGET}")


_TARGET = (
    'give a metric and one of below and above, such as target = { metric = "mae_mev", below = 60 }'
)


def _check_target(target: Target, command: str | None) -> None:
    ends = [e for e in (target.below, target.above) if e is not None]
    if not target.metric or len(ends) != 1 or not math.isfinite(ends[0]):
        raise SettingError(f"stop.target is incomplete: {_TARGET}")
    if command:
        raise SettingError(
            "stop.target needs a workload: wattlaw does not know the metrics of a command"
        )


def _plain(target: Target) -> dict[str, str | float]:
    ends = {"below": target.below, "above": target.above}
    return {"metric": target.metric, **{n: float(v) for n, v in ends.items() if v is not None}}


def _per_node(devices: object, values: PlainValues) -> int:
    nodes = values.get("nodes", 1)
    if "devices_per_node" in values:
        raise SettingError("give devices (the total) or devices_per_node, not both")
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise SettingError(f"devices is {devices!r}; it must be a whole number of at least 1")
    if isinstance(nodes, int) and nodes >= 1 and devices % nodes:
        of_nodes = counted(nodes, "node")
        raise SettingError(f"devices is {devices}; it must be a multiple of {of_nodes}")
    return devices // nodes if isinstance(nodes, int) and nodes >= 1 else devices


def explain(text: str) -> str:
    """Return a validation error of msgspec with the field's name in front."""
    message, _, path = text.partition(" - at `$.")
    field = path.rstrip("`")
    return f"{field}: {message}" if field else message

"""Power caps and clock limits: checked, set, read back, and restored whatever happens."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DeviceError, SettingError
from wattlaw.core.files import write_whole
from wattlaw.core.helper_process import helper_command, helper_environment
from wattlaw.devices.control import Control
from wattlaw.measuring.files.host_files import host_name
from wattlaw.measuring.limits.guard import Guard, Orders, open_control, restore
from wattlaw.measuring.limits.limit_state import take_limit

CLOCKS = ("sm_clock_mhz", "memory_clock_mhz")
"""The limits that Slurm can set too, without root."""

_TOLERANCE = 0.005
_END_TIMEOUT_S = 20.0


class DeviceLimit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One limit on one device: requested, as read back, and before.

    ``now`` and ``previous`` are None if the device cannot read them, as NVML cannot for locked
    clocks. ``by`` is "slurm" if Slurm was requested to set the limit; then ``now`` is what the
    device reported while the command ran.
    """

    control: str
    device: str
    asked: float
    now: float | None = None
    previous: float | None = None
    by: str = "nvml"


@contextlib.contextmanager
def limited(
    limits: Mapping[str, float | None],
    gpus: Sequence[int | str] | None = None,
    record: Path | None = None,
    guard: Guard | None = None,
) -> Iterator[list[DeviceLimit]]:
    """Limit the GPUs of a job within the context; yields the limits as read back.

    limits  values by the name of a setting's field (power_cap_w, sm_clock_mhz, memory_clock_mhz);
            None leaves a limit as it is, and if all are None nothing happens
    gpus    indices or UUIDs; None: all that the job may use
    record  an attempt's folder for limits-<host>.json
    guard   a running guard that restores the limits when this process ends; None starts one

    The previous values are restored at the end, after an exception, and after SIGKILL of this
    process. Raises SettingError for a value out of range, PermissionDeniedError with the ways to
    get the permission, DeviceError.
    """
    values = requested(limits)
    if not values:
        yield []
        return
    running = contextlib.nullcontext(guard) if guard else _new_guard()
    with running as holder, contextlib.ExitStack() as stack:
        device_limits = set_limits(values, gpus, holder, stack)
        if record is not None:
            write_limits(record, host_name(), device_limits)
        yield device_limits


def requested(limits: Mapping[str, float | None]) -> dict[str, float]:
    """Return the limits that have a value."""
    return {name: value for name, value in limits.items() if value is not None}


def set_limits(
    values: Mapping[str, float],
    gpus: Sequence[int | str] | None,
    guard: Guard,
    stack: contextlib.ExitStack,
) -> list[DeviceLimit]:
    """Check, set and read back limits, which the guard will restore. Raises as ``limited`` does.

    The driver stays open as long as ``stack``: without persistence mode it resets limits when its
    last user closes it.
    """
    controls = {name: stack.enter_context(_open_driver(name)) for name in values}
    names = None if gpus is None else list(map(str, gpus))
    pairs = []
    for name, control in controls.items():
        pairs += [(name, device) for device in control.devices(names)]
    if not pairs:
        raise DeviceError(f"there is no GPU to set {' or '.join(values)} on")
    for name, device in pairs:
        _check(controls[name], name, device, values[name])
    return [_set(controls[name], name, device, values[name], guard) for name, device in pairs]


def write_limits(record: Path, host: str, limits: Sequence[DeviceLimit]) -> None:
    """Write limits-<host>.json into an attempt's folder. Raises RecordError."""
    write_whole(record / f"limits-{host}.json", msgspec.json.encode(limits))


@contextlib.contextmanager
def _open_driver(name: str) -> Iterator[Control]:
    """Open a control. Raises DeviceError, naming the limit, if there is no driver for it."""
    with contextlib.ExitStack() as stack:
        try:
            control = stack.enter_context(open_control(name))
        except DeviceError as error:
            message = f"{name} is not set: {error}; omit it, or see `wattlaw doctor`"
            raise type(error)(message) from None
        yield control


def _check(control: Control, name: str, device: str, value: float) -> None:
    low, high, unit = control.allowed(device)
    if not low <= value <= high:
        raise SettingError(
            f"{name} is {value:g} {unit}; {device} allows {low:g} to {high:g} {unit}"
        )


def _set(control: Control, name: str, device: str, value: float, guard: Guard) -> DeviceLimit:
    previous = take_limit(control, name, device, value, guard.token, guard.pid)
    now = control.read(device)
    if now is not None and abs(now - value) > _TOLERANCE * value:
        unit = control.allowed(device).unit
        raise DeviceError(
            f"{name} of {device} was set to {value:g} {unit}, but it reads back {now:g} {unit}"
        )
    return DeviceLimit(control=name, device=device, asked=value, now=now, previous=previous)


@contextlib.contextmanager
def _new_guard() -> Iterator[Guard]:
    """Start a guard before anything is set; at the end it restores, or this process does for it."""
    orders = Orders(token=secrets.token_hex(8), parent=os.getpid())
    process = subprocess.Popen(
        helper_command("wattlaw.measuring.limits.guard"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=helper_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            process.kill()
            process.wait()
            raise DeviceError("the guard that restores limits did not start; nothing was set")
        try:
            yield Guard(orders.token, process.pid)
        finally:
            _end(process, orders.token)


def _end(process: subprocess.Popen[bytes], token: str) -> None:
    """Let the guard restore; if it was killed or fails, restore here. Raises DeviceError."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        code = process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    failures = restore(token) if code else []
    if failures:
        raise DeviceError(
            f"limits could not be restored: {'; '.join(failures)}; `wattlaw doctor` shows them"
        )

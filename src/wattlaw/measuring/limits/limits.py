"""Power caps and clock limits around a trial: range checked, set, read back, and put back whatever happens."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DeviceError, SettingError
from wattlaw.core.files import write_whole
from wattlaw.devices.control import Control
from wattlaw.measuring.files.host_files import host_name
from wattlaw.measuring.limits.guard import Guard, Orders, opened, put_back
from wattlaw.measuring.limits.limit_state import take

CLOCKS = ("sm_clock_mhz", "memory_clock_mhz")
"""The limits that Slurm can set too, without root."""

_TOLERANCE = 0.005
_END_S = 20.0


class Limit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One limit on one device: what was asked, what the device then said, what it had before.

    ``now`` and ``previous`` are None where the device cannot tell, as NVML cannot of locked clocks. ``by`` is
    "slurm" where Slurm was asked to set it; then ``now`` is what the device said while the command ran.
    """

    control: str
    device: str
    asked: float
    now: float | None = None
    previous: float | None = None
    by: str = "nvml"


@contextlib.contextmanager
def limited(
    wanted: Mapping[str, float | None],
    gpus: Sequence[int | str] | None = None,
    record: Path | None = None,
    guard: Guard | None = None,
) -> Iterator[list[Limit]]:
    """Hold limits on the GPUs of a job as long as the context lasts; yields them as read back.

    ``wanted`` gives values by the name of a setting's field (power_cap_w, sm_clock_mhz, memory_clock_mhz);
    None leaves a limit alone, and where all are None nothing happens at all. ``gpus`` are indices or UUIDs
    (None: all that the job may use). ``record`` is an attempt's folder for limits-<host>.json.
    The values found before come back at the end, after an exception, and after SIGKILL of this process.
    A ``guard`` that runs already puts them back when this process has ended; without one a guard is started.
    Raises SettingError for a value out of range, PermissionDeniedError with the ways to get it, DeviceError.
    """
    asked = given(wanted)
    if not asked:
        yield []
        return
    with (
        contextlib.nullcontext(guard) if guard else _guarded() as holder,
        contextlib.ExitStack() as kept,
    ):
        yield hold(asked, gpus, record, holder, kept)


def given(wanted: Mapping[str, float | None]) -> dict[str, float]:
    """Return the limits that are asked for, by the name of a setting's field."""
    return {name: value for name, value in wanted.items() if value is not None}


@contextlib.contextmanager
def _driver(name: str) -> Iterator[Control]:
    """Open a control. Raises DeviceError, naming the limit, where there is no driver to set it."""
    with contextlib.ExitStack() as stack:
        try:
            control = stack.enter_context(opened(name))
        except DeviceError as error:
            raise type(error)(
                f"{name} is not set: {error}; leave it out, or see `wattlaw doctor`"
            ) from None
        yield control


def hold(
    asked: Mapping[str, float],
    gpus: Sequence[int | str] | None,
    record: Path | None,
    guard: Guard,
    kept: contextlib.ExitStack,
) -> list[Limit]:
    """Check, set and read back limits, which the guard will put back; return them. Raises as ``limited`` does.

    The driver stays open as long as ``kept``: without persistence mode it forgets limits when its last user closes it.
    """
    controls = {name: kept.enter_context(_driver(name)) for name in asked}
    names = None if gpus is None else [str(g) for g in gpus]
    pairs = [
        (name, device) for name, control in controls.items() for device in control.devices(names)
    ]
    if not pairs:
        raise DeviceError(f"there is no GPU to set {' or '.join(asked)} on")
    for name, device in pairs:
        _check(controls[name], name, device, asked[name])
    limits = [_set(controls[name], name, device, asked[name], guard) for name, device in pairs]
    if record is not None:
        write_limits(record, host_name(), limits)
    return limits


def write_limits(record: Path, host: str, limits: Sequence[Limit]) -> None:
    """Write limits-<host>.json into an attempt's folder. Raises RecordError."""
    write_whole(record / f"limits-{host}.json", msgspec.json.encode(limits))


def _check(control: Control, name: str, device: str, value: float) -> None:
    low, high, unit = control.allowed(device)
    if not low <= value <= high:
        raise SettingError(f"{name} is {value:g} {unit}; {device} takes {low:g} to {high:g} {unit}")


def _set(control: Control, name: str, device: str, value: float, guard: Guard) -> Limit:
    previous = take(control, name, device, value, guard.token, guard.pid)
    now = control.read(device)
    if now is not None and abs(now - value) > _TOLERANCE * value:
        unit = control.allowed(device).unit
        raise DeviceError(
            f"{name} of {device} was set to {value:g} {unit}, but it says {now:g} {unit}"
        )
    return Limit(control=name, device=device, asked=value, now=now, previous=previous)


@contextlib.contextmanager
def _guarded() -> Iterator[Guard]:
    """Start the guard before anything is set; have it put back at the end, or do it here where it was killed."""
    orders = Orders(token=secrets.token_hex(8), parent=os.getpid())
    here = str(Path(__file__).parents[2])
    paths = dict.fromkeys([here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    process = subprocess.Popen(
        [sys.executable, "-m", "wattlaw.measuring.limits.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
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
            raise DeviceError("the guard that puts limits back did not start; nothing was set")
        try:
            yield Guard(orders.token, process.pid)
        finally:
            _end(process, orders.token)


def _end(process: subprocess.Popen[bytes], token: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        code = process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code == 0:
        return
    troubles = put_back(token)
    if troubles:
        raise DeviceError(
            f"limits could not be put back: {'; '.join(troubles)}; `wattlaw doctor` shows them"
        )
